"""Normaliser-free ResNet with standardised weights (Brock et al. 2021)

Style: a convolution class whose forward computes its weight, `self.alpha`/`self.beta` scalars, a learnt `skip_gain`.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F


class ScaledStdConv2d(nn.Conv2d):
    def __init__(self, *args, gamma=1.7139588594436646, eps=1e-6, **kwargs):
        super().__init__(*args, **kwargs)
        self.gain = nn.Parameter(torch.ones(self.out_channels, 1, 1, 1))
        self.scale = gamma * self.weight[0].numel() ** -0.5
        self.eps = eps

    def get_weight(self):
        std, mean = torch.std_mean(self.weight, dim=[1, 2, 3], keepdim=True, unbiased=False)
        return self.gain * self.scale * (self.weight - mean) / (std + self.eps)

    def forward(self, x):
        return F.conv2d(x, self.get_weight(), self.bias, self.stride, self.padding, self.dilation, self.groups)


class NFBlock(nn.Module):
    def __init__(self, inp, out, stride=1, alpha=0.2, beta=1.0):
        super().__init__()
        self.alpha, self.beta = alpha, beta
        self.conv1 = ScaledStdConv2d(inp, out, 3, stride, 1)
        self.conv2 = ScaledStdConv2d(out, out, 3, 1, 1)
        self.downsample = ScaledStdConv2d(inp, out, 1) if (stride > 1 or inp != out) else None
        self.pool = nn.AvgPool2d(2) if stride > 1 else None
        self.skip_gain = nn.Parameter(torch.tensor(0.1))

    def forward(self, x):
        out = F.silu(x) * self.beta
        shortcut = x
        if self.downsample is not None:
            shortcut = self.downsample(out if self.pool is None else self.pool(out))
        out = self.conv2(F.silu(self.conv1(out)))
        return out * self.alpha * self.skip_gain + shortcut


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.stem = ScaledStdConv2d(3, 24, 3, 1, 1)
        self.stages = nn.Sequential(NFBlock(24, 24), NFBlock(24, 48, 2), NFBlock(48, 48), NFBlock(48, 96, 2))
        self.final = ScaledStdConv2d(96, 128, 1)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(128, num_classes)

    def forward(self, x):
        x = F.silu(self.final(self.stages(self.stem(x))))
        return self.fc(self.dropout(x.mean(dim=(2, 3))))
