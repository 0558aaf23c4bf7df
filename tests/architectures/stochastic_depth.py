"""ResNet with stochastic depth, a coin per batch from Python's `random` (Huang et al. 2016)

Style: `if self.training and random.random() < p: return shortcut`; in eval mode the branch is scaled instead.
"""
import random

import torch.nn as nn
import torch.nn.functional as F


class DropBlock(nn.Module):
    def __init__(self, inp, out, stride, drop_prob):
        super().__init__()
        self.conv1 = nn.Conv2d(inp, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut = nn.Identity() if stride == 1 and inp == out else nn.Conv2d(inp, out, 1, stride)
        self.drop_prob = drop_prob

    def forward(self, x):
        shortcut = self.shortcut(x)
        if self.training and random.random() < self.drop_prob:
            return F.relu(shortcut)
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if not self.training:
            out = out * (1 - self.drop_prob)
        return F.relu(out + shortcut)


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.BatchNorm2d(16), nn.ReLU())
        plan = [(16, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2)]
        self.blocks = nn.Sequential(*[DropBlock(*p, drop_prob=0.1 * (i + 1)) for i, p in enumerate(plan)])
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x):
        x = self.blocks(self.stem(x))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))
