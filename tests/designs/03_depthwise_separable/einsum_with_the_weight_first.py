# title = "The pointwise step by an einsum that names the weight first, with the channels in the last place"
# %% depthwise-separable-solution
class DepthwiseSeparableConv(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, padding=1):
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, kernel_size, stride=stride, padding=padding, groups=in_channels, bias=False
        )
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels) / in_channels**0.5)

    def forward(self, x):
        features = self.depthwise(x).permute(0, 2, 3, 1)
        return torch.einsum("oc,nhwc->nohw", self.weight, features)
