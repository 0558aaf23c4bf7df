import torch.nn.functional as F


class DepthwiseSeparableConv(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size=3, stride=1, padding=1):
        super().__init__()
        self.kernels = nn.Parameter(torch.randn(in_channels, 1, kernel_size, kernel_size) / kernel_size)
        self.mixing = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1) / in_channels**0.5)
        self.stride, self.padding = stride, padding

    def forward(self, x):
        x = F.conv2d(x, self.kernels, stride=self.stride, padding=self.padding, groups=self.kernels.shape[0])
        return F.gelu(F.conv2d(x, self.mixing))
