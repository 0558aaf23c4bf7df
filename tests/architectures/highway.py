"""Convolutional highway network (Srivastava et al. 2015)

Style: `t * h + (1 - t) * x`, a gate with a negative bias, the blocks in a Python list given to `nn.ModuleList`.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F


class HighwayBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.plain = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)
        self.gate = nn.Conv2d(channels, channels, 3, padding=1)
        self.gate.bias.data.fill_(-1.0)

    def forward(self, x):
        h = F.relu(self.bn(self.plain(x)))
        t = torch.sigmoid(self.gate(x))
        return t * h + (1 - t) * x


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        parts = [nn.Conv2d(3, 32, 3, padding=1)]
        for _ in range(3):
            parts += [HighwayBlock(32), HighwayBlock(32), nn.MaxPool2d(2)]
        self.parts = nn.ModuleList(parts)
        self.last = nn.Linear(32, num_classes)

    def forward(self, x):
        for part in self.parts:
            x = part(x)
        return self.last(F.avg_pool2d(x, kernel_size=x.size()[2:]).squeeze(-1).squeeze(-1))
