"""EfficientNet-like, with drop connect (Tan and Le 2019)

Style: a Bernoulli mask per image in training, a scripted swish, `divmod` and ceil arithmetic for widths.
"""
import math
import torch
import torch.nn as nn
import torch.nn.functional as F


@torch.jit.script
def swish(x):
    return x * x.sigmoid()


def drop_connect(x, drop_ratio):
    keep_ratio = 1.0 - drop_ratio
    mask = torch.empty([x.shape[0], 1, 1, 1], dtype=x.dtype, device=x.device)
    mask.bernoulli_(keep_ratio)
    x.div_(keep_ratio)
    x.mul_(mask)
    return x


def round_channels(channels, multiplier, divisor=8):
    return max(divisor, math.ceil(channels * multiplier / divisor) * divisor)


class SE(nn.Module):
    def __init__(self, in_channels, se_channels):
        super().__init__()
        self.se1 = nn.Conv2d(in_channels, se_channels, kernel_size=1, bias=True)
        self.se2 = nn.Conv2d(se_channels, in_channels, kernel_size=1, bias=True)

    def forward(self, x):
        out = F.adaptive_avg_pool2d(x, (1, 1))
        out = swish(self.se1(out))
        out = self.se2(out).sigmoid()
        return x * out


class MBConv(nn.Module):
    def __init__(self, cin, cout, kernel_size, stride, expand_ratio, drop_rate):
        super().__init__()
        self.drop_rate = drop_rate
        channels = expand_ratio * cin
        self.expand = None
        if expand_ratio != 1:
            self.expand = nn.Sequential(nn.Conv2d(cin, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.dw = nn.Conv2d(channels, channels, kernel_size, stride, kernel_size // 2, groups=channels, bias=False)
        self.bn_dw = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
        self.se = SE(channels, max(1, int(cin * 0.25)))
        self.project = nn.Sequential(nn.Conv2d(channels, cout, 1, bias=False), nn.BatchNorm2d(cout))
        self.has_skip = (stride == 1) and (cin == cout)

    def forward(self, x):
        out = x if self.expand is None else swish(self.expand(x))
        out = swish(self.bn_dw(self.dw(out)))
        out = self.se(out)
        out = self.project(out)
        if self.has_skip:
            if self.training and self.drop_rate > 0:
                out = drop_connect(out, self.drop_rate)
            out = out + x
        return out


class Net(nn.Module):
    def __init__(self, num_classes=10, width=0.5, dropout_rate=0.2, drop_connect_rate=0.2):
        super().__init__()
        cfg = [(1, 32, 1, 1, 3), (4, 48, 2, 1, 3), (4, 64, 2, 2, 5), (4, 96, 2, 2, 3)]
        cin = round_channels(32, width)
        self.conv_stem = nn.Conv2d(3, cin, 3, 1, 1, bias=False)
        self.bn0 = nn.BatchNorm2d(cin)
        total, b = sum(repeats for _, _, repeats, _, _ in cfg), 0
        blocks = []
        for expansion, cout, repeats, stride, kernel in cfg:
            cout = round_channels(cout, width)
            for j in range(repeats):
                rate = drop_connect_rate * b / total
                blocks.append(MBConv(cin, cout, kernel, stride if j == 0 else 1, expansion, rate))
                cin, b = cout, b + 1
        self.blocks = nn.Sequential(*blocks)
        self.dropout_rate = dropout_rate
        self.fc = nn.Linear(cin, num_classes)

    def forward(self, x):
        out = swish(self.bn0(self.conv_stem(x)))
        out = self.blocks(out)
        out = F.adaptive_avg_pool2d(out, 1)
        out = out.view(out.size(0), -1)
        if self.training and self.dropout_rate > 0:
            out = F.dropout(out, p=self.dropout_rate)
        return self.fc(out)
