"""Kills saving and runs with checkpoints at random moments, and counts what is lost.

    python benchmarks/killed_runs.py                 # 300 kills of every kind, a few minutes
    python benchmarks/killed_runs.py --kills 30

A child process saves, or runs with a checkpoint, until SIGKILL; the next one goes on where it was. What is on the disk
after every kill has to be whole, and what a run ends with has to be, to the last bit, what it ends with undisturbed.
Anything else is *lost* or *different*, and an exit status of 1; so is what killed writers left beside the file, if it
is still there after the next one.
"""

import argparse
import collections
import os
import pathlib
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import dntk
from dntk.archive import read
from dntk.distill.data import Random, TangentResidual, descent
from dntk.distill.gradients import Solution
from dntk.solve import checkpoint

Call = Callable[[pathlib.Path], Any]


def main() -> int:
    """Count what kills came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    counts = counted(options.kills, seed=options.seed)
    for row, count in sorted(counts.items()):
        sys.stdout.write(f"{count:8,}  {' '.join(row)}\n")
    return int(any(outcome in ("lost", "different", "left behind") for _, outcome in counts))


def counted(kills: int, *, seed: int) -> collections.Counter[tuple[str, str]]:
    """How often kills of every kind of call came to which outcome."""
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    for name, (call, whole) in calls().items():
        draw = random.Random(f"{seed} {name}")
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "file"
            start = time.perf_counter()
            expected = call(path)
            seconds = time.perf_counter() - start
            path.unlink()
            while counts[name, "killed"] < kills:
                if killed(lambda call=call, path=path: call(path), draw.uniform(0, 1.1 * seconds)):
                    counts[name, "killed"] += 1
                    counts[name, "whole" if not path.exists() or whole(path) else "lost"] += 1
                    continue
                counts[name, "finished" if call(path) == expected else "different"] += 1
                left = [entry.name for entry in path.parent.iterdir() if entry != path]
                counts[name, "left behind"] += len(left)
                path.unlink()
    return +counts


def killed(call: Callable[[], Any], seconds: float) -> bool:
    """Whether a child process that runs the call was still at it after some time, and was killed."""
    child = os.fork()
    if child == 0:
        call()
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def calls() -> dict[str, tuple[Call, Callable[[pathlib.Path], bool]]]:
    """Calls by name, each with a look at whether its file is whole."""
    rng = np.random.default_rng(0)
    weights = (rng.normal(size=(64, 16)).astype("f4"), rng.normal(size=(3, 64)).astype("f4"))
    model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    x, y = rng.normal(size=(200, 16)).astype("f4"), rng.integers(0, 3, size=200)
    fits = [dntk.DistilledNTK(model, data=Random(20), gradients=Solution(s), ridge=1e-2).fit(x) for s in (2, 3)]
    features = rng.normal(size=(40, 100, 200)).astype("f4")
    chunks = [(part, part[:, :2]) for part in features]
    objective = TangentResidual(6, steps=12)

    def save(path: pathlib.Path) -> bool:
        for fit in fits * 5:
            fit.save(path)
        return True

    def accumulated(path: pathlib.Path) -> bytes:
        return np.asarray(dntk.solve.accumulate(chunks, checkpoint=path).gram).tobytes()

    def distilled(path: pathlib.Path) -> bytes:
        return np.asarray(objective.distill(model, x, y, checkpoint=path, every=1).x).tobytes()

    return {
        "save": (save, lambda path: dntk.load(path).losses.gradients in (2, 3)),
        "accumulate": (accumulated, lambda path: bool(read(path, checkpoint.FORMAT).arrays)),
        "distill": (distilled, lambda path: bool(read(path, descent.FORMAT).arrays)),
    }


if __name__ == "__main__":
    sys.exit(main())
