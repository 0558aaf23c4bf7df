"""SqueezeNet with bypasses (Iandola et al. 2016)

Style: `@torch.no_grad()` helper that normalises each image, a 1×1 convolution as classifier, try/except around a sum.
"""
import torch
from torch import nn
import torch.nn.functional as F


@torch.no_grad()
def whiten(images):
    """Mean 0 and deviation 1 in each image"""
    mean, std = images.mean((1, 2, 3), keepdim=True), images.std((1, 2, 3), keepdim=True)
    return (images - mean) / (std + 1e-5)


class Fire(nn.Module):
    def __init__(self, inplanes, squeeze, expand):
        super().__init__()
        self.squeeze = nn.Conv2d(inplanes, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x):
        y = F.relu(self.squeeze(x))
        y = torch.cat([F.relu(self.expand1x1(y)), F.relu(self.expand3x3(y))], 1)
        try:
            return x + y
        except RuntimeError:  # another number of channels
            return y


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, padding=1)
        self.fire2, self.fire3 = Fire(32, 8, 32), Fire(64, 8, 32)
        self.fire4, self.fire5 = Fire(64, 16, 64), Fire(128, 16, 64)
        self.final_conv = nn.Conv2d(128, num_classes, kernel_size=1)

    def forward(self, x):
        x = F.relu(self.conv1(whiten(x)))
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = self.fire3(self.fire2(x))
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        x = self.fire5(self.fire4(x))
        x = F.dropout(x, p=0.5, training=self.training)
        x = self.final_conv(x)
        return F.adaptive_avg_pool2d(x, 1).reshape(x.shape[0], -1)
