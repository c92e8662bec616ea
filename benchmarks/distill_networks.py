"""The networks whose training sets are distilled, in PyTorch, and how they are trained.

| name | network | parameters on 1 × 28 × 28 |
|---|---|---:|
| cnn | convolutions of 16 and 32 channels (3×3), batch norm, two max-pools, linear | 20,586 |
| resnet18 | ResNet-18's blocks, a 3×3 stem without pooling, width 8 instead of 64 | 176,258 |
"""

import torch
from ntk_networks import BasicBlock
from torch import nn

N_OUTPUTS = 10
WIDTH = 8


class Cnn(nn.Sequential):
    """Two convolutions with batch norm and pooling, then a linear layer."""

    def __init__(self, channels: int, side: int) -> None:
        super().__init__(
            nn.Conv2d(channels, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * (side // 4) ** 2, N_OUTPUTS),
        )


class SmallResNet18(nn.Sequential):
    """ResNet-18 for small images: no stride and no pooling before the blocks, ``width`` to 8 · ``width`` channels."""

    def __init__(self, channels: int, width: int = WIDTH) -> None:
        widths = [(width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2), (4 * width, 8 * width, 2)]
        blocks = [b for i, o, s in widths for b in (BasicBlock(i, o, s), BasicBlock(o, o, 1))]
        super().__init__(
            nn.Conv2d(channels, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            *blocks,
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8 * width, N_OUTPUTS),
        )


def build(name: str, shape: tuple[int, ...]) -> nn.Module:
    """Network of the table for images (channels, side, side)."""
    return {"cnn": lambda: Cnn(shape[0], shape[1]), "resnet18": lambda: SmallResNet18(shape[0])}[name]()


def trained(name: str, x: torch.Tensor, y: torch.Tensor, *, epochs: int, seed: int) -> nn.Module:
    """Network after training by Adam with a cosine schedule, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = build(name, tuple(x.shape[1:])).to(x.device)
        optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
        for _ in range(epochs):
            for batch in torch.randperm(len(x)).split(64):
                if len(batch) > 1:  # batch norm needs two
                    optimizer.zero_grad()
                    nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
                    optimizer.step()
            schedule.step()
    return net.eval()
