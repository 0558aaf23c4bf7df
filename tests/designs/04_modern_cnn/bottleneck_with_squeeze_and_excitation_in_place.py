# title = "Bottleneck, squeeze and excitation, in-place operations"
# %% modern-cnn-solution
class Block(nn.Module):
    def __init__(self, a, b, s):
        super().__init__()
        m = b // 4
        self.path = nn.Sequential(
            nn.Conv2d(a, m, 1),
            nn.BatchNorm2d(m),
            nn.ReLU(inplace=True),
            nn.Conv2d(m, m, 3, s, 1),
            nn.BatchNorm2d(m),
            nn.ReLU(inplace=True),
            nn.Conv2d(m, b, 1),
            nn.BatchNorm2d(b),
        )
        self.squeeze = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(b, m, 1), nn.ReLU(), nn.Conv2d(m, b, 1), nn.Sigmoid()
        )
        self.short = nn.Sequential(nn.AvgPool2d(s), nn.Conv2d(a, b, 1))

    def forward(self, x):
        y = self.path(x)
        y = y * self.squeeze(y)
        y += self.short(x)
        return F.relu_(y)


class ModernCNN(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()
        )
        self.stages = nn.Sequential(Block(32, 64, 2), Block(64, 96, 2))
        self.classifier = nn.Linear(96, num_classes)

    def forward(self, x):
        x = self.stages(self.stem(x))
        x = x.mean((2, 3))
        return self.classifier(x)
