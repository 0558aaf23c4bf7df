# title = "The pointwise step as the product of its weights and the flattened features"
# %% depthwise-separable-solution
class DepthwiseSeparableConv(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, padding=1):
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, kernel_size, stride=stride, padding=padding, groups=in_channels, bias=False
        )
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels) / in_channels**0.5)

    def forward(self, x):
        x = self.depthwise(x)
        return (self.weight @ x.flatten(2)).unflatten(2, x.shape[2:])
