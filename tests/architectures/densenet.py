"""DenseNet-BC (Huang et al. 2016)

Style: features kept in a Python list and concatenated; layers added by name; gradient checkpoints while training.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.utils.checkpoint as cp


class DenseLayer(nn.Module):
    def __init__(self, channels, growth, bottleneck=4):
        super().__init__()
        self.add_module("norm1", nn.BatchNorm2d(channels))
        self.add_module("conv1", nn.Conv2d(channels, bottleneck * growth, kernel_size=1, bias=False))
        self.add_module("norm2", nn.BatchNorm2d(bottleneck * growth))
        self.add_module("conv2", nn.Conv2d(bottleneck * growth, growth, kernel_size=3, padding=1, bias=False))

    def bottleneck(self, *features):
        return self.conv1(F.relu(self.norm1(torch.cat(features, dim=1))))

    def forward(self, *features):
        if self.training and any(f.requires_grad for f in features):
            squeezed = cp.checkpoint(self.bottleneck, *features, use_reentrant=False)
        else:
            squeezed = self.bottleneck(*features)
        return self.conv2(F.relu(self.norm2(squeezed)))


class DenseBlock(nn.ModuleDict):
    def __init__(self, layers, channels, growth):
        super().__init__()
        for i in range(layers):
            self[f"denselayer{i + 1}"] = DenseLayer(channels + i * growth, growth)

    def forward(self, x):
        features = [x]
        for name, layer in self.items():
            features.append(layer(*features))
        return torch.cat(features, 1)


class Net(nn.Module):
    def __init__(self, num_classes=10, growth=8, blocks=(3, 3, 3)):
        super().__init__()
        width = 2 * growth
        self.features = nn.Sequential()
        self.features.add_module("conv0", nn.Conv2d(3, width, 3, padding=1, bias=False))
        for i, layers in enumerate(blocks):
            self.features.add_module("denseblock%d" % (i + 1), DenseBlock(layers, width, growth))
            width += layers * growth
            if i != len(blocks) - 1:
                self.features.add_module("transition%d" % (i + 1), nn.Sequential(
                    nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)))
                width //= 2
        self.features.add_module("norm_final", nn.BatchNorm2d(width))
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, x):
        features = self.features(x)
        out = F.relu(features, inplace=True)
        out = F.adaptive_avg_pool2d(out, (1, 1)).view(features.size(0), -1)
        return self.classifier(out)
