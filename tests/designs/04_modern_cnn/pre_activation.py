# title = "Pre-activation blocks, 1×1 shortcut from the activated value"
# %% modern-cnn-solution
class PreActivation(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if stride > 1 or inputs != outputs else None

    def forward(self, x):
        activated = F.silu(self.bn1(x))
        skip = x if self.shortcut is None else self.shortcut(activated)
        out = self.conv2(F.silu(self.bn2(self.conv1(activated))))
        return out.add_(skip)


class ModernCNN(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, 2, 1, bias=False)
        self.blocks = nn.Sequential(PreActivation(32, 48, 2), PreActivation(48, 48), PreActivation(48, 96, 2))
        self.norm = nn.BatchNorm2d(96)
        self.classifier = nn.Linear(96, num_classes)

    def forward(self, x):
        x = F.silu(self.norm(self.blocks(self.stem(x))))
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))
