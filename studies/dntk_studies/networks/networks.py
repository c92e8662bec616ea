"""The networks of the reproduction; each ends in a linear layer called ``head``."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

LAST_LAYER = r"head\..*"

Image = tuple[int, int, int]


class _Headed(nn.Module):  # type: ignore[misc]
    """Features by ``body`` of images that are centred and scaled, outputs by ``head``.

    Scaling is part of the network, so that its inputs are pixels in [0, 1].
    """

    def __init__(self, body: nn.Module, features: int, classes: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("deviation", torch.ones(1, channels, 1, 1))
        self.body, self.head = body, nn.Linear(features, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs (n, classes) of images (n, channels, height, width)."""
        return self.head(self.body((x - self.mean) / self.deviation))

    def scale_by(self, x: torch.Tensor) -> None:
        """Take mean and deviation of every channel from the images ``x``."""
        self.mean.copy_(x.mean(dim=(0, 2, 3), keepdim=True))
        self.deviation.copy_(x.std(dim=(0, 2, 3), keepdim=True).clamp(min=1e-3))


def mlp(image: Image, classes: int, width: int) -> nn.Module:
    """Two hidden layers of ``width`` units with ReLU."""
    pixels = image[0] * image[1] * image[2]
    hidden = (nn.Linear(pixels, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
    return _Headed(nn.Sequential(nn.Flatten(), *hidden), width, classes, image[0])


def cnn(image: Image, classes: int, width: int) -> nn.Module:
    """Three 3×3 convolutions of width, 2·width and 2·width channels, two max-pools, mean over positions of the rest."""
    w = width
    body = nn.Sequential(
        *(nn.Conv2d(image[0], w, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(w, 2 * w, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(2 * w, 2 * w, 3, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten()),
    )
    return _Headed(body, 8 * w, classes, image[0])


class _BasicBlock(nn.Module):  # type: ignore[misc]
    """Two 3×3 convolutions beside the identity, or a strided 1×1 convolution where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, channels, h, w) to (n, width, h / stride, w / stride)."""
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(y + self.shortcut(x))


def resnet18(image: Image, classes: int, width: int) -> nn.Module:
    """ResNet-18 (He et al., CVPR 2016); the stem is one 3×3 convolution below 64 pixels, the ImageNet one from there.

    The original has width 64; stages have width, 2·width, 4·width and 8·width channels.
    """
    w = width
    if min(image[1:]) < 64:
        stem = [nn.Conv2d(image[0], w, 3, 1, 1, bias=False), nn.BatchNorm2d(w), nn.ReLU()]
    else:
        stem = [nn.Conv2d(image[0], w, 7, 2, 3, bias=False), nn.BatchNorm2d(w), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    stages = ((w, w, 1), (w, 2 * w, 2), (2 * w, 4 * w, 2), (4 * w, 8 * w, 2))
    blocks = [block for i, o, s in stages for block in (_BasicBlock(i, o, s), _BasicBlock(o, o, 1))]
    body = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return _Headed(body, 8 * w, classes, image[0])


class _AttentionBlock(nn.Module):  # type: ignore[misc]
    """Pre-norm transformer block: attention, then a GELU layer twice as wide."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, t, width) to the same shape."""
        n, t, width = x.shape
        heads = self.qkv(self.norm1(x)).reshape(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*heads)
        x = x + self.out(mixed.transpose(1, 2).reshape(n, t, width))
        return x + self.mlp(self.norm2(x))


class _Tokens(nn.Module):  # type: ignore[misc]
    """Patches, positions, blocks, norm; the mean over tokens is the feature."""

    def __init__(self, image: Image, width: int, *, depth: int, heads: int) -> None:
        super().__init__()
        patch = max(1, min(image[1:]) // 8 if min(image[1:]) > 8 else 2)
        count = (image[1] // patch) * (image[2] // patch)
        self.patches = nn.Conv2d(image[0], width, patch, patch)
        self.positions = nn.Parameter(0.02 * torch.randn(1, count, width))
        self.blocks = nn.Sequential(*(_AttentionBlock(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (n, width)."""
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        return self.norm(self.blocks(tokens)).mean(dim=1)


def vit(image: Image, classes: int, width: int) -> nn.Module:
    """A small vision transformer: 8×8 patches (4×4 for images of 8 pixels), depth 4, 4 heads, mean over tokens."""
    return _Headed(_Tokens(image, width, depth=4, heads=4), width, classes, image[0])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """How a network is built, and the optimiser of its recipe."""

    build: Callable[[Image, int, int], nn.Module]
    optimiser: Callable[..., Any]


def _sgd(parameters: Any, rate: float, decay: float) -> Any:
    return torch.optim.SGD(parameters, lr=rate, momentum=0.9, nesterov=True, weight_decay=decay)


def _adam(parameters: Any, rate: float, decay: float) -> Any:
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)


ARCHITECTURES = {
    "mlp": Architecture(build=mlp, optimiser=_adam),
    "cnn": Architecture(build=cnn, optimiser=_adam),
    "resnet18": Architecture(build=resnet18, optimiser=_sgd),
    "vit": Architecture(build=vit, optimiser=_adam),
}
