"""Batches of labels beside bmdal-reg: the error of networks over batches, chosen in several ways by several features.

Of every table a network is trained on the labels that are there, the next batch is chosen with it, and so on: the mean
logarithm of its error on test points over all batches, for several divisions, with the same networks' seeds and first
labels for every way. And on the same features, do the choices of both agree, and how long do they take?
bmdal-reg joins where it can be imported. Run: python benchmarks/choosing.py [--diamonds diamonds.csv]
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import choosing_peers as peers
import numpy as np
import torch
from choosing_tables import Table, diamonds, fried, rmse, train
from rich.console import Console
from rich.table import Table as Printed

import dntk
from dntk.distill.data import LCMD, FarthestPoint, KMeans, LastLayer, MaxDet, Random

Choose = Callable[[Any, Table, list[int], int, int], list[int]]
"""Network, table, labelled positions, size and seed to new positions."""


@dataclass(frozen=True)
class Row:
    """One way on one table."""

    table: str
    way: str
    errors: tuple[float, ...]
    seconds: float


def by_gradients(make: Callable[[int, int], Any], dim: int | None) -> Choose:
    """A selector on sketched gradients; ``None``: on all."""

    def choose(net: Any, table: Table, labelled: list[int], size: int, seed: int) -> list[int]:
        sketch = None if dim is None else dntk.sketch.TensorSketch(dim, seed=seed)
        phi = dntk.tangent_features(dntk.as_model(net), table.x, sketch=sketch)
        return make(size, seed).select(phi, given=labelled).indices.tolist()

    return choose


def by_last_layer(net: Any, table: Table, labelled: list[int], size: int, seed: int) -> list[int]:
    """LCMD on what enters the last layer."""
    return LastLayer(LCMD(size), seed=seed).select_inputs(dntk.as_model(net), table.x, given=labelled).indices.tolist()


def by_bmdal(net: Any, table: Table, labelled: list[int], size: int, seed: int) -> list[int]:
    """The peer, which is given the rest of the points."""
    rest = np.setdiff1d(np.arange(len(table.x)), labelled)
    picks = peers.lcmd(net, table.x[rest], table.x[labelled], size, seed)
    return rest[picks.numpy()].tolist()


def ways() -> dict[str, Choose]:
    """Every way of choosing."""
    found: dict[str, Choose] = {
        "random": by_gradients(lambda size, seed: Random(size, seed=seed), 8),
        "LCMD, last layer": by_last_layer,
        **{f"LCMD, {dim} sketched": by_gradients(lambda size, _: LCMD(size), dim) for dim in (32, 128, 512)},
        "k-means, 128 sketched": by_gradients(lambda size, seed: KMeans(size, seed=seed), 128),
        "farthest, 128 sketched": by_gradients(lambda size, _: FarthestPoint(size), 128),
        "MaxDet, 512 sketched": by_gradients(lambda size, _: MaxDet(size), 512),
    }
    return found | ({"bmdal-reg LCMD, 512 sketched": by_bmdal} if peers.installed() else {})


def run(table: Table, choose: Choose, *, seed: int, batches: int, size: int, width: int) -> tuple[float, float]:
    """Mean log RMSE over the batches, and seconds of the processor that choosing took."""
    labelled, errors, seconds = list(range(256)), [], 0.0
    for step in range(batches + 1):
        net = train(table.x[labelled], table.y[labelled], table.valid, width=width, seed=1000 * seed + step)
        errors.append(np.log(rmse(net, *table.test)))
        if step < batches:
            start = time.process_time()
            labelled += choose(net, table, labelled, size, 1000 * seed + step)
            seconds += time.process_time() - start
    return float(np.mean(errors)), seconds


def rows(
    tables: dict[str, Any], every: dict[str, Choose], seeds: int, pool: int, batches: int, size: int, width: int
) -> Iterator[Row]:
    """Every way on every table."""
    for name, (x, y) in tables.items():
        for way, choose in every.items():
            found = [
                run(Table.of(x, y, pool=pool, seed=s), choose, seed=s, batches=batches, size=size, width=width)
                for s in range(seeds)
            ]
            yield Row(name, way, tuple(e for e, _ in found), sum(s for _, s in found) / seeds)


def agreement(table: Table, *, size: int, width: int) -> Iterator[tuple[str, int, float, float]]:
    """On the same features, 256 points given: picks in common, and seconds of ours and of the peer's choice."""
    net = train(table.x[:256], table.y[:256], table.valid, width=width, seed=0)
    phi = dntk.tangent_features(dntk.as_model(net), table.x, sketch=dntk.sketch.Gaussian(512, seed=0))
    values = phi.values[0]
    for name, selector in (("LCMD", LCMD(size)), ("MaxDet", MaxDet(size))):
        start = time.process_time()
        ours = selector.select(phi, given=range(256)).indices.tolist()
        middle = time.process_time()
        theirs = peers.on_features(values[256:], values[:256], size, name)
        end = time.process_time()
        yield name, len({*ours} & {256 + int(i) for i in theirs}), middle - start, end - middle


def printed(found: Sequence[Row], title: str) -> Printed:
    """The rows, with differences to random choice of the same division."""
    out = Printed("table", "way", "mean log RMSE", "less than random", "± of that", "seconds to choose", title=title)
    for row in found:
        base = next(other for other in found if other.table == row.table)
        less = np.array(base.errors) - np.array(row.errors)
        spread = np.std(less, ddof=1) / len(less) ** 0.5 if len(less) > 1 else float("nan")
        numbers = (f"{np.mean(row.errors):.3f}", f"{np.mean(less):.3f}", f"{spread:.3f}", f"{row.seconds:.1f}")
        out.add_row(row.table, row.way, *numbers)
    return out


def main() -> None:
    """Train, choose, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--diamonds", type=Path, help="diamonds.csv of plotnine's wheel")
    parser.add_argument("--tables", nargs="+", default=["fried", "diamonds"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pool", type=int, default=10_000)
    parser.add_argument("--batches", type=int, default=16)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--ways", nargs="+", help="those whose names begin so")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=120)
    tables: dict[str, Any] = {}
    if "fried" in arguments.tables:
        tables["fried"] = fried()
    if "diamonds" in arguments.tables and arguments.diamonds is not None:
        tables["diamonds"] = diamonds(arguments.diamonds)
    settings = {"pool": arguments.pool, "size": arguments.size, "width": arguments.width}
    if peers.installed():
        for name, (x, y) in tables.items():
            table = Table.of(x, y, pool=arguments.pool, seed=0)
            for method, common, ours, theirs in agreement(table, size=arguments.size, width=arguments.width):
                same = f"{common} of {arguments.size} picks in common"
                console.print(f"{name}, {method} on the same features: {same}, {ours:.2f} s, bmdal-reg {theirs:.2f} s")
    wanted = tuple(arguments.ways or [""])
    every = {name: choose for name, choose in ways().items() if name == "random" or name.startswith(wanted)}
    found = []
    for row in rows(tables, every, arguments.seeds, batches=arguments.batches, **settings):
        found.append(row)
        console.print(row)
    console.print(printed(found, f"256 labels, then {arguments.batches} batches of {arguments.size}; {settings}"))


if __name__ == "__main__":
    main()
