"""The paper's coverage gap by how many eigenvectors each cluster gives: some number gives the 12 to 15% that it has.

A network of ``whole.py``, CIFAR-10, 50 random training images of every class, or with ``--chosen`` 500 of 10,000 by
RPCholesky of the last layer; features by ``Mixed``; kernels K^c of class c on its own points, and K̄ on all. Clusters
are those of ``LocalGlobal``. Energy form of the gap, as in Figure 4 of ``dntk reproduce``; mean ± standard deviation
over seeds of points, and classes.

    python benchmarks/coverage_gap.py --data-dir DIR [--networks-dir DIR] [--seeds 0 1 2 3 4] [--chosen]
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from whole import trained

import dntk
from dntk.distill.data import LastLayer, RPCholesky
from dntk.distill.gradients import LocalGlobal
from dntk_studies.datasets import cifar10
from dntk_studies.reproduce._figure_4 import gaps

EACH = 50
RANKS = (1, 2, 3, 4, 5, 6, 8, 10)


def balanced(y: np.ndarray, seed: int) -> np.ndarray:
    """Random points, as many of every class."""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(np.flatnonzero(y == label))[:EACH] for label in range(10)])


def chosen(model: dntk.Model, x: np.ndarray, seed: int) -> np.ndarray:
    """Points that span the features of the last layer."""
    found = LastLayer(RPCholesky(10 * EACH, seed=seed)).select_inputs(model, torch.from_numpy(x[:10_000]))
    return np.asarray(found.indices)


def curve(phi: dntk.TangentFeatures, seed: int) -> tuple[list[float], float]:
    """The gap at every number of eigenvectors of each cluster, and the mean size of a cluster."""
    labels = np.asarray(LocalGlobal(variance=0.95, clusters=10, seed=seed).diagnose(phi).labels)
    kernel = phi.kernel().double().numpy()
    sizes = np.unique(labels, return_counts=True)[1]
    return [gaps(kernel, labels, (rank,) * len(sizes))["energy"] for rank in RANKS], float(sizes.mean())


def main() -> None:
    """Print the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet18-16")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--networks-dir", type=Path, default=Path("whole-networks"))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--chosen", action="store_true", help="points that span features, not random ones")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = cifar10(train=None, validation=300, directory=options.data_dir)
    model = trained(options.network, data, options.networks_dir)
    classes: list[tuple[list[float], float]] = []
    whole: list[tuple[list[float], float]] = []
    for seed in options.seeds:
        at = chosen(model, data.train.x, seed) if options.chosen else balanced(data.train.y, seed)
        phi = dntk.tangent_features(
            model, torch.from_numpy(data.train.x[at]), sketch=dntk.sketch.Mixed(2048, seed=seed)
        )
        for label in range(10):
            part = phi.values[label, np.flatnonzero(data.train.y[at] == label), :]
            classes.append(curve(dntk.TangentFeatures(part[None]), seed))
        whole.append(curve(phi, seed))
    table = Table("kernel", "points a cluster", *(f"{rank} each" for rank in RANKS))
    for name, found in (("K^c on its class", classes), ("mean kernel on all", whole)):
        each = np.asarray([gap for gap, _ in found])
        size = np.mean([size for _, size in found])
        cells = (f"{m:.1%} ± {s:.1%}" for m, s in zip(each.mean(axis=0), each.std(axis=0), strict=True))
        table.add_row(name, f"{size:.0f}", *cells)
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
