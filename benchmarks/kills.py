"""Kills every long call at random moments, lets it go on, and counts what is lost.

    python benchmarks/kills.py                 # 300 kills of every call; kinds of fits share theirs
    python benchmarks/kills.py --kills 30 --call save

A child process saves, fits, distils or solves, until SIGKILL; the next one goes on where it was. What is on the disk
after every kill has to be whole, and what a run ends with has to be, to the last bit, what it ends with undisturbed.
Anything else is *lost* or *different*, and an exit status of 1; so is what killed writers left beside their files, if
it is still there after the run that ended.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # beside other runs, threads wait for each other

import argparse
import collections
import hashlib
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import dntk
from dntk import checkpoints, stores
from dntk.archive import Format, read
from dntk.distill.data import KernelInducing, LastLayer, Random, RPCholesky, TangentResidual, Wasserstein, descent
from dntk.distill.gradients import Krylov, Solution
from dntk.models import batching
from dntk.solve import checkpoint

_FOR_NOW = (".part", ".lock")
"""Endings of what is written, or held, and is gone with the next run that ends."""
_PATIENCE = 5
"""Kills in succession after which a run gets half as much time again."""
Call = Callable[[pathlib.Path], str]
WIDTH, CLASSES = 20, 10
SPARSE = dntk.sketch.SparseSign(256)
FITS: dict[str, dict[str, Any]] = {
    "chosen by features": {"data": RPCholesky(60), "sketch": SPARSE, "gradients": Solution(8)},
    "chosen by the last layer": {"data": LastLayer(RPCholesky(60)), "sketch": SPARSE, "gradients": Krylov(8)},
    "all points": {"data": None, "sketch": SPARSE, "gradients": None},
    "inputs made": {"data": TangentResidual(12, steps=40, sketch=SPARSE), "sketch": SPARSE},
    "inputs made for classes": {"data": KernelInducing(2, steps=40, sketch=SPARSE), "sketch": SPARSE},
    "within a tolerance": {"data": RPCholesky(20), "sketch": None, "tolerance": 0.1},
}


def main() -> int:
    """Count what kills came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--call", choices=calls(), action="append", help="only these; default: all")
    options = parser.parse_args()
    bad = 0
    for name in options.call or calls():
        share = len(FITS) if name.startswith("fit") else 1
        counts = counted(name, -(-options.kills // share), seed=options.seed)
        sys.stdout.write(f"{name}: {', '.join(f'{count:,} {what}' for what, count in sorted(counts.items()))}\n")
        sys.stdout.flush()
        bad += counts["lost"] + counts["different"] + counts["left behind"]
    return int(bool(bad))


def counted(name: str, kills: int, *, seed: int) -> collections.Counter[str]:
    """How often kills of a call came to which outcome."""
    call, formats = calls()[name]
    counts: collections.Counter[str] = collections.Counter()
    draw = random.Random(f"{seed} {name}")
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        for _ in range(2):  # the first time takes longer
            emptied(place)
            start = time.perf_counter()
            expected = call(place / "run")
            seconds = time.perf_counter() - start
        emptied(place)
        unfinished = 0
        while counts["killed"] < kills:
            # A machine that has become busier than when it was timed would never let a run end: it gets more time.
            span = 1.1 * seconds * 1.5 ** (unfinished // _PATIENCE)
            unfinished += 1
            if killed(lambda: call(place / "run"), draw.uniform(0, span)):
                counts["killed"] += 1
                counts["whole" if whole(place, formats) else "lost"] += 1
                continue
            unfinished = 0
            counts["finished" if call(place / "run") == expected else "different"] += 1
            left = [path.name for path in place.rglob("*") if path.suffix in _FOR_NOW]
            sys.stdout.writelines(f"left behind: {name}\n" for name in left)
            counts["left behind"] += len(left)
            emptied(place)
    return +counts


def killed(call: Callable[[], Any], seconds: float) -> bool:
    """Whether a child process that runs the call was still at it after some time, and was killed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            call()
            status = 0
        finally:
            os._exit(status)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        message = "a run that goes on fails: its error is above"
        raise AssertionError(message)
    return os.WIFSIGNALED(status)


def whole(place: pathlib.Path, formats: tuple[Format | None, ...]) -> bool:
    """Whether every file under a folder can be read, but for what is being written."""
    for path in place.rglob("*"):
        if stores.folder.VALUES in str(path):  # a chunk counts by its record, and is compared with it below
            continue
        if path.is_file() and path.suffix not in _FOR_NOW and not any(readable(path, kind) for kind in formats):
            return False
    return all(sound(path) for path in place.rglob("chunks/*"))


def sound(record: pathlib.Path) -> bool:
    """Whether a chunk of stored features is what its record says."""
    try:
        folder = stores.StoreFolder(
            record.parent.parent, read(record.parent.parent / "manifest", stores.manifest.FORMAT)
        )
        folder.verify(int(record.name))
    except (dntk.StoreError, ValueError):
        return record.suffix == ".part"
    return True


def readable(path: pathlib.Path, kind: Format | None) -> bool:
    """Whether a file is an archive of some kind, ``None`` for a fit."""
    try:
        dntk.load(path) if kind is None else read(path, kind)
    except dntk.StoreError:
        return False
    return True


def emptied(place: pathlib.Path) -> None:
    """Remove everything in a folder."""
    for path in place.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def calls() -> dict[str, tuple[Call, tuple[Format | None, ...]]]:
    """Calls by name, each with a digest of what it makes, and the formats of its files."""
    kept = (checkpoints.FORMAT, descent.FORMAT, checkpoint.FORMAT, stores.manifest.FORMAT, stores.manifest.RECORD)
    found: dict[str, tuple[Call, tuple[Format | None, ...]]] = {"save": (saved, (None,))}
    found |= {name: (call, kept) for name, call in SMALL.items()}
    return found | {f"fit, {name}": (partial(fitted, name), kept) for name in FITS}


def saved(path: pathlib.Path) -> str:
    """Saves two fits in turn to one path."""
    model, x = network(), points(200)
    fits = [dntk.DistilledNTK(model, data=Random(20), gradients=Solution(s), ridge=1e-2).fit(x) for s in (2, 3)]
    for fit in fits * 5:
        fit.save(path)
    return digest(dntk.load(path).weights)


def accumulated(path: pathlib.Path) -> str:
    """Regression from disk, with a checkpoint after every chunk."""
    features = np.random.default_rng(0).normal(size=(40, 100, 200)).astype("f4")
    chunks = [(part, part[:, :2]) for part in features]
    return digest(dntk.solve.ridge_out_of_core(chunks, ridge=0.1, checkpoint=path).weights)


def distilled(objective: Any, path: pathlib.Path) -> str:
    """Inputs that are made, with a checkpoint after every step."""
    x, y = points(200), np.random.default_rng(1).integers(0, CLASSES, size=200)
    made = objective.distill(network(), x, y, checkpoint=path, every=0)
    return digest(made.x, made.weights, text=repr(made.history))


def stored(path: pathlib.Path) -> str:
    """Features on the disk, in many chunks."""
    store = dntk.Store(path, rows=8)
    phi = dntk.tangent_features(network(), points(400), sketch=SPARSE, store=store, shard=(0, 1))
    return digest(phi.values)


SMALL: dict[str, Call] = {
    "features on the disk": stored,
    "ridge_out_of_core": accumulated,
    "TangentResidual": partial(distilled, TangentResidual(6, steps=12)),
    "KernelInducing": partial(distilled, KernelInducing(1, steps=12)),
    "Wasserstein": partial(distilled, Wasserstein(1, steps=12)),
}


def fitted(name: str, folder: pathlib.Path) -> str:
    """One fit, in small batches, so that there is much to be killed."""
    batching.ALONE = 2**20
    fit = dntk.DistilledNTK(network(), **FITS[name]).fit(points(600), checkpoint=folder)
    return digest(fit.weights, fit.spectrum, fit.span.basis, fit.predict(points(50, seed=2)), text=repr(fit.losses))


def network() -> dntk.MLP:
    """A small network."""
    rng = np.random.default_rng(0)
    sizes = ((64, WIDTH), (CLASSES, 64))
    return dntk.MLP(
        weights=tuple((rng.normal(size=size) / size[1] ** 0.5).astype("f4") for size in sizes),
        biases=tuple((0.1 * rng.normal(size=size[0])).astype("f4") for size in sizes),
        activation="tanh",
    )


def points(n: int, *, seed: int = 1) -> Any:
    """Inputs of the network."""
    return np.random.default_rng(seed).normal(size=(n, WIDTH)).astype("f4")


def digest(*arrays: Any, text: str = "") -> str:
    """SHA-256 of arrays and a text."""
    return hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in arrays) + text.encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
