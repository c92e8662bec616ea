"""Regression problems with tangent-like features, as files that every process reads, and their solutions in float64."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.linalg

Floats = npt.NDArray[np.floating]

QUERIES = 1000
ROWS = 8192
"""Points of one chunk of a streamed problem: 32 MiB at 1,024 features."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """Features x (n, k) and targets y (n, C) in float32, new points, λ, and w (C, k) of λ in float64."""

    x: Floats
    y: Floats
    query: Floats
    query_y: Floats
    ridge: float
    exact: Floats

    def rows(self, count: int) -> "Problem":
        """The first points alone."""
        return dataclasses.replace(self, x=self.x[:count], y=self.y[:count])

    @property
    def grid(self) -> list[float]:
        """50 ridges within a factor of 100 of λ."""
        return [self.ridge * 10**e for e in np.linspace(-2, 2, 50)]


class Source:
    """Rows Q diag(j^-½) z with Gaussian z: the Gram matrix's eigenvalues fall as 1/j, in directions of no axis."""

    def __init__(self, features: int, targets: int, seed: int = 0) -> None:
        self._draws = np.random.default_rng(seed)
        scales = (1 + np.arange(features)) ** -0.5
        turn, _ = np.linalg.qr(self._draws.standard_normal((features, features)))
        self._factor = (scales[:, None] * turn).astype("f4")
        self._weights = self._draws.standard_normal((features, targets)).astype("f4")

    def draw(self, points: int) -> tuple[Floats, Floats]:
        """Features, and targets that a linear function with weights and noise of variance 1 gives."""
        k, c = self._weights.shape
        x = self._draws.standard_normal((points, k), dtype=np.float32) @ self._factor
        return x, x @ self._weights + self._draws.standard_normal((points, c), dtype=np.float32)


def write_problem(folder: Path, *, points: int, features: int, targets: int, relative_ridge: float | None) -> None:
    """Draw a problem; λ in units of the largest eigenvalue of ΦᵀΦ, or for ``None`` 1, the ratio of noise and signal."""
    source = Source(features, targets)
    x, y = source.draw(points)
    gram, cross = np.zeros((features, features)), np.zeros((features, targets))
    for start in range(0, points, ROWS):
        block = x[start : start + ROWS].astype("f8")
        gram, cross = gram + block.T @ block, cross + block.T @ y[start : start + ROWS]
    _finish(folder, source, gram, cross, relative_ridge)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)


def write_stream(folder: Path, *, points: int, features: int, targets: int, relative_ridge: float) -> None:
    """The same of any size, never whole in memory: two raw files of float32 rows."""
    source = Source(features, targets)
    gram, cross = np.zeros((features, features)), np.zeros((features, targets))
    with (folder / "x.raw").open("wb") as x_file, (folder / "y.raw").open("wb") as y_file:
        for start in range(0, points, ROWS):
            x, y = source.draw(min(ROWS, points - start))
            x.tofile(x_file)
            y.tofile(y_file)
            wide = x.astype("f8")
            gram, cross = gram + wide.T @ wide, cross + wide.T @ y
    _finish(folder, source, gram, cross, relative_ridge)
    (folder / "stream.json").write_text(json.dumps({"points": points, "features": features, "targets": targets}))


def read_problem(folder: Path) -> Problem:
    """What :func:`write_problem` wrote; of a streamed problem the chunks stay where they are."""
    names = ("x", "y", "query", "query_y", "exact")
    found = {name: np.load(folder / f"{name}.npy") for name in names if (folder / f"{name}.npy").exists()}
    empty = np.zeros((0, 0), dtype=np.float32)
    return Problem(ridge=float(json.loads((folder / "ridge.json").read_text())), **{"x": empty, "y": empty, **found})


def read_chunks(folder: Path, limit: int | None = None) -> Iterator[tuple[Floats, Floats]]:
    """Chunks of a streamed problem, read into fresh memory; ``limit`` points at most."""
    about = json.loads((folder / "stream.json").read_text())
    k, c = about["features"], about["targets"]
    points = min(about["points"], limit or about["points"])
    for start in range(0, points, ROWS):
        count = min(ROWS, points - start)
        x = np.fromfile(folder / "x.raw", dtype=np.float32, count=count * k, offset=4 * start * k)
        y = np.fromfile(folder / "y.raw", dtype=np.float32, count=count * c, offset=4 * start * c)
        yield x.reshape(count, k), y.reshape(count, c)


def _finish(folder: Path, source: Source, gram: Floats, cross: Floats, relative_ridge: float | None) -> None:
    ridge = 1.0 if relative_ridge is None else relative_ridge * float(np.linalg.norm(gram, 2))
    exact = scipy.linalg.solve(gram + ridge * np.eye(len(gram)), cross, assume_a="pos").T
    query, query_y = source.draw(QUERIES)
    for name, values in {"exact": exact, "query": query, "query_y": query_y, "gram": gram, "cross": cross}.items():
        np.save(folder / f"{name}.npy", values)
    (folder / "ridge.json").write_text(json.dumps(ridge))
