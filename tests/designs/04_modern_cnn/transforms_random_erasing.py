# title = "Random erasing"
# %% modern-cnn-transforms
train_transform = v2.Compose(
    [
        v2.RandomHorizontalFlip(),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.5] * 3, [0.5] * 3),
        v2.RandomErasing(p=1, value="random"),
    ]
)
test_transform = v2.Compose(
    [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
)
