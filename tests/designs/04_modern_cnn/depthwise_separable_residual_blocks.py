# title = "Depthwise separable residual blocks, layer scale"
# %% modern-cnn-solution
class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(c, c, 3, 1, 1, groups=c),
            nn.BatchNorm2d(c),
            nn.Conv2d(c, 4 * c, 1),
            nn.GELU(),
            nn.Conv2d(4 * c, c, 1),
        )
        self.gamma = nn.Parameter(torch.full((c, 1, 1), 1e-2))

    def forward(self, x):
        return x + self.gamma * self.path(x)


class ModernCNN(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU()
        )
        self.stages = nn.Sequential(Block(32), Block(32), nn.Conv2d(32, 96, 2, 2), nn.BatchNorm2d(96))
        self.classifier = nn.Linear(96, num_classes)

    def forward(self, x):
        x = self.stages(self.stem(x))
        x = F.adaptive_avg_pool2d(x, (1, 1))[:, :, 0, 0]
        return self.classifier(x)
