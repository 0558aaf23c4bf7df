# title = "More parameters than asked for, and keywords handed on"
# %% depthwise-separable-solution
class DepthwiseSeparableConv(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, padding=1, activation=nn.ReLU, **options):
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, kernel_size, stride=stride, padding=padding, groups=in_channels, **options
        )
        self.pointwise = nn.LazyConv2d(out_channels, 1, **options)
        self.activation = activation()

    def forward(self, x):
        return self.activation(self.pointwise(self.depthwise(x)))
