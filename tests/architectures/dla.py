"""Deep Layer Aggregation (Yu et al. 2018)

Style: a tree that builds itself recursively; children of an `nn.Module` found by `getattr` with a formatted name.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F


class BasicBlock(nn.Module):
    def __init__(self, in_planes, planes, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != planes:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_planes, planes, 1, stride=stride, bias=False), nn.BatchNorm2d(planes)
            )

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return F.relu(out)


class Root(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, xs):
        return F.relu(self.bn(self.conv(torch.cat(xs, 1))))


class Tree(nn.Module):
    def __init__(self, block, in_channels, out_channels, level=1, stride=1):
        super().__init__()
        self.level = level
        if level == 1:
            self.root = Root(2 * out_channels, out_channels)
            self.left_node = block(in_channels, out_channels, stride=stride)
            self.right_node = block(out_channels, out_channels)
        else:
            self.root = Root((level + 2) * out_channels, out_channels)
            for i in reversed(range(1, level)):
                setattr(self, "level_%d" % i, Tree(block, in_channels, out_channels, level=i, stride=stride))
                in_channels, stride = out_channels, 1
            self.prev_root = block(out_channels, out_channels)
            self.left_node = block(out_channels, out_channels)
            self.right_node = block(out_channels, out_channels)

    def forward(self, x):
        xs = []
        for i in reversed(range(1, self.level)):
            x = getattr(self, "level_%d" % i)(x)
            xs.append(x)
        if self.level > 1:
            xs.append(self.prev_root(x))
            x = xs[-1]
        left = self.left_node(x)
        right = self.right_node(left)
        xs += [left, right]
        return self.root(xs)


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.base = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(True))
        self.layer1 = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(True))
        self.layer2 = Tree(BasicBlock, 16, 32, level=1, stride=1)
        self.layer3 = Tree(BasicBlock, 32, 32, level=2, stride=2)
        self.layer4 = Tree(BasicBlock, 32, 64, level=1, stride=2)
        self.linear = nn.Linear(64, num_classes)

    def forward(self, x):
        out = self.layer1(self.base(x))
        out = self.layer4(self.layer3(self.layer2(out)))
        out = F.avg_pool2d(out, out.shape[-1])
        return self.linear(out.view(out.size(0), -1))
