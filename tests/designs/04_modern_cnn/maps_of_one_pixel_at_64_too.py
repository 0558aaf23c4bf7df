# title = "Six halvings, bottlenecks, a flattened map averaged"
# %% modern-cnn-solution
class Bottleneck(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        middle = outputs // 2
        self.branch = nn.Sequential(
            nn.Conv2d(inputs, middle, 1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
            nn.Conv2d(middle, middle, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(),
            nn.Conv2d(middle, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x):
        return F.relu(self.branch(x) + self.shortcut(x))


class ModernCNN(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        widths = [16, 32, 32, 64, 64, 96, 96]
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.body = nn.Sequential(*[Bottleneck(a, b) for a, b in zip(widths, widths[1:])])  # 1×1 at 64×64, too
        self.last = nn.Sequential(nn.Conv2d(96, 128, 1), nn.BatchNorm2d(128), nn.ReLU())
        self.fc = nn.Linear(128, num_classes)

    def forward(self, x):
        x = self.last(self.body(self.stem(x)))
        return self.fc(x.flatten(2).mean(-1))
