"""RepVGG as it trains: 3×3, 1×1 and identity side by side (Ding et al. 2021)

Style: `None` for the missing identity, `out = 0` and a loop that adds branch after branch.
"""
import torch.nn as nn


def conv_bn(i, o, k, s, p):
    seq = nn.Sequential()
    seq.add_module("conv", nn.Conv2d(i, o, k, s, p, bias=False))
    seq.add_module("bn", nn.BatchNorm2d(o))
    return seq


class RepVGGBlock(nn.Module):
    def __init__(self, i, o, stride=1):
        super().__init__()
        self.branches = nn.ModuleList([conv_bn(i, o, 3, stride, 1), conv_bn(i, o, 1, stride, 0)])
        if i == o and stride == 1:
            self.branches.append(nn.BatchNorm2d(i))
        self.nonlinearity = nn.ReLU()

    def forward(self, inputs):
        out = 0
        for branch in self.branches:
            out = out + branch(inputs)
        return self.nonlinearity(out)


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.stage0 = RepVGGBlock(3, 24)
        self.stage1 = nn.Sequential(RepVGGBlock(24, 32, 2), RepVGGBlock(32, 32))
        self.stage2 = nn.Sequential(RepVGGBlock(32, 64, 2), RepVGGBlock(64, 64), RepVGGBlock(64, 64))
        self.gap = nn.AdaptiveAvgPool2d(output_size=1)
        self.linear = nn.Linear(64, num_classes)

    def forward(self, x):
        out = self.stage2(self.stage1(self.stage0(x)))
        out = self.gap(out)
        out = out.view(out.size(0), -1)
        return self.linear(out)
