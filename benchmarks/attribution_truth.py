"""The truth of attribution: networks retrained on random halves of the digits."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

import dntk

TRAIN, TEST, EPOCHS, BATCH = 1000, 200, 40, 50


@dataclass(frozen=True)
class Data:
    """Training and test points."""

    x: torch.Tensor
    y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor


def digits(seed: int = 0, size: int = TRAIN) -> Data:
    """Another split for every seed."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(images))
    x, y = torch.from_numpy(images[order] / 16).float(), torch.from_numpy(labels[order])
    return Data(x[:size], y[:size], x[-TEST:], y[-TEST:])


def network(seed: int) -> nn.Module:
    """64-64-32-10."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def train(x: torch.Tensor, y: torch.Tensor, seed: int, epochs: int = EPOCHS) -> nn.Module:
    """SGD with momentum 0.9 and step 0.02."""
    net = network(seed)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
    draws = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(y), generator=draws).split(BATCH):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x[rows]), y[rows]).backward()
            optimiser.step()
    return net.eval()


@dataclass(frozen=True)
class Truth:
    """Margins (r, q) of networks that were trained on each of r halves, given as positions (r, n/2)."""

    data: Data
    halves: np.ndarray
    margins: np.ndarray

    @staticmethod
    def of(halves: Iterable[int], *, seed: int = 0, size: int = TRAIN) -> "Truth":
        """One network for each of the ``halves``, which are numbers."""
        data, rng = digits(seed, size), np.random.default_rng(seed + 1)
        test = dntk.outputs.labelled(data.test_x, data.test_y)
        chosen, margins = [], []
        for number in halves:
            half = rng.permutation(size)[: size // 2]
            net = train(data.x[half], data.y[half], seed=seed + number)
            chosen.append(half)
            margins.append(dntk.outputs.margin(dntk.as_model(net))(test)[:, 0].numpy())
        return Truth(data, np.stack(chosen), np.stack(margins))


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
