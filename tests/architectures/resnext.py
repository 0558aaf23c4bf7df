"""ResNeXt (Xie et al. 2016)

Style: type hints, keyword-only arguments, grouped bottlenecks made by a helper function, `nn.Identity`.
"""
from typing import Optional

import torch
from torch import Tensor, nn


def conv_bn(inp: int, out: int, *, kernel: int = 1, stride: int = 1, groups: int = 1,
            act: Optional[nn.Module] = None) -> nn.Sequential:
    layers = [nn.Conv2d(inp, out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm2d(out)]
    if act is not None:
        layers.append(act)
    return nn.Sequential(*layers)


class ResNeXtBlock(nn.Module):
    def __init__(self, inp: int, out: int, *, cardinality: int = 8, stride: int = 1) -> None:
        super().__init__()
        mid = out // 2
        self.residual = nn.Sequential(
            conv_bn(inp, mid, act=nn.ReLU(True)),
            conv_bn(mid, mid, kernel=3, stride=stride, groups=cardinality, act=nn.ReLU(True)),
            conv_bn(mid, out),
        )
        self.skip: nn.Module = nn.Identity()
        if stride > 1 or inp != out:
            self.skip = conv_bn(inp, out, stride=stride)
        self.activate = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activate(self.residual(x) + self.skip(x))


class Net(nn.Module):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.stem = conv_bn(3, 32, kernel=3, act=nn.ReLU(True))
        widths = [32, 64, 128, 256]
        self.stages = nn.Sequential(
            *[nn.Sequential(ResNeXtBlock(i, o, stride=1 if i == 32 else 2), ResNeXtBlock(o, o))
              for i, o in zip(widths[:-1], widths[1:])]
        )
        self.pool = nn.AdaptiveAvgPool2d(output_size=1)
        self.fc = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stages(self.stem(x))
        x = torch.flatten(self.pool(x), start_dim=1)
        return self.fc(x)
