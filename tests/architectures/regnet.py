"""RegNet-like (Radosavovic et al. 2020)

Style: a frozen dataclass for the configuration, `nn.Sequential(OrderedDict(…))`, a property, SE with 1×1 convolutions.
"""
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import List

import torch
from torch import nn


@dataclass(frozen=True)
class Config:
    depths: List[int] = field(default_factory=lambda: [1, 2, 2])
    widths: List[int] = field(default_factory=lambda: [24, 48, 96])
    strides: List[int] = field(default_factory=lambda: [1, 2, 2])
    group_width: int = 8
    se_ratio: float = 0.25

    @property
    def stages(self):
        return list(zip(self.depths, self.widths, self.strides))


class SE(nn.Module):
    def __init__(self, width, squeezed):
        super().__init__()
        self.f_ex = nn.Sequential(OrderedDict([
            ("reduce", nn.Conv2d(width, squeezed, 1)), ("act", nn.ReLU()),
            ("expand", nn.Conv2d(squeezed, width, 1)), ("gate", nn.Sigmoid()),
        ]))

    def forward(self, x):
        return x * self.f_ex(x.mean((2, 3), keepdim=True))


class YBlock(nn.Module):
    def __init__(self, w_in: int, w_out: int, stride: int, cfg: Config):
        super().__init__()
        groups = w_out // cfg.group_width
        self.f = nn.Sequential(OrderedDict(
            a=nn.Conv2d(w_in, w_out, 1, bias=False), a_bn=nn.BatchNorm2d(w_out), a_relu=nn.ReLU(),
            b=nn.Conv2d(w_out, w_out, 3, stride, 1, groups=groups, bias=False), b_bn=nn.BatchNorm2d(w_out), b_relu=nn.ReLU(),
            se=SE(w_out, round(w_in * cfg.se_ratio)),
            c=nn.Conv2d(w_out, w_out, 1, bias=False), c_bn=nn.BatchNorm2d(w_out),
        ))
        self.proj = None
        if stride != 1 or w_in != w_out:
            self.proj = nn.Sequential(nn.Conv2d(w_in, w_out, 1, stride, bias=False), nn.BatchNorm2d(w_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu((x if self.proj is None else self.proj(x)) + self.f(x))


class Net(nn.Module):
    def __init__(self, num_classes: int = 10, cfg: Config = Config()):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        blocks, w = [], 16
        for depth, width, stride in cfg.stages:
            for k in range(depth):
                blocks.append(YBlock(w, width, stride if k == 0 else 1, cfg))
                w = width
        self.trunk = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(w, num_classes))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(self.stem(x)))
