"""Time and memory of features on the disk and of what reads them, over the number of points.

    python benchmarks/scale.py --points 1000 2000 4000 8000 16000     # a table, and exponents in n
    python benchmarks/scale.py --json results.json

A multilayer perceptron of 64 inputs and 10 outputs, features of 64 numbers, at a memory limit of 64 MiB. Every number
of points runs in a process of its own; MiB is the largest resident set of that process. "disk" is what the folder
takes in units of the features. Points are drawn when they are read; targets (n, 10) are in memory.
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
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        sys.stdout.write(json.dumps(measured(chosen.child)) + "\n")
        return
    rows = [in_child(n) for n in chosen.points]
    sys.stdout.write(table(rows))
    if chosen.json:
        with open(chosen.json, "w", encoding="utf-8") as stream:
            json.dump(rows, stream, indent=1)


def in_child(n: int) -> dict[str, float]:
    """What a process of its own measures."""
    command = [sys.executable, __file__, "--child", str(n)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    return json.loads(done.stdout.splitlines()[-1])


def measured(n: int) -> dict[str, float]:
    """Seconds of every stage, bytes on the disk beside those of the features, and the largest resident set."""
    rng = np.random.default_rng(0)
    sizes = ((HIDDEN, WIDTH), (OUTPUTS, HIDDEN))
    model = dntk.MLP(
        weights=tuple((rng.normal(size=size) / size[1] ** 0.5).astype("f4") for size in sizes),
        biases=(None, None),
        activation="tanh",
    )
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
