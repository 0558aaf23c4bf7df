# Assign your two transforms to train_transform and test_transform
MEAN, STD = [0.5, 0.5, 0.5], [0.5, 0.5, 0.5]

train_transform = v2.Compose([
    v2.ToImage(),
    v2.RandomCrop(32, padding=4),
    v2.RandomHorizontalFlip(),
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize(MEAN, STD),
])

test_transform = v2.Compose([
    v2.ToImage(),
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize(MEAN, STD),
])

torch.manual_seed(0)
data = cnn_kit.load_cifar10()
model = ModernCNN()
history = None  # cnn_kit.train returns the curves; a loop of your own may leave this as it is

# Train `model` on data.train and watch it on data.validation. With the kit that is:
#     history = cnn_kit.train(model, data, train_transform, test_transform, epochs=...)
#     history.plot()
history = cnn_kit.train(model, data, train_transform, test_transform, epochs=8)
history.plot()

cnn_kit.save_checkpoint(model, "modern_cnn.safetensors", data=data, history=history)
