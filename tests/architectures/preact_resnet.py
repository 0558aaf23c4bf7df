"""PreAct-ResNet (He et al. 2016)

Style: norm and ReLU before each convolution; the shortcut branches off after the first ReLU; `hasattr(self, "shortcut")`.
"""
import torch
from torch import nn
import torch.nn.functional as F


class PreActBlock(nn.Module):
    def __init__(self, in_planes, planes, stride=1):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_planes)
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        if stride != 1 or in_planes != planes:
            self.shortcut = nn.Sequential(nn.Conv2d(in_planes, planes, 1, stride=stride, bias=False))

    def forward(self, x):
        out = F.relu(self.bn1(x))
        shortcut = self.shortcut(out) if hasattr(self, "shortcut") else x
        out = self.conv1(out)
        out = self.conv2(F.relu(self.bn2(out)))
        out += shortcut
        return out


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        plan = [(16, 1), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1)]
        blocks, width = [], 16
        for planes, stride in plan:
            blocks.append(PreActBlock(width, planes, stride))
            width = planes
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        x = torch.relu(self.norm(x))
        x = torch.mean(x, dim=[2, 3])
        return self.head(x)
