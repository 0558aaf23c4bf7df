# title = "Nested and inherited modules, the given block extended"
# %% blocks
class GatedResidualBlock(ResidualBlock):
    """The given block with squeeze and excitation on its way out."""

    def __init__(self, in_channels, out_channels, stride=1, ratio=4):
        super().__init__(in_channels, out_channels, stride)
        self.squeeze = nn.Linear(out_channels, out_channels // ratio)
        self.excite = nn.Linear(out_channels // ratio, out_channels)

    def gate(self, x):
        weights = torch.sigmoid(self.excite(torch.relu(self.squeeze(x.mean(dim=(-2, -1))))))
        return x * weights[:, :, None, None]

    def forward(self, x):
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.gate(self.bn2(self.conv2(out)))
        return torch.relu(out + self.shortcut(x))


class Backbone(nn.Module):
    def __init__(self, widths):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 3, 2, 1), nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True))
        self.stages = nn.ModuleList(GatedResidualBlock(a, b, stride=2) for a, b in zip(widths, widths[1:]))

    def forward(self, x):
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return x


# %% modern-cnn-solution
class ModernCNN(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.backbone = Backbone([32, 64, 96])
        self.head = nn.Linear(96, num_classes)

    def forward(self, x):
        return self.head(self.backbone(x).mean(dim=(2, 3)))
