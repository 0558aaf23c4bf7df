# title = "Random resized crop and greyscale"
# %% modern-cnn-transforms
train_transform = v2.Compose(
    [
        v2.RandomResizedCrop(32, (0.3, 1)),
        v2.RandomGrayscale(0.5),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.5] * 3, [0.5] * 3),
    ]
)
test_transform = v2.Compose(
    [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
)
