# title = "No bias, ReLU6"
# %% depthwise-separable-solution
import torch.nn.functional as F


class DepthwiseSeparableConv(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, padding=1):
        super().__init__()
        i, o, k, s, p = in_channels, out_channels, kernel_size, stride, padding
        self.one, self.bn, self.two = (
            nn.Conv2d(i, i, k, s, p, groups=i, bias=False),
            nn.BatchNorm2d(i),
            nn.Conv2d(i, o, 1, bias=False),
        )

    def forward(self, x):
        return F.relu6(self.two(F.relu6(self.bn(self.one(x)))))
