class ModernCNN(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.stage1 = ResidualBlock(32, 64, stride=2)
        self.stage2 = ResidualBlock(64, 128, stride=2)
        self.stage3 = ResidualBlock(128, 128)
        self.classifier = nn.Linear(128, num_classes)

    def forward(self, x):
        x = self.stage3(self.stage2(self.stage1(self.stem(x))))
        if torch.isnan(x).any():
            raise ValueError("the features hold NaN: is the learning rate too high?")
        return self.classifier(x.mean(dim=(2, 3)))
