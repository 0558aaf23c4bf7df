"""Compact convolutional transformer (Hassani et al. 2021)

Style: convolutional tokens, PyTorch's own `nn.TransformerEncoder`, sequence pooling by a softmax and `torch.matmul`.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F


class Tokenizer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width // 2, 3, padding=1, bias=False), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(width // 2, width, 3, padding=1, bias=False), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        )

    def forward(self, x):
        return self.layers(x).flatten(2, 3).transpose(-2, -1)


class Net(nn.Module):
    def __init__(self, num_classes=10, width=64):
        super().__init__()
        self.tokenizer = Tokenizer(width)
        self.positions = nn.Parameter(torch.zeros(1, 64, width))
        nn.init.trunc_normal_(self.positions, std=0.2)
        layer = nn.TransformerEncoderLayer(width, nhead=4, dim_feedforward=2 * width, dropout=0.1,
                                           activation="gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, num_layers=2, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.attention_pool = nn.Linear(width, 1)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x):
        x = self.encoder(self.tokenizer(x) + self.positions)
        weights = F.softmax(self.attention_pool(x), dim=1)
        x = torch.matmul(weights.transpose(-1, -2), x).squeeze(-2)
        return self.fc(x)
