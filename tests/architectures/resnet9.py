"""ResNet-9 of the DAWNBench races (Page 2018)

Style: helper functions, `Mul(0.125)` at the end, global maximum instead of average pooling, wrapped in DataParallel.
"""
import torch
from torch import nn


def conv_block(in_channels, out_channels, pool=False):
    layers = [nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
              nn.BatchNorm2d(out_channels),
              nn.CELU(0.075, inplace=True)]
    if pool:
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class Mul(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def __call__(self, x):
        return x * self.weight


class ResNet9(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.prep = conv_block(3, 16)
        self.layer1 = conv_block(16, 32, pool=True)
        self.res1 = nn.Sequential(conv_block(32, 32), conv_block(32, 32))
        self.layer2 = conv_block(32, 64, pool=True)
        self.layer3 = conv_block(64, 64, pool=True)
        self.res2 = nn.Sequential(conv_block(64, 64), conv_block(64, 64))
        self.classifier = nn.Sequential(nn.MaxPool2d(4), nn.Flatten(), nn.Linear(64, num_classes, bias=False))
        self.scale = Mul(0.125)

    def forward(self, xb):
        out = self.layer1(self.prep(xb))
        out = self.res1(out) + out
        out = self.layer3(self.layer2(out))
        out = self.res2(out) + out
        return self.scale(self.classifier(out))


def Net(num_classes=10):
    model = ResNet9(num_classes)
    return nn.DataParallel(model)
