"""Features, targets, ridges and networks to draw from, and how many for which library.

Features are built from a spectrum: flat, polynomial, exponential, clustered (relative gaps of
1e-9), condition 1e12 (of the features: 1e24 of the kernel), rank deficient, or a step of 1e-5; then
rows are duplicated, zeroed or scaled by 1e-6 to 1e6. Shapes include one point, one feature, more
points than features and the reverse, one output and several.

Overall scales run from 1e-20 to 1e20 in float64. In float32 they run from 1e-8 to 1e8: with row
scales the squared norms are then between 1e-28 and 1e28, inside the range of float32 (beyond 1e18
they would overflow), and with them everything that kernel methods square once.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import dntk
from tests.libraries import Library

SHARE = {"numpy": 1.5, "torch": 0.5, "strict": 0.25, "strict-device1": 0.15, "jax": 0.25}
"""Examples of each library in units of the profile's, by what one costs there."""

SHAPES = [
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
]
"""(outputs, points, features)."""

FEW_SHAPES = [(3, 6, 9)]
"""Those of libraries that compile for every shape."""

SPECTRA = ["flat", "polynomial", "exponential", "clustered", "condition", "deficient", "step"]
ROWS = ["plain", "plain", "duplicated", "zero", "scaled"]
SCALES = {"float32": [1.0, 1e-8, 1e8], "float64": [1.0, 1e-20, 1e20]}


@dataclasses.dataclass(frozen=True)
class Case:
    """Features (C, n, k) and targets (n, C) on the host, in the dtype under test."""

    values: np.ndarray
    targets: np.ndarray
    story: str

    def __repr__(self) -> str:
        return self.story

    @property
    def dtype(self) -> str:
        """Name of the dtype."""
        return str(self.values.dtype)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of outputs, points and features."""
        return self.values.shape

    @property
    def size(self) -> int:
        """N of the allowances: the largest dimension of any product of these features."""
        c, n, k = self.values.shape
        return max(n, c * k)

    def phi(self, library: Library) -> dntk.TangentFeatures:
        """Return the features in a library."""
        return dntk.TangentFeatures(library.array(self.values))

    def y(self, library: Library) -> Any:
        """Return the targets in a library."""
        return library.array(self.targets)

    @property
    def wide(self) -> np.ndarray:
        """Features in float64: the exact problem that was posed."""
        return self.values.astype(np.float64)

    @property
    def wide_targets(self) -> np.ndarray:
        """Targets in float64."""
        return self.targets.astype(np.float64)

    @property
    def kernels(self) -> np.ndarray:
        """K^c (C, n, n) in float64."""
        return self.wide @ self.wide.transpose(0, 2, 1)

    @property
    def joined(self) -> np.ndarray:
        """F with K̄ = F Fᵀ, in float64."""
        c, n, k = self.values.shape
        return self.wide.transpose(1, 0, 2).reshape(n, c * k) / np.sqrt(c)

    @property
    def norm(self) -> float:
        """The largest ‖K^c‖."""
        return max(float(np.linalg.norm(v, 2)) for v in self.wide) ** 2


def singular_values(kind: str, rank: int) -> np.ndarray:
    """Singular values of features, the largest 1."""
    i = np.arange(rank)
    return {
        "flat": np.ones(rank),
        "polynomial": 1.0 / (i + 1),
        "exponential": 2.0**-i,
        "clustered": np.where(i < rank / 2, 1.0, 0.1) * (1 - 1e-9 * i),
        "condition": 10.0 ** (-12 * i / max(1, rank - 1)),
        "deficient": np.where(i < max(1, rank // 4), 1.0 / (i + 1), 0.0),
        "step": np.where(i < max(1, rank // 2), 1.0, 1e-5),
    }[kind]


def orthogonal(rng: np.random.Generator, n: int) -> np.ndarray:
    """Haar orthogonal matrix."""
    q, r = np.linalg.qr(rng.standard_normal((n, n)))
    return q * np.sign(np.diag(r))


def orthonormal(seed: int, n: int, s: int) -> np.ndarray:
    """Random orthonormal columns (n, s)."""
    return orthogonal(np.random.default_rng(seed), n)[:, :s]


def spread(kind: str, rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """Features (n, k) of a spectrum, singular vectors Haar."""
    rank = min(n, k)
    left, right = orthogonal(rng, n)[:, :rank], orthogonal(rng, k)[:, :rank]
    return (left * singular_values(kind, rank)) @ right.T


def _change_rows(kind: str, rng: np.random.Generator, values: np.ndarray) -> np.ndarray:
    n = values.shape[1]
    chosen = rng.permutation(n)[: max(1, n // 3)]
    values = values.copy()
    if kind == "duplicated":
        values[:, chosen] = values[:, chosen[:1]]
    elif kind == "zero" and n > 1:
        values[:, chosen] = 0
    elif kind == "scaled":
        values *= 10.0 ** rng.uniform(-6, 6, size=n)[None, :, None]
    return values


def dtypes_of(library: Library) -> list[str]:
    """float32, and float64 where the library has it."""
    return ["float32", "float64"] if library.has_float64 else ["float32"]


def build(
    shape: tuple[int, int, int],
    dtype: str,
    spectrum: str,
    rows: str,
    scale: float,
    dead: bool,
    seed: int,
) -> Case:
    """Build the case that these choices describe."""
    rng = np.random.default_rng(seed)
    c, n, k = shape
    values = np.stack([spread(spectrum, rng, n, k) for _ in range(c)])
    values = _change_rows(rows, rng, values) * scale
    if dead and c > 1:
        values[0] = 0
    targets = rng.standard_normal((n, c))
    story = f"build({shape}, {dtype!r}, {spectrum!r}, {rows!r}, {scale:g}, {dead}, {seed})"
    return Case(values.astype(dtype), targets.astype(dtype), story)


def features(
    shapes: list[tuple[int, int, int]] = SHAPES,
    rows: list[str] = ROWS,
    few: list[tuple[int, int, int]] = FEW_SHAPES,
) -> Callable[[Library], st.SearchStrategy[Case]]:
    """Cases for a library; of the ``few`` shapes where each has to be compiled."""

    def make(library: Library) -> st.SearchStrategy[Case]:
        return _cases(library, few if library.module == "jax" else shapes, rows)

    return make


@st.composite
def _cases(draw: st.DrawFn, library: Library, shapes: list[tuple[int, int, int]], rows: list[str]) -> Case:
    """One seed makes all choices: drawn one by one, they crowd around the simplest."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    dtype = _choice(rng, dtypes_of(library))
    scale, dead = _choice(rng, SCALES[dtype]), bool(rng.random() < 0.2)
    shape = _choice(rng, shapes)
    return build(shape, dtype, _choice(rng, SPECTRA), _choice(rng, rows), scale, dead, seed)


