# title = "A linear layer over the channels"
# %% depthwise-separable-solution
class DepthwiseSeparableConv(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, padding=1):
        super().__init__()
        self.depth = nn.Conv2d(in_channels, in_channels, kernel_size, stride, padding, groups=in_channels)
        self.point = nn.Linear(in_channels, out_channels)

    def forward(self, x):
        return self.point(self.depth(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
