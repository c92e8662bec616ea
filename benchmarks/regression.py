"""Uncertainty of regression beside laplace-torch and an ensemble: error, likelihood and calibration on held-out points.

Concrete's strength (protocol P3; 1,030 mixtures, eight numbers each), 8-150-1 with tanh, Adam, 1,000 epochs, split
70/15/15, all standardised. Every way says a mean and a variance; one factor on all of its variances is set by the
validation points, and what is told is of the test points. laplace-torch joins where it can be imported.

    python benchmarks/regression.py --csv concrete.csv [--splits 10]

The CSV is R's ``modeldata::concrete``, of which the last column is predicted.
"""

import argparse
import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import norm
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import dntk
from dntk.distill.gradients import Principal

LEVELS = np.arange(0.05, 1, 0.05)
NOISES = tuple(10.0**power for power in np.arange(-6, 1, 0.5))
MEASURES = ("RMSE", "NLL", "calibration")


@dataclass(frozen=True)
class Split:
    """Standardised inputs and targets of one random split, and the seed of its networks."""

    train: tuple[torch.Tensor, torch.Tensor]
    held: tuple[torch.Tensor, torch.Tensor]
    test: tuple[torch.Tensor, torch.Tensor]
    seed: int

    @staticmethod
    def of(table: np.ndarray, seed: int) -> "Split":
        """70, 15 and 15%."""
        order = np.random.default_rng(seed).permutation(len(table))
        first, second = int(0.7 * len(table)), int(0.85 * len(table))
        train = table[order[:first]]
        scaled = torch.from_numpy((table[order] - train.mean(0)) / train.std(0)).float()
        parts = [(part[:, :-1], part[:, -1:]) for part in (scaled[:first], scaled[first:second], scaled[second:])]
        return Split(*parts, seed=seed)


def trained(split: Split, seed: int) -> nn.Module:
    """A network by Adam on all training points at once."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(8, 150), nn.Tanh(), nn.Linear(150, 1))
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2, weight_decay=1e-5)
    x, y = split.train
    for _ in range(1_000):
        optimiser.zero_grad()
        nn.functional.mse_loss(net(x), y).backward()
        optimiser.step()
    return net.eval()


Said = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Means and variances (n, 1) of observations."""
Way = Callable[[nn.Module, Split], Said]


def constant(net: nn.Module, split: Split) -> Said:  # noqa: ARG001
    """The network, equally sure everywhere."""
    return lambda x: (net(x).detach(), torch.ones(len(x), 1))


