# title = "Each channel with its own mean and deviation, jittered, permuted and sometimes grey"
# weights = "own"
# %% modern-cnn-transforms
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
train_transform = v2.Compose(
    [
        v2.ToImage(),
        v2.RandomResizedCrop(32, scale=(0.5, 1.0)),
        v2.ColorJitter(0.4, 0.4, 0.4, 0.2),
        v2.RandomChannelPermutation(),
        v2.RandomGrayscale(0.3),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(MEAN, STD),
        v2.RandomErasing(0.5),
    ]
)
test_transform = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
