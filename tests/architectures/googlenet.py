"""GoogLeNet with Inception blocks (Szegedy et al. 2014)

Style: four branches b1 to b4 joined by `torch.cat`; an Inception block takes its widths as `*args`.
"""
import torch
import torch.nn as nn


def cbr(i, o, k, **kw):
    return nn.Sequential(nn.Conv2d(i, o, k, **kw), nn.BatchNorm2d(o), nn.ReLU(True))


class Inception(nn.Module):
    def __init__(self, in_planes, *widths):
        super().__init__()
        n1x1, n3x3red, n3x3, n5x5red, n5x5, pool_planes = widths
        self.b1 = cbr(in_planes, n1x1, 1)
        self.b2 = nn.Sequential(cbr(in_planes, n3x3red, 1), cbr(n3x3red, n3x3, 3, padding=1))
        self.b3 = nn.Sequential(cbr(in_planes, n5x5red, 1), cbr(n5x5red, n5x5, 3, padding=1), cbr(n5x5, n5x5, 3, padding=1))
        self.b4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), cbr(in_planes, pool_planes, 1))

    def forward(self, x):
        y1 = self.b1(x)
        y2 = self.b2(x)
        y3 = self.b3(x)
        y4 = self.b4(x)
        return torch.cat([y1, y2, y3, y4], 1)


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.pre_layers = cbr(3, 32, 3, padding=1)
        self.a3 = Inception(32, 16, 16, 24, 8, 8, 8)
        self.b3 = Inception(56, 24, 24, 32, 8, 16, 16)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.a4 = Inception(88, 32, 24, 48, 8, 16, 16)
        self.b4 = Inception(112, 32, 24, 48, 8, 24, 24)
        self.a5 = Inception(128, 48, 32, 64, 8, 24, 24)
        self.avgpool = nn.AvgPool2d(8, stride=1)
        self.linear = nn.Linear(160, num_classes)

    def forward(self, x):
        out = self.pre_layers(x)
        out = self.b3(self.a3(out))
        out = self.maxpool(out)
        out = self.b4(self.a4(out))
        out = self.maxpool(out)
        out = self.a5(out)
        out = self.avgpool(out)
        out = out.view(out.size(0), -1)
        out = self.linear(out)
        return out
