"""The long calls that kills.py interrupts: each a function of the place where it keeps what is done, to a digest."""

import hashlib
import pathlib
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np

import dntk
from dntk import checkpoints, runs, stores
from dntk.archive import read
from dntk.distill.data import KernelInducing, LastLayer, Random, RPCholesky, TangentResidual, Wasserstein, descent
from dntk.distill.gradients import Krylov, Solution
from dntk.models import batching
from dntk.solve import Functionals, Joint, checkpoint

Call: TypeAlias = Callable[[pathlib.Path], str]
Reader: TypeAlias = Callable[[pathlib.Path], Any]
"""What reads a kind of file, with a ``ValueError`` for any other."""
WIDTH, CLASSES, SHARDS = 20, 10, 3
SPARSE = dntk.sketch.SparseSign(256)
FITS: dict[str, dict[str, Any]] = {
    "chosen by features": {"data": RPCholesky(60), "sketch": SPARSE, "gradients": Solution(8)},
    "chosen by the last layer": {"data": LastLayer(RPCholesky(60)), "sketch": SPARSE, "gradients": Krylov(8)},
    "all points": {"data": None, "sketch": SPARSE, "gradients": None},
    "inputs made": {"data": TangentResidual(12, steps=40, sketch=SPARSE), "sketch": SPARSE},
    "inputs made for classes": {"data": KernelInducing(2, steps=40, sketch=SPARSE), "sketch": SPARSE},
    "within a tolerance": {"data": RPCholesky(20), "sketch": None, "tolerance": 0.1},
    "all outputs jointly": {"data": RPCholesky(60), "sketch": SPARSE, "gradients": None, "regression": Joint()},
    "drawn functionals": {"data": RPCholesky(60), "sketch": SPARSE, "gradients": None, "regression": Functionals()},
}
TABLES: dict[str, dict[str, Any]] = {
    "network": {"make": "kills_calls:network"},
    "data": {"x": "kills_calls:points", "test_x": "kills_calls:points"},
    "fit": {"data": {"name": "RPCholesky", "size": 60}, "sketch": {"name": "SparseSign", "dim": 256}},
}


def calls() -> dict[str, tuple[Call, tuple[Reader, ...]]]:
    """Calls by name, each with a digest of what it makes, and the readers of its files."""
    formats = (checkpoints.FORMAT, descent.FORMAT, checkpoint.FORMAT, stores.manifest.FORMAT, stores.manifest.RECORD)
    kept: tuple[Reader, ...] = tuple(partial(read, form=form) for form in formats)
    found: dict[str, tuple[Call, tuple[Reader, ...]]] = {"save": (saved, (dntk.load,))}
    found |= {name: (call, kept) for name, call in SMALL.items()}
    found["dntk run"] = (ran, (*kept, dntk.load, summary, page))
    found["training"] = (trained, (training,))
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


def features_of_shards(path: pathlib.Path) -> str:
    """Features on the disk, part after part, and joined."""
    store = dntk.Store(path, rows=8)
    for part in range(SHARDS):
        dntk.tangent_features(network(), points(400), sketch=SPARSE, store=store, shard=(part, SHARDS))
    dntk.merge(path)
    return digest(dntk.StoredFeatures(path).values)


def kernel(path: pathlib.Path) -> str:
    """A kernel of points with themselves on the disk, tile by tile; tiles below the diagonal are copied."""
    return digest(dntk.ntk(network(), points(160), store=dntk.Store(path, rows=16)).values)


def kernel_of_shards(path: pathlib.Path) -> str:
    """Kernels of every output between two sets of points, in 16 bits, part after part, and joined."""
    x, other, store = points(90), points(60, seed=2), dntk.Store(path, rows=12, dtype="bfloat16")
    for part in range(SHARDS):
        dntk.ntk(network(), x, other, outputs="each", store=store, shard=(part, SHARDS))
    dntk.merge(path)
    return digest(dntk.StoredKernel(path).values)


SMALL: dict[str, Call] = {
    "features on the disk": stored,
    "features of shards, merged": features_of_shards,
    "kernel on the disk": kernel,
    "kernels of shards, merged": kernel_of_shards,
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


def ran(folder: pathlib.Path) -> str:
    """What ``dntk run`` does: a fit with its certificate, a summary, and a page."""
    batching.ALONE = 2**20
    output = {"folder": str(folder), "certify": True, "checkpoint": True}
    named = runs.Configuration(path=pathlib.Path(__file__), output=output, **TABLES)
    outcome = runs.prepare(named).run()
    if outcome.repeated is False:
        return "the run that is in the folder has other weights"
    written = runs.read_summary(folder)
    back = dntk.load(folder / "fit", model=network())
    return digest(back.weights, back.predict(points(50, seed=2)), text=repr((written.losses, written.unseen)))


def trained(folder: pathlib.Path) -> str:
    """A network of the studies, with a checkpoint after every epoch."""
    from dntk_studies.networks import TrainingPlan, find_trainer

    rng = np.random.default_rng(0)
    x, y = rng.random((200, 1, 8, 8), dtype=np.float32), rng.integers(0, 3, 200)
    plan = TrainingPlan(architecture="cnn", width=4, epochs=30, batch=20, rate=1e-2, decay=1e-2, flip=True, shift=1)
    _, trainer = find_trainer()
    network = trainer.train(plan, x, y, classes=3, seed=1, folder=folder, progress=lambda _: None)
    return digest(*network.model.parameters.values())


def summary(path: pathlib.Path) -> None:
    """The summary of a run."""
    if path.name != runs.SUMMARY:
        raise ValueError
    runs.read_summary(path.parent)


def page(path: pathlib.Path) -> None:
    """The page of a run, to its end."""
    if path.suffix != ".html" or not path.read_text(encoding="utf-8").rstrip().endswith("</html>"):
        raise ValueError


def training(path: pathlib.Path) -> None:
    """What training keeps."""
    from dntk_studies.networks.checkpoint import read_checkpoint

    if read_checkpoint(path.parent) is None:
        raise ValueError


def network() -> dntk.MLP:
    """A small network."""
    rng = np.random.default_rng(0)
    sizes = ((64, WIDTH), (CLASSES, 64))
    return dntk.MLP(
        weights=tuple((rng.normal(size=size) / size[1] ** 0.5).astype("f4") for size in sizes),
        biases=tuple((0.1 * rng.normal(size=size[0])).astype("f4") for size in sizes),
        activation="tanh",
    )


def points(n: int = 600, *, seed: int = 1) -> Any:
    """Inputs of the network."""
    return np.random.default_rng(seed).normal(size=(n, WIDTH)).astype("f4")


def digest(*arrays: Any, text: str = "") -> str:
    """SHA-256 of arrays and a text."""
    return hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in arrays) + text.encode()).hexdigest()