def ensemble(net: nn.Module, split: Split) -> Said:
    """Mean and spread of five networks."""
    nets = [net, *(trained(split, 100 * split.seed + i) for i in range(1, 5))]

    def said(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        every = torch.stack([each(x).detach() for each in nets])
        return every.mean(0), every.var(0) + 1e-6

    return said


def process(size: int | None) -> Way:
    """The network, with the variance of the tangent kernel's process, of all features or in a span of ``size``.

    Its noise is that of least likelihood loss at the validation points.
    """

    def fit(net: nn.Module, split: Split) -> Said:
        model = dntk.as_model(net)
        gradients = None if size is None else Principal(size)
        phi = dntk.tangent_features(model, split.train[0], sketch=None)
        scale = float((phi.values**2).sum()) / len(phi)

        def said(noise: float) -> Said:
            spec = dntk.DistilledNTK(model, data=None, sketch=None, gradients=gradients, ridge=noise * scale)
            found = spec.fit(split.train[0])

            def beliefs(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
                return model(x), found.uncertainty(x) ** 2 + noise * scale

            return beliefs

        return min((said(noise) for noise in NOISES), key=lambda each: likelihood(*each(split.held[0]), split.held[1]))

    return fit


def laplace(weights: str, structure: str) -> Way:
    """One form of laplace-torch, its noise and prior by marginal likelihood."""

    def fit(net: nn.Module, split: Split) -> Said:
        from laplace import Laplace

        torch.manual_seed(0)
        found = Laplace(net, "regression", subset_of_weights=weights, hessian_structure=structure)
        found.fit(DataLoader(TensorDataset(*split.train), batch_size=256))
        log_prior, log_sigma = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
        optimiser = torch.optim.Adam([log_prior, log_sigma], lr=1e-1)
        for _ in range(100):
            optimiser.zero_grad()
            (-found.log_marginal_likelihood(log_prior.exp(), log_sigma.exp())).backward()
            optimiser.step()

        def said(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            mean, variance = found(x)
            return mean.detach(), (variance[:, :, 0] + found.sigma_noise**2).detach()

        return said

    return fit


def ways() -> dict[str, Way]:
    """All of them."""
    found: dict[str, Way] = {
        "the network, one variance": constant,
        "five networks": ensemble,
        "dntk, all points": process(None),
        "dntk, 100 gradients": process(100),
        "dntk, 20 gradients": process(20),
    }
    if importlib.util.find_spec("laplace") is not None:
        found["laplace-torch, all parameters"] = laplace("all", "full")
        found["laplace-torch, KFAC"] = laplace("all", "kron")
        found["laplace-torch, last layer"] = laplace("last_layer", "full")
    return found


def likelihood(mean: torch.Tensor, variance: torch.Tensor, y: torch.Tensor) -> float:
    """Negative, a point, where one factor on the variances makes it least."""
    factor = ((y - mean) ** 2 / variance).mean()
    return float(0.5 * (1 + (2 * torch.pi * factor * variance).log()).mean())


def judged(said: Said, split: Split) -> tuple[float, ...]:
    """Root mean squared error, mean negative log-likelihood, and how far shares of quantiles are from their levels."""
    mean, variance = said(split.held[0])
    factor = float(((split.held[1] - mean) ** 2 / variance).mean())
    mean, variance = said(split.test[0])
    errors, deviations = (split.test[1] - mean).double(), (factor * variance).double().sqrt()
    z = (errors / deviations).numpy()
    negative = 0.5 * (z**2).mean() + float(deviations.log().mean()) + 0.5 * np.log(2 * np.pi)
    shares = (norm.cdf(z) <= LEVELS[None, :]).mean(0)
    return float((errors**2).mean() ** 0.5), float(negative), float(np.abs(shares - LEVELS).mean())


def table(found: dict[str, list[tuple[float, ...]]], title: str) -> Table:
    """Means over the splits, and their standard errors."""
    out = Table("way", *MEASURES, "seconds", title=title)
    for way, every in found.items():
        values = np.array(every)
        means, errors = values.mean(0), values.std(0, ddof=1) / len(values) ** 0.5 if len(values) > 1 else values[0] * 0
        shown = [f"{m:.3f} ± {e:.3f}" for m, e in zip(means[:-1], errors[:-1], strict=True)]
        out.add_row(way, *shown, f"{means[-1]:.2f}")
    return out


def main() -> None:
    """Train, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--splits", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, list[tuple[float, ...]]] = {}
    for seed in range(arguments.splits):
        split = Split.of(numbers(arguments.csv), seed)
        net = trained(split, 100 * seed)
        for name, way in ways().items():
            start = time.process_time()
            said = way(net, split)
            values = judged(said, split)
            found.setdefault(name, []).append((*values, time.process_time() - start))
    Console(width=110).print(table(found, f"Concrete, {arguments.splits} splits"))


def numbers(csv: Path) -> np.ndarray:
    """The columns but for the names of rows."""
    names = csv.read_text().splitlines()[0].replace('"', "").split(",")
    columns: Sequence[int] = [i for i, name in enumerate(names) if name not in ("", "rownames")]
    found: Any = np.loadtxt(csv, delimiter=",", skiprows=1, usecols=columns)
    return found


if __name__ == "__main__":
    main()
