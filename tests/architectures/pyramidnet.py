"""PyramidNet (Han et al. 2017)

Style: widths grow by a fraction per block (`round`); shortcuts average-pool and append zero channels with `torch.zeros`.
"""
import torch
import torch.nn as nn


class PyramidBlock(nn.Module):
    def __init__(self, inplanes, planes, stride=1):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inplanes)
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.AvgPool2d((2, 2), stride=(2, 2), ceil_mode=True) if stride == 2 else None

    def forward(self, x):
        out = self.bn1(x)
        out = self.conv1(out)
        out = self.relu(self.bn2(out))
        out = self.bn3(self.conv2(out))

        if self.downsample is not None:
            shortcut = self.downsample(x)
            featuremap_size = shortcut.size()[2:4]
        else:
            shortcut = x
            featuremap_size = out.size()[2:4]

        batch_size = out.size()[0]
        residual_channel = out.size()[1]
        shortcut_channel = shortcut.size()[1]
        if residual_channel != shortcut_channel:
            padding = torch.zeros(batch_size, residual_channel - shortcut_channel, featuremap_size[0],
                                  featuremap_size[1], dtype=out.dtype, device=out.device)
            out += torch.cat((shortcut, padding), 1)
        else:
            out += shortcut
        return out


class Net(nn.Module):
    def __init__(self, num_classes=10, depth=20, alpha=24):
        super().__init__()
        n = (depth - 2) // 6
        self.addrate = alpha / (3 * n * 1.0)
        self.featuremap_dim = 16
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.inplanes = 16
        self.layer1 = self.pyramidal_make_layer(n)
        self.layer2 = self.pyramidal_make_layer(n, stride=2)
        self.layer3 = self.pyramidal_make_layer(n, stride=2)
        self.bn_final = nn.BatchNorm2d(self.inplanes)
        self.relu_final = nn.ReLU(inplace=True)
        self.avgpool = nn.AvgPool2d(8)
        self.fc = nn.Linear(self.inplanes, num_classes)

    def pyramidal_make_layer(self, count, stride=1):
        layers = []
        for i in range(count):
            self.featuremap_dim += self.addrate
            planes = int(round(self.featuremap_dim))
            layers.append(PyramidBlock(self.inplanes, planes, stride if i == 0 else 1))
            self.inplanes = planes
        return nn.Sequential(*layers)

    def forward(self, x):
        x = self.bn1(self.conv1(x))
        x = self.layer3(self.layer2(self.layer1(x)))
        x = self.relu_final(self.bn_final(x))
        x = self.avgpool(x)
        return self.fc(x.view(x.size(0), -1))
