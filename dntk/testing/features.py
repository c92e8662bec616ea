"""Adversarial tangent features with targets.

Features are built from a spectrum (:mod:`dntk.testing.spectrum_cases`); then rows are duplicated, zeroed or scaled by
1e-6 to 1e6, and one output may be dead. Shapes include one point, one feature, more points than features and the
reverse, one output and several.

Overall scales run from 1e-20 to 1e20 in float64. In float32 they run from 1e-8 to 1e8: with row scales the squared
norms are then between 1e-28 and 1e28, inside the range of float32 (beyond 1e18 they would overflow), and with them
everything that kernel methods square once.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from dntk.features import TangentFeatures
from dntk.testing.place import Destination, Place
from dntk.testing.spectrum_cases import SPECTRA, Host, spread
from dntk.types import Array

SHAPES = (
    (1, 1, 1),
    (1, 1, 7),
    (4, 1, 2),
    (1, 2, 1),
    (2, 3, 9),
    (1, 7, 3),
    (3, 6, 20),
    (4, 8, 8),
    (1, 20, 5),
    (2, 12, 30),
    (1, 24, 40),
)
"""(outputs, points, features)."""

ROWS = ("plain", "plain", "duplicated", "zero", "scaled")
SCALES = {"float32": (1.0, 1e-8, 1e8), "float64": (1.0, 1e-20, 1e20)}


@dataclasses.dataclass(frozen=True)
class FeatureCase:
    """Features (C, n, k) and targets (n, C) on the host, in the dtype under test; their repr rebuilds them."""

    values: Host
    targets: Host
    story: str

    def __repr__(self) -> str:
        return self.story

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What Hypothesis prints."""
        del cycle
        printer.text(self.story)

    @property
    def dtype(self) -> str:
        """Name of the dtype."""
        return str(self.values.dtype)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of outputs, points and features."""
        c, n, k = self.values.shape
        return c, n, k

    @property
    def size(self) -> int:
        """N of the allowances: the largest dimension of any product of these features."""
        c, n, k = self.values.shape
        return max(n, c * k)

    def phi(self, place: Destination) -> TangentFeatures:
        """The features at a place."""
        return TangentFeatures(place.array(self.values))

    def y(self, place: Destination) -> Array:
        """The targets at a place."""
        return place.array(self.targets)

    @property
    def wide(self) -> Host:
        """Features in float64: the exact problem that was posed."""
        return self.values.astype(np.float64)

    @property
    def wide_targets(self) -> Host:
        """Targets in float64."""
        return self.targets.astype(np.float64)

    @property
    def kernels(self) -> Host:
        """K^c (C, n, n) in float64."""
        return self.wide @ self.wide.transpose(0, 2, 1)

    @property
    def joined(self) -> Host:
        """F with K̄ = F Fᵀ, in float64."""
        c, n, k = self.values.shape
        return self.wide.transpose(1, 0, 2).reshape(n, c * k) / np.sqrt(c)

    @property
    def norm(self) -> float:
        """The largest ‖K^c‖."""
        return max(float(np.linalg.norm(v, 2)) for v in self.wide) ** 2


def build_features(
    shape: tuple[int, int, int],
    dtype: str,
    spectrum: str,
    rows: str,
    scale: float,
    dead: bool,
    seed: int,
) -> FeatureCase:
    """The case that these choices describe, as the repr of one says.

    Parameters
    ----------
    shape
        Numbers (C, n, k) of outputs, points and features.
    dtype
        ``"float32"`` or ``"float64"``.
    spectrum
        One of :data:`dntk.testing.SPECTRA`.
    rows
        ``"plain"``, ``"duplicated"``, ``"zero"`` or ``"scaled"``.
    scale
        Of all features.
    dead
        Whether the first of several outputs has no features.
    seed
        Of singular vectors and targets.
    """
    rng = np.random.default_rng(seed)
    c, n, k = shape
    values = np.stack([spread(spectrum, rng, n, k) for _ in range(c)])
    values = _change_rows(rows, rng, values) * scale
    if dead and c > 1:
        values[0] = 0
    targets = rng.standard_normal((n, c))
    story = f"build_features({shape}, {dtype!r}, {spectrum!r}, {rows!r}, {scale:g}, {dead}, {seed})"
    return FeatureCase(values.astype(dtype), targets.astype(dtype), story)


def _change_rows(kind: str, rng: np.random.Generator, given: Host) -> Host:
    values: Host = given.copy()
    n = values.shape[1]
    chosen = rng.permutation(n)[: max(1, n // 3)]
    if kind == "duplicated":
        values[:, chosen] = values[:, chosen[:1]]
    elif kind == "zero" and n > 1:
        values[:, chosen] = 0
    elif kind == "scaled":
        values *= np.power(10.0, rng.uniform(-6, 6, size=(1, n, 1)))
    return values


def tangent_features(
    place: Place | None = None,
    *,
    dtypes: Sequence[str] | None = None,
    shapes: Sequence[tuple[int, int, int]] = SHAPES,
    rows: Sequence[str] = ROWS,
) -> st.SearchStrategy[FeatureCase]:
    """Adversarial features with targets; ``case.phi(place)`` and ``case.y(place)`` are the arrays.

    Parameters
    ----------
    place
        Decides which dtypes there are; default: NumPy.
    dtypes
        Names of dtypes, in place of all that the place has.
    shapes
        (outputs, points, features) to choose from; few where a library compiles for every shape.
    rows
        What is done to rows: ``"plain"``, ``"duplicated"``, ``"zero"``, ``"scaled"``.
    """
    if dtypes is None:
        dtypes = (place or Place.called("numpy")).dtypes
    return _cases(tuple(dtypes), tuple(shapes), tuple(rows))


@st.composite
def _cases(draw: st.DrawFn, dtypes: tuple[Any, ...], shapes: tuple[Any, ...], rows: tuple[Any, ...]) -> FeatureCase:
    """One seed makes all choices: drawn one by one, they crowd around the simplest.

    Items are not annotated: run-time checks of one draw from Python's own generator, which Hypothesis forbids here.
    """
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    dtype = choice(rng, dtypes)
    scale, dead = choice(rng, SCALES[dtype]), bool(rng.random() < 0.2)
    shape = choice(rng, shapes)
    return build_features(shape, dtype, choice(rng, SPECTRA), choice(rng, rows), scale, dead, seed)


def choice(rng: np.random.Generator, options: Sequence[Any]) -> Any:
    """One of the options, which may be anything."""
    return options[int(rng.integers(len(options)))]
