# title = "Colour jitter"
# %% modern-cnn-transforms
train_transform = v2.Compose(
    [
        v2.ColorJitter(0.4, 0.4, 0.4, 0.1),
        v2.RandomHorizontalFlip(),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.5] * 3, [0.5] * 3),
    ]
)
test_transform = v2.Compose(
    [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
)
