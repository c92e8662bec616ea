"""Trained networks with the points that are certified.

| name | network | parameters on 1 × 28 × 28 |
|---|---|---:|
| mlp | one hidden layer of 128 units, ReLU | 101,770 |
| cnn | as in distill_networks.py: two convolutions with batch norm, linear | 20,586 |
"""

import dataclasses
import time
from typing import Any

import torch
from distill_networks import trained as trained_convolutions
from torch import nn

from dntk import as_model, tangent_features
from dntk.features import TangentFeatures
from dntk.models.base import Model
from dntk.sketch import SparseSign
from dntk_studies.datasets import Dataset, digits, fashion_mnist

NETWORKS = {"mlp": 20, "cnn": 8}
"""Epochs of training."""
DATA = {"digits": (8, 1297), "fashion": (28, 5000)}
"""Side of the images, and how many train the network."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """Features of points of a trained network, with the seconds that they took."""

    data: str
    network: str
    seed: int
    model: Model
    points: torch.Tensor
    phi: TangentFeatures
    targets: torch.Tensor

    def features_again(self) -> float:
        """Seconds that the features take."""
        start = time.perf_counter()
        tangent_features(self.model, self.points, sketch=self.phi.sketch)
        return time.perf_counter() - start


def scene(data: str, network: str, *, seed: int, points: int, features: int) -> Scene:
    """Train a network and make the features of the first training points; targets are its outputs.

    Raises
    ------
    FileNotFoundError
        Fashion-MNIST is not installed and cannot be fetched; the message says how to get it.
    """
    side, train = DATA[data]
    parts = _dataset(data, train, seed)
    x = torch.asarray(parts.train.x, dtype=torch.float32).reshape(-1, 1, side, side)
    y = torch.asarray(parts.train.y, dtype=torch.int64)
    epochs = NETWORKS[network]
    net = _trained_mlp(x, y, epochs, seed) if network == "mlp" else _trained_cnn(x, y, epochs, seed)
    model: Any = as_model(net)
    chosen = x[:points]
    phi = tangent_features(model, chosen, sketch=SparseSign(features, seed=seed))
    return Scene(
        data=data, network=network, seed=seed, model=model, points=chosen, phi=phi, targets=model(chosen).detach()
    )


def _dataset(data: str, train: int, seed: int) -> Dataset:
    if data == "digits":
        return digits(train=train, validation=100, seed=seed)
    return fashion_mnist(train=train, validation=100, seed=seed)


def _trained_cnn(x: torch.Tensor, y: torch.Tensor, epochs: int, seed: int) -> nn.Module:
    return trained_convolutions("cnn", x, y, epochs=epochs, seed=seed)


def _trained_mlp(x: torch.Tensor, y: torch.Tensor, epochs: int, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 128), nn.ReLU(), nn.Linear(128, 10))
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        for _ in range(epochs):
            for batch in torch.randperm(len(x)).split(64):
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
                optimizer.step()
    return net.eval()
