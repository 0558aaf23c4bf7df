# title = "Batch norm at the end"
# %% depthwise-separable-solution
class DepthwiseSeparableConv(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, padding=1):
        super().__init__()
        i, o, k, s, p = in_channels, out_channels, kernel_size, stride, padding
        self.one, self.bn, self.two = (
            nn.Conv2d(i, i, k, s, p, groups=i),
            nn.BatchNorm2d(i),
            nn.Conv2d(i, o, 1),
        )
        self.bn2 = nn.BatchNorm2d(o)

    def forward(self, x):
        return self.bn2(self.two(self.one(x)))
