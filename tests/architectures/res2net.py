"""Res2Net (Gao et al. 2019)

Style: `torch.split` into groups that are convolved one after the other, an `if i == 0` inside the loop.
"""
import torch
import torch.nn as nn


class Bottle2neck(nn.Module):
    def __init__(self, inplanes, planes, stride=1, scale=4):
        super(Bottle2neck, self).__init__()
        self.width, self.scale, self.nums = planes // scale, scale, scale - 1
        self.stride = stride
        self.conv1 = nn.Conv2d(inplanes, planes, kernel_size=1, stride=stride, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        convs, bns = [], []
        for i in range(self.nums):
            convs.append(nn.Conv2d(self.width, self.width, kernel_size=3, padding=1, bias=False))
            bns.append(nn.BatchNorm2d(self.width))
        self.convs, self.bns = nn.ModuleList(convs), nn.ModuleList(bns)
        self.conv3 = nn.Conv2d(planes, planes, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inplanes != planes:
            self.downsample = nn.Sequential(
                nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False),
                nn.Conv2d(inplanes, planes, 1, bias=False),
                nn.BatchNorm2d(planes),
            )

    def forward(self, x):
        residual = x
        out = self.relu(self.bn1(self.conv1(x)))
        spx = torch.split(out, self.width, 1)
        for i in range(self.nums):
            if i == 0:
                sp = spx[i]
            else:
                sp = sp + spx[i]
            sp = self.relu(self.bns[i](self.convs[i](sp)))
            out = sp if i == 0 else torch.cat((out, sp), 1)
        out = torch.cat((out, spx[self.nums]), 1)
        out = self.bn3(self.conv3(out))
        if self.downsample is not None:
            residual = self.downsample(x)
        out += residual
        return self.relu(out)


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super(Net, self).__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(inplace=True))
        self.layer1 = Bottle2neck(32, 32)
        self.layer2 = Bottle2neck(32, 64, stride=2)
        self.layer3 = Bottle2neck(64, 128, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(128, num_classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.stem(x))))
        x = self.avgpool(x).flatten(1)
        return self.fc(x)
