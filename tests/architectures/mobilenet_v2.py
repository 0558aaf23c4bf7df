"""MobileNetV2 for 32×32 images (Sandler et al. 2018)

Style: a table (expansion, width, repeats, stride), a class that derives from `nn.Sequential`, ReLU6.
"""
import torch.nn as nn


class ConvBNReLU(nn.Sequential):
    def __init__(self, inp, oup, k=3, stride=1, groups=1):
        super().__init__(
            nn.Conv2d(inp, oup, k, stride, (k - 1) // 2, groups=groups, bias=False),
            nn.BatchNorm2d(oup),
            nn.ReLU6(inplace=True),
        )


class InvertedResidual(nn.Module):
    def __init__(self, inp, oup, stride, expand_ratio):
        super().__init__()
        hidden = int(round(inp * expand_ratio))
        self.use_res_connect = stride == 1 and inp == oup
        layers = [ConvBNReLU(inp, hidden, k=1)] if expand_ratio != 1 else []
        layers.extend([
            ConvBNReLU(hidden, hidden, stride=stride, groups=hidden),
            nn.Conv2d(hidden, oup, 1, 1, 0, bias=False),
            nn.BatchNorm2d(oup),
        ])
        self.conv = nn.Sequential(*layers)

    def forward(self, x):
        if self.use_res_connect:
            return x + self.conv(x)
        else:
            return self.conv(x)


class Net(nn.Module):
    # t, c, n, s
    cfgs = [[1, 16, 1, 1], [4, 24, 2, 1], [4, 32, 2, 2], [4, 48, 2, 2], [4, 64, 1, 1]]

    def __init__(self, num_classes=10):
        super().__init__()
        features = [ConvBNReLU(3, 16)]
        inp = 16
        for t, c, n, s in self.cfgs:
            for i in range(n):
                features.append(InvertedResidual(inp, c, s if i == 0 else 1, t))
                inp = c
        features.append(ConvBNReLU(inp, 256, k=1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(256, num_classes))
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out")
            elif isinstance(m, nn.BatchNorm2d):
                nn.init.ones_(m.weight)
                nn.init.zeros_(m.bias)

    def forward(self, x):
        x = self.features(x)
        x = x.mean([2, 3])
        return self.classifier(x)
