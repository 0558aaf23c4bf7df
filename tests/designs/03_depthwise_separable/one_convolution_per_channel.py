# title = "One small convolution for each channel"
# %% depthwise-separable-solution
class DepthwiseSeparableConv(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, padding=1):
        super().__init__()
        self.depth = nn.ModuleList(nn.Conv2d(1, 1, kernel_size, stride, padding) for _ in range(in_channels))
        self.point = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x):
        return self.point(torch.cat([conv(x[:, i : i + 1]) for i, conv in enumerate(self.depth)], dim=1))
