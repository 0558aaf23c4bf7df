class DepthwiseSeparableConv(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, padding=1):
        super().__init__()
        self.layers = nn.ModuleList([
            nn.Conv2d(in_channels, in_channels, kernel_size, stride, padding, groups=in_channels),
            nn.ReLU(),
            nn.Conv2d(in_channels, out_channels, 1),
        ])

    def forward(self, x):
        return self.layers(x)
