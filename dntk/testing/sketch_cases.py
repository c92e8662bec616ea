"""A third party's sketch with a seed, bound to parameters, and rows to feed it."""

import dataclasses
from typing import Any

import numpy as np
from hypothesis import strategies as st

from dntk.sketch.base import LayoutSketch, Sketch
from dntk.sketch.layout import Layout, layout_of_shapes
from dntk.testing.allowances import gamma, underflow
from dntk.testing.place import Place, host64
from dntk.testing.properties import require
from dntk.testing.spectrum_cases import Host

SHAPES: tuple[dict[str, tuple[int, ...]], ...] = (
    {"w": (1,)},
    {"w": (3, 4), "b": (3,)},
    {"first": (5, 2), "kernel": (7, 5, 2), "b": (7,)},
    {"b": (4,), "w": (16, 20)},
)
"""Shapes of parameters, one number and more than any dimension included."""

SCALES = (1.0, 1e-20, 1e20)


def drawn_sketch(sketch: Sketch, seed: int, layout: Layout) -> Sketch:
    """The sketch with another seed, bound to these parameters.

    Raises
    ------
    AssertionError
        It is not a dataclass, so that seeds and parameters cannot be replaced.
    """
    require(dataclasses.is_dataclass(sketch), f"a sketch must be a frozen dataclass, got a {type(sketch).__name__}")
    fresh: Any = dataclasses.replace(sketch, seed=seed)  # type: ignore[type-var]
    if isinstance(sketch, LayoutSketch):
        return dataclasses.replace(fresh, layout=None).bound(layout)
    return dataclasses.replace(fresh, n_parameters=layout[-1].stop)


@dataclasses.dataclass(frozen=True)
class SketchCase:
    """Choices that bind a sketch and make rows of very different magnitudes, zeros among them."""

    shapes: dict[str, Any]  # shapes: checks of items draw from Python's generator, which Hypothesis forbids here
    seed: int
    dtype: str
    rows: int
    scale: float
    values: int

    @property
    def layout(self) -> Layout:
        """Matrices of the parameters."""
        return layout_of_shapes(self.shapes)

    @property
    def size(self) -> int:
        """Number P of coordinates."""
        return self.layout[-1].stop

    def sketch(self, sketch: Sketch) -> Sketch:
        """The sketch with this seed and these parameters."""
        return drawn_sketch(sketch, self.seed, self.layout)

    def matrix(self, sketch: Sketch, place: Place) -> Host:
        """S transposed (P, k), on the host in float64: products with the identity are exact, but for transforms."""
        return host64(sketch.apply(place.array(np.eye(self.size), self.dtype)))

    def draw(self, number: int, size: int, stream: int = 0) -> Host:
        """Rows (number, size) in the dtype."""
        rng = np.random.default_rng([self.values, stream])
        rows = rng.standard_normal((number, size)) * 10.0 ** rng.uniform(-4, 4, (number, size)) * self.scale
        return np.where(rng.random((number, size)) < 0.2, 0, rows).astype(self.dtype)


def sketch_cases(place: Place) -> st.SearchStrategy[SketchCase]:
    """Cases in the dtypes of a place."""
    return st.builds(
        SketchCase,
        shapes=st.sampled_from(SHAPES),
        seed=st.integers(0, 2**64 - 1),
        dtype=st.sampled_from(place.dtypes),
        rows=st.integers(1, 4),
        scale=st.sampled_from(SCALES),
        values=st.integers(0, 2**32 - 1),
    )


def rounding(rows: Host, matrix: Host, dtype: str) -> Host:
    """Entrywise allowance (rows, 1) of a sketch of rows: γ_{P+k+64} ‖x‖₁ max|S|.

    Sums of products, in any order, err by at most γ_{P+3} |S||x|, and |S||x| ≤ ‖x‖₁ max|S|. A product made by fast
    Fourier transforms errs by 3·3·7·log₂(4k) eps of the same size at most (Higham 2002, theorem 24.2): that many
    further terms are allowed.
    """
    size, dim = matrix.shape
    terms = size + dim + 64 + round(63 * np.log2(4 * dim))
    lengths = np.sum(np.abs(rows.astype(np.float64)), axis=-1, keepdims=True)
    return gamma(terms, dtype) * lengths * np.max(np.abs(matrix)) + underflow(terms, dtype)
