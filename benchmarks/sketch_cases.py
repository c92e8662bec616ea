"""The networks whose features are sketched, in PyTorch, with inputs; all have ten outputs and random weights.

| case | network | parameters | inputs |
|---|---|---:|---:|
| cnn | that of ``ntk_networks.py`` | 97,290 | 128 |
| resnet18 | ResNet-18 with the stem for small images (3×3, no pooling) on 32×32 | 11,173,962 | 32 |
| gpt100m | 12 pre-norm blocks, width 768, 64 tokens, 16,384 words, ten outputs at the last position | 97,695,744 | 64 |
"""

import torch
from ntk_networks import CASES as NTK_CASES
from ntk_networks import N_OUTPUTS, Block, Case, ResNet18
from torch import nn

_WORDS, _TOKENS, _WIDTH = 16384, 64, 768


class SmallResNet18(ResNet18):
    """ResNet-18 as it is used on CIFAR: the first convolution 3×3 of stride 1, and no pooling after it."""

    def __init__(self) -> None:
        super().__init__()
        self[0] = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self[3] = nn.Identity()


class Gpt100M(nn.Module):
    """Decoder of GPT-2's smallest size with a smaller vocabulary, and a head of ten outputs at the last position."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(_WORDS, _WIDTH), nn.Embedding(_TOKENS, _WIDTH)
        self.blocks = nn.Sequential(*(Block(_WIDTH, 12, causal=True) for _ in range(12)))
        self.norm, self.head = nn.LayerNorm(_WIDTH), nn.Linear(_WIDTH, N_OUTPUTS, bias=False)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions.weight, std=0.02)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Outputs (n, 10) of sequences (n, 64) of integers below 16,384."""
        where = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
        states = self.blocks(self.tokens(ids) + self.positions(where))
        return self.head(self.norm(states[:, -1]))


def _images(n: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randn(n, 3, 32, 32, generator=generator)


def _sequences(n: int, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(_WORDS, (n, _TOKENS), generator=generator)


CASES = {
    "cnn": NTK_CASES["cnn"],
    "resnet18": Case(name="resnet18", build=SmallResNet18, inputs=32, draw=_images),
    "gpt100m": Case(name="gpt100m", build=Gpt100M, inputs=64, draw=_sequences),
}
