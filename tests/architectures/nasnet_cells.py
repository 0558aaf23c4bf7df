"""NASNet-like cells (Zoph et al. 2018)

Style: a dictionary of operations by name, a genotype as a list of tuples, cells that take the two states before them.
"""
import torch
import torch.nn as nn

OPS = {
    "skip": lambda C, stride: nn.Identity() if stride == 1 else FactorizedReduce(C, C),
    "avg3": lambda C, stride: nn.AvgPool2d(3, stride, 1, count_include_pad=False),
    "max3": lambda C, stride: nn.MaxPool2d(3, stride, 1),
    "sep3": lambda C, stride: SepConv(C, 3, stride),
    "sep5": lambda C, stride: SepConv(C, 5, stride),
}
# (operation, which earlier state) twice for each of the three new states, which are added in pairs
NORMAL = [("sep3", 1), ("skip", 1), ("sep5", 0), ("sep3", 1), ("avg3", 0), ("skip", 2)]
REDUCE = [("sep5", 1), ("max3", 0), ("sep3", 0), ("avg3", 1), ("max3", 1), ("sep3", 0)]


class SepConv(nn.Module):
    def __init__(self, C, k, stride):
        super().__init__()
        self.op = nn.Sequential(
            nn.ReLU(inplace=False),
            nn.Conv2d(C, C, k, stride, k // 2, groups=C, bias=False),
            nn.Conv2d(C, C, 1, bias=False),
            nn.BatchNorm2d(C),
        )

    def forward(self, x):
        return self.op(x)


class FactorizedReduce(nn.Module):
    def __init__(self, C_in, C_out):
        super().__init__()
        assert C_out % 2 == 0
        self.relu = nn.ReLU(inplace=False)
        self.conv_1 = nn.Conv2d(C_in, C_out // 2, 1, stride=2, bias=False)
        self.conv_2 = nn.Conv2d(C_in, C_out // 2, 1, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(C_out)

    def forward(self, x):
        x = self.relu(x)
        out = torch.cat([self.conv_1(x), self.conv_2(x[:, :, 1:, 1:])], dim=1)
        return self.bn(out)


class Cell(nn.Module):
    def __init__(self, genotype, C_pp, C_p, C, reduction, reduction_prev):
        super().__init__()
        if reduction_prev:
            self.preprocess0 = FactorizedReduce(C_pp, C)
        else:
            self.preprocess0 = nn.Sequential(nn.ReLU(), nn.Conv2d(C_pp, C, 1, bias=False), nn.BatchNorm2d(C))
        self.preprocess1 = nn.Sequential(nn.ReLU(), nn.Conv2d(C_p, C, 1, bias=False), nn.BatchNorm2d(C))
        self._indices = [index for _, index in genotype]
        self._ops = nn.ModuleList(
            [OPS[name](C, 2 if reduction and index < 2 else 1) for name, index in genotype]
        )

    def forward(self, s0, s1):
        states = [self.preprocess0(s0), self.preprocess1(s1)]
        for i in range(len(self._ops) // 2):
            h1 = self._ops[2 * i](states[self._indices[2 * i]])
            h2 = self._ops[2 * i + 1](states[self._indices[2 * i + 1]])
            states += [h1 + h2]
        return torch.cat(states[2:], dim=1)


class Net(nn.Module):
    def __init__(self, num_classes=10, C=8, layers=4):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 3 * C, 3, padding=1, bias=False), nn.BatchNorm2d(3 * C))
        C_pp, C_p, prev = 3 * C, 3 * C, False
        self.cells = nn.ModuleList()
        for i in range(layers):
            reduction = i in (layers // 3, 2 * layers // 3)
            C = C * 2 if reduction else C
            self.cells.append(Cell(REDUCE if reduction else NORMAL, C_pp, C_p, C, reduction, prev))
            prev, C_pp, C_p = reduction, C_p, 3 * C
        self.global_pooling = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(C_p, num_classes)

    def forward(self, x):
        s0 = s1 = self.stem(x)
        for cell in self.cells:
            s0, s1 = s1, cell(s0, s1)
        out = self.global_pooling(s1)
        return self.classifier(out.view(out.size(0), -1))
