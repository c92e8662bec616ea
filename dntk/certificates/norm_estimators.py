"""Norms of operators that can only be multiplied with, as upper bounds that fail with a stated probability.

- Frobenius, from q Gaussian probes g_j: ‖R‖_F ≤ √(mean‖Rg_j‖²/c) with (c e^{1−c})^{q/2} = δ. Chernoff's bound on
  Σ a_i χ²_i by Π(1 + 2t a_i) ≥ 1 + 2t: proved.
- Spectral, from q probes: ‖R‖₂ ≤ δ^{−1/q} √(2/π) max‖Rg_j‖ (Halko, Martinsson and Tropp 2011, Lemma 4.1).
- Spectral, positive semidefinite R of size n, from q Lanczos steps of random starts, θ the largest Ritz value:
  ‖R‖₂ ≤ θ/(1 − ε), ε = (ln(1.648√n/δ)/(2q − 1))² (Kuczyński and Woźniakowski 1992). With b independent starts in one
  block Krylov space all must fail: δ^{1/b} takes the place of δ.
"""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.bounds import Bound
from dntk.random import WORDS_PER_COUNTER, normals
from dntk.types import Array

Multiply = Callable[[Float[Array, "n b"]], Float[Array, "n b"]]


def gaussian_probes(points: int, count: int, *, seed: int, stream: str, like: Array) -> Float[Array, "n q"]:
    """Independent standard normal columns on the device and in the dtype of ``like``."""
    padded = -(-count // WORDS_PER_COUNTER) * WORDS_PER_COUNTER
    draws = normals(seed=seed, stream=stream, start=0, count=points * padded, dtype=np.float64)
    xp = arrays.namespace(like)
    block = np.ascontiguousarray(draws.reshape(points, padded)[:, :count])
    probes = backend_of(like).from_numpy(block.astype(_numpy_dtype(like)), device=arrays.device_of(like))
    return xp.astype(probes, like.dtype, copy=False)


def chernoff_factor(probes: int, failure: float) -> float:
    """The c in (0, 1) with (c e^{1−c})^{q/2} = δ, by bisection."""
    target = 2 * math.log(failure) / probes
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if middle == 0 or math.log(middle) + 1 - middle < target:
            low = middle
        else:
            high = middle
    return low


def frobenius_norm(images: Float[Array, "n q"], failure: float) -> Bound:
    """Bound on ‖R‖_F from the images R g_j of independent Gaussian probes."""
    largest, scaled = _scaled(images)
    xp = arrays.namespace(images)
    probes = images.shape[1]
    mean = float(xp.sum(scaled**2)) / probes
    c = chernoff_factor(probes, failure)
    value = largest * math.sqrt(mean / c) if c > 0 else math.inf
    return Bound(value=value if largest > 0 else 0.0, theorem="Chernoff", kind="probabilistic", confidence=1 - failure)


def spectral_norm(images: Float[Array, "n q"], failure: float) -> Bound:
    """Bound on ‖R‖₂ from the images R g_j of independent Gaussian probes."""
    largest, scaled = _scaled(images)
    xp = arrays.namespace(images)
    longest = largest * float(xp.sqrt(xp.max(xp.sum(scaled**2, axis=0))))
    value = failure ** (-1 / images.shape[1]) * math.sqrt(2 / math.pi) * longest
    return Bound(value=value, theorem="Halko, Martinsson and Tropp", kind="probabilistic", confidence=1 - failure)


def semidefinite_norm(
    multiply: Multiply, start: Float[Array, "n b"], *, steps: int, failure: float, rounding: float = 0.0
) -> Bound:
    """Bound on ‖R‖₂ of a positive semidefinite R, by block Lanczos from independent Gaussian columns.

    ``steps`` products with b columns each; ``rounding`` is what they may be off by, in the spectral norm. Spaces that
    fill R^n give the norm itself.
    """
    points, block = start.shape
    theta, full = _largest_ritz(multiply, start, steps)
    if full:
        return Bound(value=theta + rounding, theorem="Rayleigh and Ritz in the whole space")
    epsilon = lanczos_gap(points, steps, failure ** (1 / block))
    value = (theta + rounding) / (1 - epsilon) if epsilon < 1 else math.inf
    return Bound(value=value, theorem="Kuczyński and Woźniakowski", kind="probabilistic", confidence=1 - failure)


def lanczos_gap(points: int, steps: int, failure: float) -> float:
    """ε of Kuczyński and Woźniakowski's theorem for one random start; 1 or more says nothing."""
    return (math.log(1.648 * math.sqrt(points) / failure) / (2 * steps - 1)) ** 2


def _largest_ritz(multiply: Multiply, start: Array, steps: int) -> tuple[float, bool]:
    """Largest Ritz value of the block Krylov space of q − 1 products, and whether the space is everything.

    The step that forms the Rayleigh quotient is the q-th product.
    """
    xp = arrays.namespace(start)
    points = start.shape[0]
    basis = _orthonormal(start)
    image = multiply(basis)
    images, bases = [image], [basis]
    for _ in range(steps - 1):
        known = xp.concat(bases, axis=1)
        room = points - known.shape[1]
        if room <= 0:
            break
        fresh = _unit_columns(image)[:, : min(image.shape[1], room)]
        for _ in range(2):
            fresh = fresh - known @ (known.mT @ fresh)
            fresh, _ = xp.linalg.qr(fresh)
        image = multiply(fresh)
        bases.append(fresh)
        images.append(image)
    known = xp.concat(bases, axis=1)
    quotient = known.mT @ xp.concat(images, axis=1)
    values = xp.linalg.eigvalsh((quotient + quotient.mT) / 2)
    return max(0.0, float(xp.max(values))), known.shape[1] >= points


def _orthonormal(columns: Array) -> Array:
    xp = arrays.namespace(columns)
    return xp.linalg.qr(columns[:, : min(columns.shape)])[0]


def _unit_columns(block: Array) -> Array:
    """Columns of largest magnitude one; a zero column stays zero."""
    xp = arrays.namespace(block)
    largest = xp.max(xp.abs(block), axis=0, keepdims=True)
    return block / xp.where(largest > 0, largest, xp.ones_like(largest))


def _scaled(images: Array) -> tuple[float, Array]:
    """Largest magnitude, and the array divided by it, so that squares stay in range."""
    xp = arrays.namespace(images)
    largest = float(xp.max(xp.abs(images)))
    return largest, images / (largest if largest > 0 else 1.0)


def _numpy_dtype(like: Array) -> type:
    return np.float64 if arrays.namespace(like).finfo(like.dtype).bits == 64 else np.float32
