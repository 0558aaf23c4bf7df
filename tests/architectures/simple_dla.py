"""Simplified DLA, with aggregation by trees of two (Yu et al. 2018)

Style: recursion in the constructor, `isinstance` to choose what a node is, everything in one line where it fits.
"""
import torch
from torch import nn


class Res(nn.Module):
    def __init__(self, i, o, s=1):
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(i, o, 3, s, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU(), nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o))
        self.s = nn.Identity() if (i, s) == (o, 1) else nn.Sequential(nn.Conv2d(i, o, 1, s, bias=False), nn.BatchNorm2d(o))

    def forward(self, x): return (self.f(x) + self.s(x)).relu()


class Tree(nn.Module):
    def __init__(self, i, o, level, s=1):
        super().__init__()
        make = (lambda a, b, st: Res(a, b, st)) if level == 1 else (lambda a, b, st: Tree(a, b, level - 1, st))
        self.left, self.right = make(i, o, s), make(o, o, 1)
        self.root = nn.Sequential(nn.Conv2d(2 * o, o, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU())

    def forward(self, x):
        left = self.left(x)
        both = [left, self.right(left)]
        if isinstance(self.left, Tree):
            assert both[0].shape == both[1].shape
        return self.root(torch.cat(both, dim=1))


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), Tree(16, 32, 1), Tree(32, 64, 2, 2), Tree(64, 64, 1, 2))
        self.classify = nn.Linear(64, num_classes)

    def forward(self, x): return self.classify(self.net(x).mean((-1, -2)))
