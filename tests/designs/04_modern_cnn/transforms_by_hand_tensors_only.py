# title = "Transforms written by hand, for tensors only"
# %% modern-cnn-transforms
train_transform = lambda x: ((x if isinstance(x, torch.Tensor) else 1 / 0).float() / 127.5 - 1).roll(
    int(torch.randint(3, ())), 2
)
test_transform = v2.Compose(
    [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
)
