"""What to draw for which array library, and how many: the strategies of :mod:`dntk.testing` on every library."""

import collections
import functools
import inspect
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dntk.testing.features import ROWS, SHAPES, FeatureCase, build_features, tangent_features
from dntk.testing.place import host64
from dntk.testing.spectrum_cases import SPECTRA, eigenvalues, orthogonal, orthonormal, singular_values, spread
from tests.libraries import Library

Case = FeatureCase
build = build_features

__all__ = [
    "ROWS",
    "SHAPES",
    "SPECTRA",
    "Case",
    "build",
    "dtypes_of",
    "eigenvalues",
    "features",
    "for_libraries",
    "fractions",
    "fuzzing",
    "host64",
    "orthogonal",
    "orthonormal",
    "part",
    "per_output",
    "relative_ridges",
    "seeds",
    "singular_values",
    "spread",
]

SHARE = {"numpy": 1.5, "torch": 0.5, "strict": 0.25, "strict-device1": 0.15, "jax": 0.25}
"""Examples of each library in units of the profile's, by what one costs there."""

LONG = {"strict": 0.6, "strict-device1": 0.4}
"""The same in the long profile, 1 where nothing is said: its promise is for every library, on its devices together."""

FEW_SHAPES = [(3, 6, 9)]
"""Shapes of libraries that compile for every shape."""

cases_run: collections.Counter[str] = collections.Counter()
"""Cases that this process has run, by library."""


def fuzzing() -> bool:
    """Whether the long profile runs."""
    return os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"


def dtypes_of(library: Library) -> list[str]:
    """float32, and float64 where the library has it."""
    return ["float32", "float64"] if library.has_float64 else ["float32"]


def features(
    shapes: list[tuple[int, int, int]] | tuple[tuple[int, int, int], ...] = SHAPES,
    rows: list[str] | tuple[str, ...] = ROWS,
    few: list[tuple[int, int, int]] = FEW_SHAPES,
) -> Callable[[Library], st.SearchStrategy[FeatureCase]]:
    """Cases for a library; of the ``few`` shapes where each has to be compiled."""

    def make(library: Library) -> st.SearchStrategy[FeatureCase]:
        chosen = few if library.module == "jax" else shapes
        return tangent_features(dtypes=dtypes_of(library), shapes=chosen, rows=rows)

    return make


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
    examples on JAX where the shapes inside depend on the values, as each is compiled; the
    long profile, which meets all of them, has no such bound.
    """

    def decorate(body: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(body)
        def counted(library: Library, **drawn: Any) -> None:
            cases_run[library.id] += 1
            body(library=library, **drawn)

        @functools.wraps(body)
        def test(library: Library) -> None:
            drawn = {name: s if isinstance(s, st.SearchStrategy) else s(library) for name, s in strategies.items()}
            share = LONG.get(library.id, 1.0) if fuzzing() else SHARE.get(library.id, 0.5)
            examples = max(4, round(settings.default.max_examples * share))
            if library.module == "jax" and jax_examples is not None and not fuzzing():
                examples = jax_examples
            settings(max_examples=examples)(given(**drawn)(counted))(library=library)

        test.__signature__ = inspect.Signature(  # pytest sees the fixture only
            [inspect.Parameter("library", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
        )
        del test.__wrapped__
        return test

    return decorate


def per_output(directions: np.ndarray, outputs: int) -> np.ndarray:
    """(C, m, s) from shared or per-class directions."""
    return np.broadcast_to(directions, (outputs, *directions.shape[-2:]))
