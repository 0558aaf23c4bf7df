"""Xception for 32×32 images (Chollet 2016)

Style: separable convolutions in a class of their own, blocks assembled by `append`, `self.skip` stays None where unused.
"""
import torch.nn as nn
import torch.nn.functional as F


class SeparableConv2d(nn.Module):
    def __init__(self, cin, cout, kernel_size=3, stride=1, padding=1, bias=False):
        super().__init__()
        self.conv1 = nn.Conv2d(cin, cin, kernel_size, stride, padding, groups=cin, bias=bias)
        self.pointwise = nn.Conv2d(cin, cout, 1, 1, 0, bias=bias)

    def forward(self, x):
        return self.pointwise(self.conv1(x))


class Block(nn.Module):
    def __init__(self, cin, cout, reps, strides=1, start_with_relu=True):
        super().__init__()
        if cout != cin or strides != 1:
            self.skip = nn.Conv2d(cin, cout, 1, stride=strides, bias=False)
            self.skipbn = nn.BatchNorm2d(cout)
        else:
            self.skip = None
        rep = []
        for i in range(reps):
            rep.append(nn.ReLU(inplace=False))
            rep.append(SeparableConv2d(cin if i == 0 else cout, cout))
            rep.append(nn.BatchNorm2d(cout))
        if not start_with_relu:
            rep = rep[1:]
        if strides != 1:
            rep.append(nn.MaxPool2d(3, strides, 1))
        self.rep = nn.Sequential(*rep)

    def forward(self, inp):
        x = self.rep(inp)
        if self.skip is not None:
            skip = self.skipbn(self.skip(inp))
        else:
            skip = inp
        x += skip
        return x


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.block1 = Block(16, 32, 2, 2, start_with_relu=False)
        self.block2 = Block(32, 64, 2, 2)
        self.block3 = Block(64, 64, 3, 1)
        self.block4 = Block(64, 64, 3, 1)
        self.conv2 = SeparableConv2d(64, 128)
        self.bn2 = nn.BatchNorm2d(128)
        self.last_linear = nn.Linear(128, num_classes)

    def features(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.block4(self.block3(self.block2(self.block1(x))))
        return self.bn2(self.conv2(x))

    def logits(self, features):
        x = F.relu(features, inplace=True)
        x = F.adaptive_avg_pool2d(x, (1, 1))
        x = x.view(x.size(0), -1)
        return self.last_linear(x)

    def forward(self, x):
        return self.logits(self.features(x))
