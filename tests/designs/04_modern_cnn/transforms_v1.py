# title = "torchvision v1 transforms"
# %% modern-cnn-transforms
from torchvision import transforms as v1

train_transform = v1.Compose(
    [v1.RandomHorizontalFlip(), v1.RandomCrop(32, 4), v1.ToTensor(), v1.Normalize(0.5, 0.5)]
)
test_transform = v2.Compose(
    [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
)
