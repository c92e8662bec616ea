"""Kill fits at random moments and go on, until they end: every result must be that of a fit that nobody killed.

    python benchmarks/kills.py --kills 300

Each fit runs in a process of its own, which is sent SIGKILL after a random part of the time that a whole one takes.
"""

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import dntk
from dntk.distill.data import KernelInducing, LastLayer, RPCholesky, TangentResidual
from dntk.distill.gradients import Krylov, Solution
from dntk.models import batching

PER_FIT = 6
"""Times that one fit is killed at most."""
SPARSE = dntk.sketch.SparseSign(256)
SPECIFICATIONS = {
    "chosen by features": {"data": RPCholesky(60), "sketch": SPARSE, "gradients": Solution(8)},
    "chosen by the last layer": {"data": LastLayer(RPCholesky(60)), "sketch": SPARSE, "gradients": Krylov(8)},
    "all points": {"data": None, "sketch": SPARSE, "gradients": None},
    "inputs made": {"data": TangentResidual(12, steps=40, sketch=SPARSE), "sketch": SPARSE},
    "inputs made for classes": {"data": KernelInducing(2, steps=40, sketch=SPARSE), "sketch": SPARSE},
    "within a tolerance": {"data": RPCholesky(20), "sketch": None, "tolerance": 0.1},
}


def fit(name: str, folder: str) -> None:
    """One fit, with a digest of what it is; in small batches, so that there is much to be killed."""
    batching.ALONE = 2**20
    rng = np.random.default_rng(0)
    sizes = ((64, 20), (10, 64))
    model = dntk.MLP(
        weights=tuple((rng.normal(size=size) / size[1] ** 0.5).astype("f4") for size in sizes),
        biases=tuple((0.1 * rng.normal(size=size[0])).astype("f4") for size in sizes),
        activation="tanh",
    )
    found = dntk.DistilledNTK(model, **SPECIFICATIONS[name]).fit(
        rng.normal(size=(600, 20)).astype("f4"), checkpoint=folder
    )
    arrays = (found.weights, found.spectrum, found.span.basis, found.predict(rng.normal(size=(50, 20)).astype("f4")))
    print(hashlib.sha256(b"".join(array.tobytes() for array in arrays) + repr(found.losses).encode()).hexdigest())


def run(name: str, folder: Path, seconds: float | None = None) -> str:
    """The digest that a process prints, or nothing where it was killed after some seconds."""
    command = [sys.executable, __file__, "--fit", name, "--folder", str(folder)]
    try:
        done = subprocess.run(command, timeout=seconds, capture_output=True, text=True, check=False)
    except subprocess.TimeoutExpired:  # it is sent SIGKILL
        return ""
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fit", choices=SPECIFICATIONS)
    parser.add_argument("--folder")
    chosen = parser.parse_args()
    if chosen.fit:
        fit(chosen.fit, chosen.folder)
        return
    draws, kills, fits = random.Random(chosen.seed), dict.fromkeys(SPECIFICATIONS, 0), 0
    with tempfile.TemporaryDirectory() as place:
        whole, seconds = {}, {}
        for name in SPECIFICATIONS:
            began = time.perf_counter()
            whole[name] = run(name, Path(place) / "whole" / name)
            seconds[name] = time.perf_counter() - began
        while sum(kills.values()) < chosen.kills:
            name = min(kills, key=lambda one: kills[one])
            fits += 1
            for _ in range(PER_FIT):
                # Much of the time goes into imports, before which there is nothing to be killed.
                if run(name, Path(place) / f"{fits}", draws.uniform(0.3, 1.1) * seconds[name]):
                    break
                kills[name] += 1
            found = run(name, Path(place) / f"{fits}")
            if found != whole[name]:
                message = f"{name}: after kills the result differs"
                raise AssertionError(message)
    print(f"{sum(kills.values())} kills of {fits} fits, 0 lost, 0 different: {kills}")


if __name__ == "__main__":
    main()
