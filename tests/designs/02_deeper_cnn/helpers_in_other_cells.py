# title = "Helper functions and classes in other cells, type hints, a decorator"
# %% imports
from functools import wraps

from torch import Tensor


def checked(forward):
    """Say early what is wrong with an input."""

    @wraps(forward)
    def wrapper(self, x: Tensor) -> Tensor:
        assert x.dim() == 4, f"expected images [N, C, H, W], got {tuple(x.shape)}"
        return forward(self, x)

    return wrapper


# %% parts
class ConvBlock(nn.Sequential):
    def __init__(self, in_channels: int, out_channels: int, *, activation: type[nn.Module] = nn.SiLU) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, padding="same", bias=False),
            nn.BatchNorm2d(out_channels),
            activation(),
            nn.MaxPool2d(kernel_size=2, stride=2),
        )


def global_average(x: Tensor) -> Tensor:
    return x.flatten(2).mean(-1)


# %% deeper-cnn-solution
class DeeperCNN(nn.Module):
    """Four blocks; forward is decorated."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        widths = [3, 32, 64, 128, 256]
        for number, (before, after) in enumerate(zip(widths, widths[1:]), start=1):
            self.add_module(f"block{number}", ConvBlock(before, after))
        self.drop = nn.Dropout(p=0.4)
        self.fc = nn.Linear(widths[-1], num_classes)

    @checked
    def forward(self, x: Tensor) -> Tensor:
        for number in range(1, 5):
            x = getattr(self, f"block{number}")(x)
        return self.fc(self.drop(global_average(x)))
