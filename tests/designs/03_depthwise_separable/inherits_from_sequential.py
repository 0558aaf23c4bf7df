# title = "A class derived from nn.Sequential, without forward"
# %% depthwise-separable-solution
class DepthwiseSeparableConv(nn.Sequential):
    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, padding=1):
        depthwise = nn.Conv2d(in_channels, in_channels, kernel_size, stride, padding, groups=in_channels, bias=False)
        super().__init__(depthwise, nn.BatchNorm2d(in_channels), nn.SiLU(), nn.Conv2d(in_channels, out_channels, 1))