def _choice(rng: np.random.Generator, options: list[Any]) -> Any:
    return options[rng.integers(len(options))]


def seeds() -> st.SearchStrategy[int]:
    """Seeds of random numbers."""
    return st.integers(0, 2**64 - 1)


def fractions(library: Library) -> st.SearchStrategy[float]:
    """Shares of the points, one point and all included; few values, so that few shapes arise."""
    return st.sampled_from([0.4] if library.module == "jax" else [0.0, 0.4, 1.0])


def part(fraction: float, whole: int) -> int:
    """At least 1, at most ``whole``."""
    return max(1, round(fraction * whole))


def relative_ridges(library: Library) -> st.SearchStrategy[float]:
    """λ in units of the largest ‖K^c‖: at least 1e-3, because forward errors carry κ = 1 + 1/λ."""
    return st.sampled_from([1e-3, 1e-1, 10.0] if library.module == "jax" else [1e-3, 1e-2, 1.0, 100.0])


def for_libraries(
    *, jax_examples: int | None = None, **strategies: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a property on every array library, over as many examples as its share allows.

    Values are strategies, or functions from the library to one. ``jax_examples`` bounds the
    examples on JAX where the shapes inside depend on the values, as each is compiled.
    """

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(body)
        def test(library: Library) -> None:
            drawn = {name: s if isinstance(s, st.SearchStrategy) else s(library) for name, s in strategies.items()}
            examples = max(4, round(settings.default.max_examples * SHARE.get(library.id, 0.5)))
            if library.module == "jax" and jax_examples is not None:
                examples = jax_examples
            settings(max_examples=examples)(given(**drawn)(body))(library=library)

        test.__signature__ = inspect.Signature(  # pytest sees the fixture only
            [inspect.Parameter("library", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
        )
        del test.__wrapped__
        return test

    return decorate


def host64(x: Any) -> np.ndarray:
    """Host copy in float64."""
    from tests.libraries import host

    return host(x).astype(np.float64)


def eigenvalues(matrix: np.ndarray) -> np.ndarray:
    """Descending eigenvalues of the symmetric part."""
    return np.linalg.eigvalsh((matrix + np.swapaxes(matrix, -1, -2)) / 2)[..., ::-1]


def per_class(directions: np.ndarray, outputs: int) -> np.ndarray:
    """(C, m, s) from shared or per-class directions."""
    return np.broadcast_to(directions, (outputs, *directions.shape[-2:]))
