# title = "Functional, other parameter names"
# %% depthwise-separable-solution
import torch.nn.functional as F


class DepthwiseSeparableConv(nn.Module):
    def __init__(self, n_in, n_out, k=3, s=1, p=1):
        super().__init__()
        self.depth = nn.Parameter(torch.randn(n_in, 1, k, k) / k)
        self.point = nn.Parameter(torch.randn(n_out, n_in, 1, 1) / n_in)
        self.s, self.p = s, p

    def forward(self, x):
        x = F.conv2d(x, self.depth, stride=self.s, padding=self.p, groups=x.shape[1])
        return F.gelu(F.conv2d(x, self.point))
