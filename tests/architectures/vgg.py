"""VGG with batch norm (Simonyan and Zisserman 2014)

Style: layers from a list of widths and "M"s; the 1×1 average pool at the end is kept; prints its shape in forward.
"""
import torch.nn as nn

CFG = {"small": [16, "M", 32, "M", 64, 64, "M", 64, 64, "M", 64, "M"]}
DEBUG = True


def make_layers(cfg, in_channels=3):
    layers = []
    for v in cfg:
        if v == "M":
            layers += [nn.MaxPool2d(kernel_size=2, stride=2)]
        else:
            layers += [nn.Conv2d(in_channels, v, kernel_size=3, padding=1), nn.BatchNorm2d(v), nn.ReLU(inplace=True)]
            in_channels = v
    layers += [nn.AvgPool2d(kernel_size=1, stride=1)]
    return nn.Sequential(*layers)


class Net(nn.Module):
    def __init__(self, num_classes=10, name="small"):
        super().__init__()
        self.features = make_layers(CFG[name])
        self.classifier = nn.Linear(64, num_classes)

    def forward(self, x):
        out = self.features(x)
        if DEBUG:
            print("features:", out.shape)
        out = out.view(out.size(0), -1)
        return self.classifier(out)
