def normalised(*augmentation):
    return v2.Compose([
        *augmentation,
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),
    ])


train_transform = normalised(v2.RandomHorizontalFlip(), v2.RandomCrop((32, 32), padding=4, padding_mode="reflect"))
test_transform = normalised()
