import torch
import torch.nn.functional as F
from torch import nn
from torchvision.transforms import v2


class PreActivationBlock(nn.Module):
    """Normalise and activate first, convolve then (He et al. 2016, Identity Mappings in Deep Residual Networks)."""

    def __init__(self, width_in, width_out, stride):
        super().__init__()
        self.body = nn.Sequential(
            nn.BatchNorm2d(width_in),
            nn.ReLU(),
            nn.Conv2d(width_in, width_out, kernel_size=3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(width_out),
            nn.ReLU(),
            nn.Conv2d(width_out, width_out, kernel_size=3, padding="same", bias=False),
        )
        fits = stride == 1 and width_in == width_out
        self.projection = None if fits else nn.Parameter(torch.empty(width_out, width_in, 1, 1))
        self.stride = stride
        if not fits:
            nn.init.kaiming_uniform_(self.projection, a=5**0.5)

    def forward(self, x):
        skip = x if self.projection is None else F.conv2d(x, self.projection, stride=self.stride)
        return self.body(x).add(skip)


class ModernCNN(nn.Module):
    def __init__(self, num_classes=10, widths=(16, 32, 64, 64), strides=(2, 2, 1)):
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], kernel_size=3, stride=2, padding=1, bias=False)
        self.trunk = nn.Sequential(*map(PreActivationBlock, widths[:-1], widths[1:], strides))
        self.norm = nn.BatchNorm2d(widths[-1])
        self.weight = nn.Parameter(torch.empty(num_classes, widths[-1]))
        self.bias = nn.Parameter(torch.zeros(num_classes))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, images):
        features = F.relu(self.norm(self.trunk(self.stem(images))))
        pooled = F.adaptive_avg_pool2d(features, 1).flatten(1)
        return F.linear(pooled, self.weight, self.bias)
