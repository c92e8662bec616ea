"""The networks whose kernels are compared, in PyTorch, with inputs; all have ten outputs and random weights.

| case | network | parameters | inputs |
|---|---|---:|---|
| mlp | 784-512-512-10, ReLU | 669,706 | 256 |
| cnn | convolutions 32-64-64 (3×3) on 32×32, two max-pools, linear | 97,290 | 128 |
| resnet18 | ResNet-18 with the ImageNet stem on 64×64, batch norm by its running statistics | 11,181,642 | 32 |
| vit | ViT-Tiny: patches 4×4 of 32×32, width 192, depth 12, 3 heads, class token | 5,362,762 | 32 |
| gpt | 4 pre-norm blocks, width 256, 8 heads, 64 tokens, 512 words, tied embedding, last position | 3,307,008 | 32 |
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

N_OUTPUTS = 10


class Mlp(nn.Sequential):
    """784-512-512-10 with ReLU."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, N_OUTPUTS))


class Cnn(nn.Sequential):
    """Three convolutions of 32, 64 and 64 channels, then a linear layer on the 8×8 map."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(4096, N_OUTPUTS),
        )


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside the identity, or a strided 1×1 convolution where the shape changes.

    Every activation is a module of its own, as BackPACK requires.
    """

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width:
            self.shortcut = nn.Sequential(nn.Conv2d(width_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, width_in, h, w) to (n, width, h / stride, w / stride)."""
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(y + self.shortcut(x))


class ResNet18(nn.Sequential):
    """He et al., *Deep residual learning for image recognition*, CVPR 2016, 18 layers."""

    def __init__(self) -> None:
        widths = ((64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2))
        blocks = [b for i, o, s in widths for b in (BasicBlock(i, o, s), BasicBlock(o, o, 1))]
        super().__init__(
            nn.Conv2d(3, 64, 7, 2, 3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, 2, 1),
            *blocks,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(512, N_OUTPUTS),
        )


class Block(nn.Module):
    """Pre-norm transformer block: attention, then a GELU layer four times as wide."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (n, t, width) to the same shape."""
        n, t, width = x.shape
        heads = self.qkv(self.norm1(x)).reshape(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(*heads, is_causal=self.causal)
        x = x + self.out(mixed.transpose(1, 2).reshape(n, t, width))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """ViT-Tiny: Touvron et al., *Training data-efficient image transformers*, ICML 2021, on 64 patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 192, 4, 4)
        self.token = nn.Parameter(0.02 * torch.randn(1, 1, 192))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 65, 192))
        self.blocks = nn.Sequential(*(Block(192, 3, causal=False) for _ in range(12)))
        self.norm, self.head = nn.LayerNorm(192), nn.Linear(192, N_OUTPUTS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs (n, 10) of images (n, 3, 32, 32)."""
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(x.shape[0], -1, -1), tokens], dim=1) + self.positions
        return self.head(self.norm(self.blocks(tokens))[:, 0])


class Gpt(nn.Module):
    """Decoder with learned positions; its first ten logits at the last position."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(512, 256), nn.Embedding(64, 256)
        self.blocks = nn.Sequential(*(Block(256, 8, causal=True) for _ in range(4)))
        self.norm, self.head = nn.LayerNorm(256), nn.Linear(256, 512, bias=False)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)
        self.head.weight = self.tokens.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Outputs (n, 10) of sequences (n, 64) of integers below 512."""
        where = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        states = self.blocks(self.tokens(ids) + self.positions(where))
        return self.head(self.norm(states[:, -1]))[:, :N_OUTPUTS]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A network, the number of inputs it is compared at, and how they are drawn."""

    name: str
    build: Callable[[], nn.Module]
    inputs: int
    draw: Callable[[int, torch.Generator], torch.Tensor]

    def network(self) -> Any:
        """The network in evaluation mode, the same at every call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = self.build()
            for layer in network.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    _as_if_trained(layer)
        return network.eval()

    def points(self, n: int) -> torch.Tensor:
        """Inputs, the same at every call."""
        return self.draw(n, torch.Generator().manual_seed(1))


def _as_if_trained(layer: nn.BatchNorm2d) -> None:
    """Statistics and scales that make evaluation mode something else than the identity."""
    with torch.no_grad():
        layer.running_mean.normal_(0, 0.1)
        layer.running_var.uniform_(0.5, 1.5)
        layer.weight.uniform_(0.5, 1.5)
        layer.bias.normal_(0, 0.1)


def _normal(*shape: int) -> Callable[[int, torch.Generator], torch.Tensor]:
    return lambda n, generator: torch.randn(n, *shape, generator=generator)


def _tokens(n: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(512, (n, 64), generator=generator)


CASES = {
    case.name: case
    for case in (
        Case(name="mlp", build=Mlp, inputs=256, draw=_normal(784)),
        Case(name="cnn", build=Cnn, inputs=128, draw=_normal(3, 32, 32)),
        Case(name="resnet18", build=ResNet18, inputs=32, draw=_normal(3, 64, 64)),
        Case(name="vit", build=Vit, inputs=32, draw=_normal(3, 32, 32)),
        Case(name="gpt", build=Gpt, inputs=32, draw=_tokens),
    )
}
