"""CNN with self-attention blocks (Zhang et al. 2018)

Style: `torch.bmm` over flattened positions, `permute`, a learnt `gamma` that starts at zero, spectral norm on the stem.
"""
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


class SelfAttn(nn.Module):
    def __init__(self, in_dim):
        super().__init__()
        self.query_conv = nn.Conv2d(in_dim, in_dim // 8, kernel_size=1)
        self.key_conv = nn.Conv2d(in_dim, in_dim // 8, kernel_size=1)
        self.value_conv = nn.Conv2d(in_dim, in_dim, kernel_size=1)
        self.gamma = nn.Parameter(torch.zeros(1))
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, x):
        m_batchsize, C, width, height = x.size()
        proj_query = self.query_conv(x).view(m_batchsize, -1, width * height).permute(0, 2, 1)
        proj_key = self.key_conv(x).view(m_batchsize, -1, width * height)
        attention = self.softmax(torch.bmm(proj_query, proj_key))
        proj_value = self.value_conv(x).view(m_batchsize, -1, width * height)
        out = torch.bmm(proj_value, attention.permute(0, 2, 1))
        out = out.view(m_batchsize, C, width, height)
        return self.gamma * out + x


class Net(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.l1 = nn.Sequential(spectral_norm(nn.Conv2d(3, 32, 4, 2, 1)), nn.BatchNorm2d(32), nn.LeakyReLU(0.1))
        self.l2 = nn.Sequential(nn.Conv2d(32, 64, 4, 2, 1), nn.BatchNorm2d(64), nn.LeakyReLU(0.1))
        self.attn1 = SelfAttn(64)
        self.l3 = nn.Sequential(nn.Conv2d(64, 64, 3, 1, 1), nn.BatchNorm2d(64), nn.LeakyReLU(0.1))
        self.attn2 = SelfAttn(64)
        self.last = nn.Linear(64, num_classes)

    def forward(self, x):
        out = self.attn1(self.l2(self.l1(x)))
        out = self.attn2(self.l3(out))
        return self.last(out.flatten(2).mean(-1))
