"""Sound files and folders of every kind that dntk writes, each with what reads it."""

import dataclasses
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import dntk
from dntk.distill.data import DistilledData, Random, RPCholesky, TangentResidual
from dntk.distill.gradients import Solution

Read = Callable[[pathlib.Path], bytes]
SKETCH = dntk.sketch.SparseSign(8, seed=3)
ROWS = 12


@dataclasses.dataclass(frozen=True)
class Sample:
    """A sound file, or folder, and what reads it, to bytes that tell results apart.

    ``files`` are those that are damaged, below the folder; none where the sample is a file itself.
    """

    place: pathlib.Path
    read: Read
    files: tuple[pathlib.Path, ...] = ()

    def content(self, file: pathlib.Path | None) -> bytes:
        """Bytes of one of the files, or of the only one."""
        return (self.place if file is None else self.place / file).read_bytes()

    def spoilt(self, place: pathlib.Path, file: pathlib.Path | None, content: bytes) -> None:
        """The sample anew at a place, but for the bytes of one file."""
        if file is None:
            place.write_bytes(content)
            return
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.place, place)
        (place / file).write_bytes(content)


def made(folder: pathlib.Path) -> dict[str, Sample]:
    """Samples of every kind below a folder."""
    made = {kind: Sample(folder / kind, read) for kind, read in files(folder).items()}
    for kind, read in folders(folder):
        names = (path.relative_to(folder / kind) for path in (folder / kind).rglob("*") if path.is_file())
        made[kind] = Sample(folder / kind, read, tuple(sorted(names)))
    return made


def network() -> dntk.MLP:
    """A small network."""
    rng = np.random.default_rng(0)
    weights = (rng.normal(size=(5, 4)).astype("f4"), rng.normal(size=(2, 5)).astype("f4"))
    return dntk.MLP(weights=weights, biases=(rng.normal(size=5).astype("f4"), None), activation="tanh")


def points() -> Any:
    """Its inputs."""
    return np.random.default_rng(1).normal(size=(30, 4)).astype("f4")


def folders(folder: pathlib.Path) -> Iterator[tuple[str, Read]]:
    """Folders of stored features and kernels, whole and not, and of checkpoints of fits, each with what reads it."""
    for kind, make, opened in (("features", stored, dntk.StoredFeatures), ("kernel", kernel, dntk.StoredKernel)):
        make(folder / kind)
        yield kind, lambda path, opened=opened: _bytes(opened(path).values)
        shutil.copytree(folder / kind, folder / f"{kind}, called again")
        yield f"{kind}, called again", lambda path, make=make: _bytes(make(path).values)
        make(folder / f"{kind}, half", shard=(0, 2))
        yield f"{kind}, half", lambda path, make=make: _bytes(make(path).values)
        for index in range(2):
            make(folder / f"{kind}, to be merged", shard=(index, 2))
        yield f"{kind}, to be merged", lambda path, opened=opened: _merged(path, opened)
    for kind, data in (("points chosen", RPCholesky(8)), ("inputs made", TangentResidual(3, steps=2, sketch=SKETCH))):
        spec = dntk.DistilledNTK(network(), data=data, sketch=SKETCH, ridge=1e-2)
        spec.fit(points(), checkpoint=folder / f"fit, {kind}")
        yield f"fit, {kind}", lambda path, spec=spec: _fitted(spec, path)


def stored(folder: pathlib.Path, **more: Any) -> Any:
    """Features on the disk."""
    return dntk.tangent_features(network(), points(), sketch=SKETCH, store=dntk.Store(folder, rows=ROWS), **more)


def kernel(folder: pathlib.Path, **more: Any) -> Any:
    """A kernel on the disk."""
    return dntk.ntk(network(), points(), store=dntk.Store(folder, rows=ROWS), **more)


def _merged(path: pathlib.Path, opened: Callable[[pathlib.Path], Any]) -> bytes:
    dntk.merge(path)
    return _bytes(opened(path).values)


def _fitted(spec: dntk.DistilledNTK, path: pathlib.Path) -> bytes:
    fit = spec.fit(points(), checkpoint=path)
    return b"".join(map(_bytes, (fit.weights, fit.predict(points()), fit.spectrum))) + repr(fit.losses).encode()


def files(folder: pathlib.Path) -> dict[str, Read]:
    """A sound file of every kind in the folder, and how its kind is read."""
    model, x, y = network(), points(), np.random.default_rng(2).integers(0, 2, size=30)
    chunks = [(x[:15], y[:15, None].astype("f4")), (x[15:], y[15:, None].astype("f4"))]
    fit = dntk.DistilledNTK(model, data=Random(8), gradients=Solution(2), sketch=SKETCH, ridge=1e-2).fit(x)
    fit.save(folder / "fit", certify=True)
    objective = TangentResidual(3, steps=2)
    objective.distill(model, x, y, checkpoint=folder / "objective").save(folder / "data")
    dntk.solve.accumulate(chunks, checkpoint=folder / "statistics")

    def read_fit(path: pathlib.Path) -> bytes:
        back = dntk.load(path)
        said = repr((back.losses, back.ledger, back.ridge, str(back.certificate), back.state.made_by, back.sketch))
        return b"".join(_bytes(a) for a in (back.query(x).prediction, back.spectrum, back.indices)) + said.encode()

    def read_data(path: pathlib.Path) -> bytes:
        back = DistilledData.load(path)
        said = repr((back.history, back.provenance, back.step, back.stopped))
        return b"".join(_bytes(a) for a in (back.x, back.y, back.weights)) + said.encode()

    def read_objective(path: pathlib.Path) -> bytes:
        back = objective.distill(model, x, y, checkpoint=path)
        return b"".join(_bytes(a) for a in (back.x, back.y, back.weights)) + repr(back.history).encode()

    def read_statistics(path: pathlib.Path) -> bytes:
        back = dntk.solve.accumulate(chunks, checkpoint=path)
        return (
            b"".join(_bytes(a) for a in (back.gram, back.cross, back.squares))
            + repr((back.points, back.weight)).encode()
        )

    return {"fit": read_fit, "data": read_data, "objective": read_objective, "statistics": read_statistics}


def _bytes(x: Any) -> bytes:
    return f"{x.dtype}{x.shape}".encode() + np.asarray(x).tobytes()
