# title = "Two convolutions a block, stride instead of pooling, no bias, SiLU"
# %% deeper-cnn-solution
class DeeperCNN(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        parts, c = [], 3
        for width in (32, 64, 128, 256):
            parts += [
                nn.Conv2d(c, width, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.SiLU(),
            ]
            parts += [
                nn.Conv2d(width, width, 3, padding="same", bias=False),
                nn.BatchNorm2d(width),
                nn.SiLU(),
            ]
            c = width
        self.net = nn.Sequential(
            *parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(c, num_classes)
        )

    def forward(self, x):
        return self.net(x)
