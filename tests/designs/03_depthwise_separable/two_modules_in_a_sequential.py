# title = "Two named modules in one Sequential, type hints"
# %% helpers
from collections import OrderedDict

# %% depthwise-separable-solution
class DepthwiseSeparableConv(nn.Sequential):
    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1, padding: int = 1
    ) -> None:
        depthwise = nn.Conv2d(in_channels, in_channels, kernel_size, stride, padding, groups=in_channels)
        pointwise = nn.Conv2d(in_channels, out_channels, 1)
        super().__init__(OrderedDict(depthwise=depthwise, norm=nn.BatchNorm2d(in_channels), act=nn.ReLU6(), pointwise=pointwise))
