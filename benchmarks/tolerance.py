"""Is "met" right? Fits within tolerances on networks of the digits, against the loss computed densely in float64.

The loss is Σ_i Σ_c ‖(I − Π_c)φ_c(x_i)‖² / Σ_i Σ_c ‖φ_c(x_i)‖² over all training points, Π_c the span that was kept.
Run: python benchmarks/tolerance.py [--networks 20] [--points 500 1700]
"""

import argparse
import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

import dntk
from dntk.distill.data import KMeans, LastLayer, RPCholesky

TOLERANCES = (0.05, 0.1, 0.2)
SELECTORS = {"RPCholesky(50)": RPCholesky(50), "LastLayer(KMeans(50))": LastLayer(KMeans(50))}


@dataclass(frozen=True)
class Case:
    """One fit within a tolerance."""

    selector: str
    tolerance: float
    points: int
    met: bool
    sampled: bool
    stated: float
    truth: float
    unseen: float
    kept: int
    gradients: int


def network(seed: int, points: int) -> tuple[Any, Any, Any]:
    """A network of one hidden layer, trained for 30 epochs; its training points, and 97 others."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(images))
    x = images[order].astype(np.float32) / 16
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # thirty epochs are not convergence
        net = MLPClassifier((32,), max_iter=30, random_state=seed).fit(x[:points], labels[order][:points])
    return dntk.as_model(net), x[:points], x[-97:]


def lost(model: Any, x: Any, basis: Any) -> float:
    """The truth, from the whole Jacobian."""
    values = dntk.tangent_features(model, x, sketch=None).values.astype(np.float64)
    inside = values @ np.swapaxes(np.asarray(basis, dtype=np.float64), 1, 2)
    return float(1 - np.sum(inside**2) / np.sum(values**2))


def cases(
    networks: int, points: int, tolerances: Sequence[float] = TOLERANCES, selectors: Mapping[str, Any] = SELECTORS
) -> Iterator[Case]:
    """Every network within every tolerance by every selector."""
    for seed in range(networks):
        model, x, others = network(seed, points)
        for (name, selector), tolerance in itertools.product(selectors.items(), tolerances):
            spec = dntk.DistilledNTK(model, selector, sketch=None, ridge=1e-2, seed=seed, tolerance=tolerance)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a tolerance that is not met
                fit = spec.fit(x)
            outcome = fit.tolerance
            assert outcome is not None
            yield Case(
                selector=name,
                tolerance=tolerance,
                points=points,
                met=outcome.met,
                sampled=outcome.loss.kind != "deterministic",
                stated=float(outcome.loss),
                truth=lost(model, x, fit.span.basis),
                unseen=lost(model, others, fit.span.basis),
                kept=fit.losses.kept_points,
                gradients=fit.losses.gradients,
            )


def table(found: Sequence[Case]) -> Table:
    """How often it was said to be met, and how often it was."""
    sizes = ("kept", "gradients")
    out = Table(
        "points", "selector", "tolerance", "sampled", "met", "truth within", "stated", "truth", *sizes, "unseen"
    )
    for (points, selector, tolerance), group in itertools.groupby(
        sorted(found, key=lambda case: (case.points, case.selector, case.tolerance)),
        key=lambda case: (case.points, case.selector, case.tolerance),
    ):
        some = list(group)
        met = [case for case in some if case.met]
        right = sum(case.truth <= case.tolerance for case in met)
        means = {name: np.mean([getattr(case, name) for case in some]) for name in ("stated", "truth", "unseen")}
        out.add_row(
            str(points),
            selector,
            f"{tolerance:g}",
            f"{sum(case.sampled for case in some)} of {len(some)}",
            f"{len(met)} of {len(some)}",
            f"{right} of {len(met)}",
            f"{means['stated']:.4f}",
            f"{means['truth']:.4f}",
            f"{np.mean([case.kept for case in some]):.0f}",
            f"{np.mean([case.gradients for case in some]):.0f}",
            f"{means['unseen']:.4f}",
        )
    return out


def main() -> None:
    """Fit all cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=20)
    parser.add_argument("--points", type=int, nargs="+", default=[500, 1700])
    arguments = parser.parse_args()
    found = []
    for points in arguments.points:
        total = arguments.networks * len(TOLERANCES) * len(SELECTORS)
        found += list(track(cases(arguments.networks, points), total=total, console=Console(stderr=True)))
    Console(width=140).print(table(found))


if __name__ == "__main__":
    main()
