"""Time and memory of features on the disk and of what reads them, over the number of points.

    python benchmarks/scale.py --points 1000 2000 4000 8000 16000     # a table, and exponents in n
    python benchmarks/scale.py --workers 1 2 --points 20000               # beside one process: Dask's workers
    python benchmarks/scale.py --json results.json

A multilayer perceptron of 64 inputs and 10 outputs, features of 64 numbers, at a memory limit of 64 MiB. Every number
of points runs in a process of its own; MiB is the largest resident set of that process. "disk" is what the folder
takes in units of the features. Points are drawn when they are read; targets (n, 10) are in memory. With workers, of one
thread each, seconds are those of the calls; the cluster has started and has made the features of 1,000 points before.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

import dntk
from dntk.distill.data import Leverage, RPCholesky
from dntk.distill.gradients import Streaming

WIDTH, HIDDEN, OUTPUTS, DIM = 64, 128, 10, 64
LIMIT = 2**26


class Drawn:
    """Points of a standard normal distribution, the same ones whenever they are read."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitems__(self, places: list[int]) -> list[Any]:
        return [self[i] for i in places]

    def __getitem__(self, i: int) -> Any:
        return np.random.Generator(np.random.SFC64(i)).standard_normal(WIDTH, dtype=np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, nargs="+", default=[1000, 2000, 4000, 8000, 16000])
    parser.add_argument("--json")
    parser.add_argument("--workers", type=int, nargs="+", help="numbers of workers, beside one process")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        found = measured(chosen.child) if chosen.workers is None else by_workers(chosen.child, chosen.workers[0])
        sys.stdout.write(json.dumps(found) + "\n")
        return
    if chosen.workers:
        rows = [in_child(n, workers) for n in chosen.points for workers in (0, *chosen.workers)]
        sys.stdout.write(table_of_workers(rows))
    else:
        rows = [in_child(n) for n in chosen.points]
        sys.stdout.write(table(rows))
    if chosen.json:
        with open(chosen.json, "w", encoding="utf-8") as stream:
            json.dump(rows, stream, indent=1)


def in_child(n: int, workers: int | None = None) -> dict[str, float]:
    """What a process of its own measures."""
    command = [sys.executable, __file__, "--child", str(n), *([] if workers is None else ["--workers", str(workers)])]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    return json.loads(done.stdout.splitlines()[-1])


def measured(n: int) -> dict[str, float]:
    """Seconds of every stage, bytes on the disk beside those of the features, and the largest resident set."""
    model = network()
    found: dict[str, float] = {"points": n}
    with tempfile.TemporaryDirectory() as folder:
        x, sketch = dntk.points(Drawn(n)), dntk.sketch.SparseSign(DIM)

        def stage(name: str, call: Any) -> Any:
            start = time.perf_counter()
            result = call()
            found[name] = time.perf_counter() - start
            return result

        phi = stage(
            "store",
            lambda: dntk.tangent_features(
                model, x, sketch=sketch, store=folder + "/run", shard=(0, 1), batch_size=128, memory_limit=LIMIT
            ),
        )
        y = phi[:1].values[0, :1, :OUTPUTS] * 0 + np.random.default_rng(1).normal(size=(n, OUTPUTS)).astype("f4")
        stage("ridge", lambda: dntk.solve.ridge(phi, y, ridge="loo"))
        stage("streaming", lambda: Streaming(16).stream(phi.paired(y)))
        stage("RPCholesky", lambda: RPCholesky(64).select(phi))
        stage("Leverage", lambda: Leverage(64).select(phi))
        stage("nearest", lambda: phi.nearest(phi[:8], 5))
        files = sum(os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(folder) for name in names)
        found["disk"] = files / (4.0 * OUTPUTS * n * DIM)
    found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    return found


def network() -> dntk.MLP:
    """The perceptron."""
    rng = np.random.default_rng(0)
    sizes = ((HIDDEN, WIDTH), (OUTPUTS, HIDDEN))
    return dntk.MLP(
        weights=tuple((rng.normal(size=size) / size[1] ** 0.5).astype("f4") for size in sizes),
        biases=(None, None),
        activation="tanh",
    )


def by_workers(n: int, workers: int) -> dict[str, float]:
    """Seconds of features and of a regression by so many workers of one thread; 0: by this process alone."""
    if workers == 0:
        return timed(n, None)
    from distributed import LocalCluster

    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as cluster,
        cluster.get_client() as client,
    ):
        return timed(n, client) | {"workers": workers}


def timed(n: int, client: Any) -> dict[str, float]:
    """Seconds of features and of a regression, once workers are warm."""
    model, sketch = network(), dntk.sketch.SparseSign(DIM)
    found: dict[str, float] = {"points": n, "workers": 0}
    with tempfile.TemporaryDirectory() as folder:
        for size in (1000, n):
            y = np.random.default_rng(1).normal(size=(size, OUTPUTS)).astype("f4")
            starts, busy = [time.perf_counter()], processor_seconds(client)
            store = f"{folder}/{size} points"
            x = dntk.points(Drawn(size))
            phi = dntk.tangent_features(model, x, sketch=sketch, store=store, batch_size=128, client=client)
            starts.append(time.perf_counter())
            found["processor"] = processor_seconds(client) - busy
            dntk.solve.ridge(phi, y, ridge="loo")
            starts.append(time.perf_counter())
            found["store"], found["ridge"] = (after - before for before, after in zip(starts, starts[1:], strict=False))
    return found


def processor_seconds(client: Any) -> float:
    """Seconds that this process, the scheduler in it among it, and the workers have computed so far."""
    workers = {} if client is None else client.run(time.process_time)
    return time.process_time() + sum(workers.values())


def table_of_workers(rows: list[dict[str, float]]) -> str:
    """Seconds, how many times faster than one process, and of the features the seconds of all processors together."""
    lines = [f"{'points':>9}{'workers':>9}{'store':>10}{'speed':>7}{'ridge':>10}{'speed':>7}{'store, all':>12}"]
    for row in rows:
        alone = next(one for one in rows if one["points"] == row["points"] and one["workers"] == 0)
        pairs = "".join(f"{row[name]:>9.2f}s{alone[name] / row[name]:>7.2f}" for name in ("store", "ridge"))
        lines.append(f"{row['points']:>9,.0f}{row['workers'] or '-':>9}{pairs}{row['processor']:>11.2f}s")
    return "\n".join(lines) + "\n"


def table(rows: list[dict[str, float]]) -> str:
    """One line for every number of points, and the exponents of times from the last two."""
    names = [name for name in rows[0] if name not in ("points", "disk", "memory")]
    lines = [f"{'points':>9}" + "".join(f"{name:>12}" for name in names) + f"{'disk':>8}{'MiB':>8}"]
    for row in rows:
        times = "".join(f"{row[name]:>11.2f}s" for name in names)
        lines.append(f"{row['points']:>9,.0f}{times}{row['disk']:>8.3f}{row['memory'] / 2**20:>8.0f}")
    if len(rows) > 1:
        last, before = rows[-1], rows[-2]
        steps = math.log(last["points"] / before["points"])
        exponents = "".join(f"{math.log(last[name] / before[name]) / steps:>12.2f}" for name in names)
        lines.append(f"{'exponent':>9}{exponents}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
