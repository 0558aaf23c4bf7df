"""Attention-gated CNN (Schlemper et al. 2019)

Style: a deep feature map gates an earlier, finer one; `F.interpolate` to `x.shape[2:]`, `F.softmax` over positions.
"""
import torch
from torch import nn
from torch.nn import functional as F


class GridAttention(nn.Module):
    """Where in the fine features is what the coarse features are about?"""

    def __init__(self, fine, coarse, inner):
        super().__init__()
        self.theta = nn.Conv2d(fine, inner, kernel_size=2, stride=2, bias=False)
        self.phi = nn.Conv2d(coarse, inner, kernel_size=1)
        self.psi = nn.Conv2d(inner, 1, kernel_size=1)
        self.W = nn.Sequential(nn.Conv2d(fine, fine, 1), nn.BatchNorm2d(fine))

    def forward(self, x, g):
        theta_x = self.theta(x)
        phi_g = F.interpolate(self.phi(g), size=theta_x.shape[2:], mode="bilinear", align_corners=False)
        f = F.relu(theta_x + phi_g, inplace=True)
        psi_f = self.psi(f)
        att = F.softmax(psi_f.view(*psi_f.shape[:2], -1), dim=2).view(*psi_f.shape[:2], *theta_x.shape[2:])
        att = F.interpolate(att, size=x.shape[2:], mode="bilinear", align_corners=False)
        return self.W(att.expand_as(x) * x), att


def double_conv(i, o):
    return nn.Sequential(
        nn.Conv2d(i, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True),
        nn.Conv2d(o, o, 3, padding=1), nn.BatchNorm2d(o), nn.ReLU(inplace=True),
    )


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = double_conv(3, 16), double_conv(16, 32), double_conv(32, 64)
        self.pool = nn.MaxPool2d(2)
        self.gate1 = GridAttention(16, 64, 16)
        self.gate2 = GridAttention(32, 64, 32)
        self.classifier = nn.Linear(16 + 32 + 64, num_classes)

    def forward(self, x):
        c1 = self.conv1(x)
        c2 = self.conv2(self.pool(c1))
        c3 = self.conv3(self.pool(c2))
        g1, _ = self.gate1(c1, c3)
        g2, _ = self.gate2(c2, c3)
        summed = [torch.sum(g.view(g.shape[0], g.shape[1], -1), dim=-1) for g in (g1, g2)]
        pooled = F.adaptive_avg_pool2d(c3, 1).view(x.shape[0], -1)
        return self.classifier(torch.cat([pooled] + summed, dim=1))
