# title = "ConvNeXt-like: large depthwise kernels, layer norm beside batch norm, layer scale"
# %% modern-cnn-solution
class Mixer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand, self.reduce = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.scale = nn.Parameter(0.1 * torch.ones(width))

    def forward(self, x):
        y = self.depthwise(x).permute(0, 2, 3, 1)
        y = self.scale * self.reduce(F.gelu(self.expand(self.norm(y))))
        return x + y.permute(0, 3, 1, 2)


class ModernCNN(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.patches = nn.Conv2d(3, 64, kernel_size=4, stride=4)
        self.first_norm = nn.BatchNorm2d(64)
        self.mixers = nn.Sequential(Mixer(64), Mixer(64), Mixer(64))
        self.last_norm = nn.BatchNorm2d(64)
        self.classifier = nn.Linear(64, num_classes)

    def forward(self, x):
        x = self.last_norm(self.mixers(self.first_norm(self.patches(x))))
        return self.classifier(x.mean((2, 3)))
