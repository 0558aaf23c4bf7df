def stage(width_in, width_out):
    return nn.Sequential(
        nn.Conv2d(width_in, width_out, 3, padding="same", bias=False),
        nn.BatchNorm2d(width_out),
        nn.LeakyReLU(0.1),
        nn.Conv2d(width_out, width_out, 3, stride=2, padding=1),
        nn.BatchNorm2d(width_out),
        nn.SiLU(),
    )


class DeeperCNN(nn.Sequential):
    def __init__(self, num_classes=10):
        widths = [3] + [32 * 2**i for i in range(4)]
        super().__init__(
            *map(stage, widths[:-1], widths[1:]),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(p=0.25),
            nn.LazyLinear(num_classes),
        )
