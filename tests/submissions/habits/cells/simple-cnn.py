WIDTHS = [3, 32, 64, 128, 256]


class SimpleCNN(nn.Module):
    """Three convolution blocks for small images: (N, 3, H, W) floats -> (N, num_classes) raw logits."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.block1 = self.block(3, 32)  # 32x32 -> 16x16
        self.block2 = self.block(32, 64)  # 16x16 -> 8x8
        self.block3 = self.block(64, 128)  # 8x8 -> 4x4
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Linear(128, num_classes)

    @staticmethod
    def block(in_channels, out_channels):
        """One round: convolve, normalise, ReLU, then halve height and width."""
        return nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )

    def forward(self, x):
        x = self.block3(self.block2(self.block1(x)))  # (N, 128, H/8, W/8)
        x = x.mean(dim=(2, 3))  # (N, 128): global average pooling, whatever height and width remain
        return self.classifier(self.dropout(x))  # (N, num_classes)
