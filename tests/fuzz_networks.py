"""Small solutions in many styles, from which tests/fuzz_evidence.py starts: networks, separable blocks, transforms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from tests.graph_models import Functional, Gate, Parallel, Residual, conv, conv_norm

Network = Callable[..., nn.Module]


def network(
    trunk: Callable[[], nn.Module], channels: int = 8, forward: Callable[[Any, Tensor], Tensor] | None = None
) -> Network:
    """A network with a given trunk, average pooling, dropout and one linear layer."""

    def made(num_classes: int = 10) -> nn.Module:
        parts = {"trunk": trunk(), "dropout": nn.Dropout(0.3), "fc": nn.Linear(channels, num_classes)}
        return Functional(forward or (lambda m, x: m.fc(m.dropout(m.trunk(x).mean((2, 3))))), **parts)

    return made


class Attention(nn.Module):
    """Every pixel of a small map looks at every other one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.attend = conv(3, 8, stride=8), nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        rows = x.flatten(2).transpose(1, 2)
        seen: Tensor = self.attend(rows, rows, rows, need_weights=False)[0].transpose(1, 2)
        return x + seen.reshape(x.shape)


class Unfolded(nn.Module):
    """A convolution written as a product of matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 27) * 0.2)

    def forward(self, x: Tensor) -> Tensor:
        n, _, height, width = x.shape
        return torch.einsum("oc,ncp->nop", self.weight, F.unfold(x, 3, padding=1)).view(n, 8, height, width)


class InPlace(nn.Module):
    """A residual sum by assignment to a part."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.branch = conv_norm(3, 8), conv(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x[:, :4] += self.branch(x[:, 4:])
        return x


class ChannelsLast(nn.Module):
    """Linear layers over the channels, layer norm, a scale for each."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = conv(3, 8, stride=4), nn.LayerNorm(8)
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)
        self.scale = nn.Parameter(1e-6 * torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).permute(0, 2, 3, 1)
        branch: Tensor = self.scale * self.down(F.gelu(self.up(self.norm(x))))
        return (x + branch).permute(0, 3, 1, 2)


def dense(m: Any, x: Tensor) -> Tensor:
    """Features of both layers, side by side."""
    first = m.trunk[0](x)
    logits: Tensor = m.fc(m.dropout(torch.cat([first, m.trunk[1](first)], 1).mean((2, 3))))
    return logits


def highest(m: Any, x: Tensor) -> Tensor:
    """Pooled by the maximum, and flattened."""
    logits: Tensor = m.fc(m.dropout(F.adaptive_max_pool2d(m.trunk(x), 1).flatten(1)))
    return logits


def turned(m: Any, x: Tensor) -> Tensor:
    """Channels in another order, each weighed against the others."""
    x = m.trunk(x)
    return F.log_softmax(m.fc(m.dropout((x.roll(1, 1) * x.softmax(1)).mean((2, 3)))), 1)


NETWORKS: tuple[Network, ...] = (
    network(lambda: nn.Sequential(conv_norm(3, 4), nn.MaxPool2d(2), conv_norm(4, 8), nn.MaxPool2d(2))),
    network(lambda: nn.Sequential(conv(3, 8, stride=2), Residual(8, 8), Residual(8, 8))),
    network(lambda: nn.Sequential(conv_norm(3, 8, 2), Residual(8, 8, 2), Gate(8))),
    network(lambda: nn.Sequential(Parallel(3, 8), nn.AvgPool2d(4))),
    network(lambda: nn.Sequential(conv_norm(3, 4, 2), conv_norm(4, 4)), forward=dense),
    network(lambda: nn.Sequential(conv(3, 8, groups=1, bias=False), nn.GroupNorm(2, 8), nn.SiLU()), forward=highest),
    network(lambda: nn.Sequential(conv_norm(3, 8, 4), nn.Dropout2d(0.1)), forward=turned),
    network(lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(conv(3, 8, stride=4)), nn.PReLU())),
    network(lambda: nn.Sequential(conv(3, 6, stride=2), conv(6, 6, groups=6), conv(6, 8, 1), nn.BatchNorm2d(8))),
    network(Attention),
    network(Unfolded),
    network(InPlace),
    network(ChannelsLast),
)  # fmt: skip


def separable(forward: Callable[[Any, Tensor], Tensor], **parts: Callable[..., Any]) -> Network:
    """A block whose parts are made from what the exercise asks for."""

    def made(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1, padding: int = 1) -> nn.Module:
        spatial = nn.Conv2d(in_channels, in_channels, kernel_size, stride, padding, groups=in_channels)
        own = {name: part(in_channels, out_channels) for name, part in parts.items()}
        return Functional(forward, spatial=spatial, **own)

    return made


def matrix(inputs: int, outputs: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(outputs, inputs) / inputs**0.5)


SEPARABLE: tuple[Network, ...] = (
    separable(lambda m, x: torch.einsum("oc,nchw->nohw", m.mix, m.spatial(x)), mix=matrix),
    separable(lambda m, x: (m.spatial(x).permute(0, 2, 3, 1) @ m.mix.T).permute(0, 3, 1, 2), mix=matrix),
    separable(lambda m, x: m.mix(m.spatial(x).movedim(1, -1)).movedim(-1, 1), mix=nn.Linear),
    separable(lambda m, x: m.spatial(m.mix(x)), mix=lambda inputs, _: nn.Conv2d(inputs, inputs, 1)),
    separable(
        lambda m, x: m.mix(torch.cat([part.relu() for part in m.spatial(x).split(1, 1)], 1)),
        mix=lambda inputs, outputs: nn.Conv2d(inputs, outputs, 1, bias=False),
    ),
)


def by_hand(image: Any) -> Tensor:
    """Without torchvision, and at random a little brighter."""
    values: Tensor = v2.functional.to_image(image).float() / 127.5 - 1
    return values * (0.9 + 0.2 * torch.rand(1))


SCALED = (v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3))
TEST = v2.Compose(SCALED)
TRANSFORMS: tuple[tuple[Any, Any], ...] = (
    (v2.Compose([v2.RandomHorizontalFlip(), v2.RandomCrop(32, padding=4), *SCALED]), TEST),
    (by_hand, TEST),
    (v2.Compose([*SCALED, v2.RandomErasing(1.0)]), v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])),
    (v2.Compose([v2.ColorJitter(0.4, 0.4, 0.4), *SCALED]), v2.Compose([*SCALED, v2.ToDtype(torch.float16)])),
)
