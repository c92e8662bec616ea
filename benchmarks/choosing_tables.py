"""Tables and a regression network for batches of labels: diamonds and Friedman's function, three hidden layers."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import make_friedman1
from torch import nn

_GRADES = {
    "cut": ["Fair", "Good", "Very Good", "Premium", "Ideal"],
    "color": list("JIHGFED"),
    "clarity": ["I1", "SI2", "SI1", "VS2", "VS1", "VVS2", "VVS1", "IF"],
}
_NUMBERS = ["carat", "depth", "table", "x", "y", "z"]
_RATE, _DECAY, _BATCH = 3e-3, 1e-4, 256


@dataclasses.dataclass(frozen=True)
class Table:
    """Points to choose from, with labels that are looked at when they are chosen; validation and test points."""

    x: torch.Tensor
    y: torch.Tensor
    valid: tuple[torch.Tensor, torch.Tensor]
    test: tuple[torch.Tensor, torch.Tensor]

    @classmethod
    def of(cls, x: np.ndarray, y: np.ndarray, *, pool: int, seed: int) -> "Table":
        """A random division: ``pool`` points, 1,024 to validate, at most 10,000 to test; in units of the pool."""
        order = np.random.default_rng(seed).permutation(len(x))
        parts = order[:pool], order[pool : pool + 1024], order[pool + 1024 : pool + 11024]
        x = (x - x[parts[0]].mean(0)) / x[parts[0]].std(0)
        y = (y - y[parts[0]].mean()) / y[parts[0]].std()
        pairs = [(torch.tensor(x[p], dtype=torch.float32), torch.tensor(y[p], dtype=torch.float32)) for p in parts]
        return cls(*pairs[0], pairs[1], pairs[2])


def fried(rows: int = 40768) -> tuple[np.ndarray, np.ndarray]:
    """Friedman's first function with noise 1: ten inputs, of which five count."""
    x, y = make_friedman1(rows, n_features=10, noise=1.0, random_state=0)
    return x, y


def diamonds(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Logarithm of the price of 53,940 diamonds, from the file in plotnine's wheel; grades by rank."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = [[float(row[name]) for row in rows] for name in _NUMBERS]
    columns += [[float(grades.index(row[name])) for row in rows] for name, grades in _GRADES.items()]
    return np.array(columns).T, np.log([float(row["price"]) for row in rows])


def train(
    x: torch.Tensor, y: torch.Tensor, valid: tuple[torch.Tensor, torch.Tensor], *, width: int, seed: int
) -> nn.Module:
    """Three hidden layers, Adam, a rate that falls to nothing; of every tenth epoch the one that validates best."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    sizes = [x.shape[1], width, width, width]
    layers = [layer for a, b in zip(sizes, sizes[1:], strict=False) for layer in (nn.Linear(a, b), nn.ReLU())]
    net = nn.Sequential(*layers, nn.Linear(width, 1))
    epochs, best, kept = 100, float("inf"), None
    optimiser = torch.optim.Adam(net.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda epoch: 1 - epoch / epochs)
    for epoch in range(epochs):
        for part in torch.randperm(len(x), generator=generator).split(_BATCH):
            optimiser.zero_grad()
            nn.functional.mse_loss(net(x[part])[:, 0], y[part]).backward()
            optimiser.step()
        schedule.step()
        if epoch % 10 == 9 and (error := rmse(net, *valid)) < best:
            best, kept = error, {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(kept)
    return net.requires_grad_(True).eval()


def rmse(net: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Root mean squared error."""
    with torch.no_grad():
        return float(torch.mean((net(x)[:, 0] - y) ** 2) ** 0.5)
