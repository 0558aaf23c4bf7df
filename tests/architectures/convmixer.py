"""ConvMixer (Trockman and Kolter 2022)

Style: the whole network is one expression; `Residual(fn)` derives from `nn.Sequential`; GELU before batch norm.
"""
import torch.nn as nn


class Residual(nn.Sequential):
    def forward(self, x):
        return super().forward(x) + x


def ConvMixer(dim, depth, kernel_size=5, patch_size=2, n_classes=10):
    act = lambda: (nn.GELU(), nn.BatchNorm2d(dim))
    return nn.Sequential(
        nn.Conv2d(3, dim, kernel_size=patch_size, stride=patch_size), *act(),
        *[nn.Sequential(
            Residual(nn.Conv2d(dim, dim, kernel_size, groups=dim, padding="same"), *act()),
            nn.Conv2d(dim, dim, kernel_size=1), *act())
          for _ in range(depth)],
        nn.AdaptiveAvgPool2d((1, 1)),
        nn.Flatten(),
        nn.Linear(dim, n_classes),
    )


def Net(num_classes=10):
    return ConvMixer(dim=48, depth=4, n_classes=num_classes)
