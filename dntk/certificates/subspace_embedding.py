"""Eigenvalues of an exact kernel, from those of its sketched one and what the family's theorem says of the sketch.

A subspace embedding (1 − ε)K ≤ K̂ ≤ (1 + ε)K gives λ_i ∈ [λ̂_i/(1 + ε), λ̂_i/(1 − ε)]; a second moment,
‖K̂ − K‖_F ≤ ε tr K with probability 1 − δ, gives |λ̂_i − λ_i| ≤ ε tr K by Weyl. ε comes from ``sketch.error(n, δ)``. For
random signs, sparse signs and Hadamard transforms the band is that of a Gaussian sketch, inside which they stayed in
all trials: EMPIRICAL, and the theorem's name says so. Kronecker sketches and masks leave that band and have second
moments only, or nothing.
"""

import math

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.bounds import Intervals
from dntk.certificates.davidson_szarek import exact_upper_factors
from dntk.sketch.error import SUBSPACE, SketchError
from dntk.types import Array


def exact_eigenvalues(
    sketched: Float[Array, " r"],
    error: SketchError,
    *,
    outputs: int,
    dim: int,
    points: int,
    trace: float | None = None,
) -> Intervals:
    """Intervals of λ_i(K̄) of the unsketched mean kernel, from those of the sketched one in descending order.

    ``error``: of the sketch for n·C feature rows (a subspace embedding) or n (second moments), at half the failure
    probability; the other half goes to the lower end by place. ``trace``: tr K̂, where ``sketched`` are only the
    leading eigenvalues; default: their sum.
    """
    values = np.asarray(backend_of(sketched).to_numpy(sketched), dtype=np.float64)
    values = np.clip(values, 0, None)
    if error.measure == SUBSPACE:
        lower = values / (1 + error.value)
        factors = np.square(np.asarray(exact_upper_factors(len(values), outputs, dim, error.failure)))
        whole = 1 / (1 - error.value) if error.value < 1 else math.inf
        upper = _scaled(values, np.minimum(factors, whole))
    else:
        # Kernels' traces differ by ε tr K as well, ‖·‖_F ≤ ε tr K on their diagonal: tr K ≤ tr K̂/(1 − √n ε).
        shrunk = 1 - math.sqrt(points) * error.value
        whole_trace = float(np.sum(values)) if trace is None else trace
        radius = error.value * whole_trace / shrunk if shrunk > 0 else math.inf
        lower, upper = np.clip(values - radius, 0, None), values + radius
    return Intervals(
        lower=_like(lower, sketched),
        upper=_like(upper, sketched),
        theorem=error.theorem + (", an empirical band" if error.kind == "empirical" else ""),
        kind="empirical" if error.kind == "empirical" else "probabilistic",
        confidence=1 - 2 * error.failure,
    )


def _scaled(values: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Products in which an infinite factor of a zero eigenvalue is infinite: a sketch may hide what it made zero."""
    return np.where(np.isinf(factors), math.inf, values * np.where(np.isinf(factors), 1, factors))


def _like(x: np.ndarray, like: Array) -> Array:
    xp = arrays.namespace(like)
    return xp.astype(backend_of(like).from_numpy(x, device=arrays.device_of(like)), like.dtype, copy=False)
