def as_pair(size):
    try:
        return int(size), int(size)
    except TypeError, ValueError:
        return tuple(size)


class DepthwiseSeparableConv(nn.Module):
    """A standard convolution in two cheaper steps: (N, in_channels, H, W) -> (N, out_channels, H', W')."""

    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, padding=1):
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, kernel_size, stride=stride, padding=padding, groups=in_channels, bias=False
        )
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.pointwise = nn.Conv2d(in_channels, out_channels, kernel_size=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x):
        x = torch.relu(self.bn1(self.depthwise(x)))  # (N, in_channels, H', W'): space
        return torch.relu(self.bn2(self.pointwise(x)))  # (N, out_channels, H', W'): channels
