"""Norms and traces of operators that can only be multiplied with.

Norms are upper bounds that fail with a stated probability δ:

- Frobenius, from q Gaussian probes g_j: ‖R‖_F ≤ √(mean‖Rg_j‖²/c) with (c e^{1−c})^{q/2} = δ. Chernoff's bound on
  Σ a_i χ²_i by Π(1 + 2t a_i) ≥ 1 + 2t: proved.
- Spectral, from q probes: ‖R‖₂ ≤ δ^{−1/q} √(2/π) max‖Rg_j‖ (Halko, Martinsson and Tropp 2011, Lemma 4.1).
- Spectral, positive semidefinite R of size n, from q Lanczos steps of random starts, θ the largest Ritz value:
  ‖R‖₂ ≤ θ/(1 − ε), ε = (ln(1.648√n/δ)/(2q − 1))² (Kuczyński and Woźniakowski 1992). With b independent starts in one
  block Krylov space all must fail: δ^{1/b} takes the place of δ.

Traces are estimates with standard errors, not bounds. Both ways combine the exact trace on a random subspace with an
estimate on the rest. XTrace (Epperly, Tropp and Webber 2024) leaves out each probe in turn, which makes it exchangeable
and gives its own standard error; it needs 2q products. Hutch++ (Meyer, Musco, Musco and Woodruff 2021) needs q, in
thirds. Neither is needed for tr R of features, whose diagonal is free.
"""

import dataclasses
import math

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.bounds import Bound, check_confidence
from dntk.certificates.products import Multiply, unit_columns
from dntk.random import WORDS_PER_COUNTER, normals
from dntk.types import Array


def gaussian_probes(
    points: int, count: int, *, like: Array, seed: int = 0, stream: str = "probes"
) -> Float[Array, "n q"]:
    """Independent standard normal columns on the device and in the dtype of ``like``; other streams are independent.

    Examples
    --------
    >>> dntk.certificates.gaussian_probes(40, 20, like=np.zeros(1)).shape
    (40, 20)
    """
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


def frobenius_norm(images: Float[Array, "n q"], *, confidence: float) -> Bound:
    """Bound on ‖R‖_F from the images R g_j of independent Gaussian probes.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> residual = rng.normal(size=(40, 40))
    >>> probes = dntk.certificates.gaussian_probes(40, 20, like=residual)
    >>> found = dntk.certificates.frobenius_norm(residual @ probes, confidence=0.999)
    >>> bool(np.linalg.norm(residual) <= float(found)), found.kind, found.confidence
    (True, 'probabilistic', 0.999)
    """
    check_confidence(confidence)
    largest, scaled = _scaled(images)
    xp = arrays.namespace(images)
    probes = images.shape[1]
    mean = float(xp.sum(scaled**2)) / probes
    c = chernoff_factor(probes, 1 - confidence)
    value = largest * math.sqrt(mean / c) if c > 0 else math.inf
    return Bound(value=value if largest > 0 else 0.0, theorem="Chernoff", kind="probabilistic", confidence=confidence)


def spectral_norm(images: Float[Array, "n q"], *, confidence: float) -> Bound:
    """Bound on ‖R‖₂ from the images R g_j of independent Gaussian probes.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> residual = rng.normal(size=(40, 40))
    >>> probes = dntk.certificates.gaussian_probes(40, 20, like=residual)
    >>> found = dntk.certificates.spectral_norm(residual @ probes, confidence=0.999)
    >>> bool(np.linalg.norm(residual, 2) <= float(found)), found.kind
    (True, 'probabilistic')
    """
    check_confidence(confidence)
    largest, scaled = _scaled(images)
    xp = arrays.namespace(images)
    longest = largest * float(xp.sqrt(xp.max(xp.sum(scaled**2, axis=0))))
    value = (1 - confidence) ** (-1 / images.shape[1]) * math.sqrt(2 / math.pi) * longest
    return Bound(value=value, theorem="Halko, Martinsson and Tropp", kind="probabilistic", confidence=confidence)


def semidefinite_norm(
    multiply: Multiply, start: Float[Array, "n b"], *, steps: int, confidence: float, rounding: float = 0.0
) -> Bound:
    """Bound on ‖R‖₂ of a positive semidefinite R, by block Lanczos from independent Gaussian columns.

    ``steps`` products with b columns each; ``rounding`` is what they may be off by, in the spectral norm. Spaces that
    fill R^n give the norm itself.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> factor = rng.normal(size=(40, 5))
    >>> residual = factor @ factor.T
    >>> start = dntk.certificates.gaussian_probes(40, 2, like=residual)
    >>> found = dntk.certificates.semidefinite_norm(
    ...     lambda v: residual @ v, start, steps=5, confidence=0.999
    ... )
    >>> norm = np.linalg.norm(residual, 2)
    >>> bool(norm <= float(found)), bool(float(found) < 2 * norm)
    (True, True)
    """
    check_confidence(confidence)
    points, block = start.shape
    theta, full = _largest_ritz(multiply, start, steps)
    if full:
        return Bound(value=theta + rounding, theorem="Rayleigh and Ritz in the whole space")
    epsilon = lanczos_gap(points, steps, (1 - confidence) ** (1 / block))
    value = (theta + rounding) / (1 - epsilon) if epsilon < 1 else math.inf
    return Bound(value=value, theorem="Kuczyński and Woźniakowski", kind="probabilistic", confidence=confidence)


def lanczos_gap(points: int, steps: int, failure: float) -> float:
    """ε of Kuczyński and Woźniakowski's theorem for one random start; 1 or more says nothing."""
    return (math.log(1.648 * math.sqrt(points) / failure) / (2 * steps - 1)) ** 2


def _largest_ritz(multiply: Multiply, start: Array, steps: int) -> tuple[float, bool]:
    """Largest Ritz value of the block Krylov space of q − 1 products, and whether the space is everything.

    The step that forms the Rayleigh quotient is the q-th product.
    """
    xp = arrays.namespace(start)
    points = start.shape[0]
    basis = xp.linalg.qr(start[:, : min(start.shape)])[0]
    image = multiply(basis)
    images, bases = [image], [basis]
    for _ in range(steps - 1):
        known = xp.concat(bases, axis=1)
        room = points - known.shape[1]
        if room <= 0:
            break
        fresh = _beside(known, unit_columns(image)[:, : min(image.shape[1], room)])
        image = multiply(fresh)
        bases.append(fresh)
        images.append(image)
    known = xp.concat(bases, axis=1)
    quotient = known.mT @ xp.concat(images, axis=1)
    values = xp.linalg.eigvalsh((quotient + quotient.mT) / 2)
    return max(0.0, float(xp.max(values))), known.shape[1] >= points


def _beside(known: Float[Array, "n k"], columns: Float[Array, "n b"]) -> Float[Array, "n b"]:
    """Orthonormal columns beside those ``known``, spanning what is new of some ``columns`` of unit length.

    What of them is not new, as where a Krylov space is complete, would leave rounding, which is orthogonal to nothing:
    random columns, new but for a share of √(k/n), take its place.
    """
    xp = arrays.namespace(known)
    fresh, upper = xp.linalg.qr(columns - known @ (known.mT @ columns))
    lost = xp.abs(xp.linalg.diagonal(upper)) < math.sqrt(xp.finfo(known.dtype).eps)
    if bool(xp.any(lost)):
        random = gaussian_probes(*columns.shape, like=known, seed=known.shape[1], stream="beside")
        fresh = xp.where(lost[None, :], random / math.sqrt(known.shape[0]), fresh)
        fresh, _ = xp.linalg.qr(fresh - known @ (known.mT @ fresh))
    fresh, _ = xp.linalg.qr(fresh - known @ (known.mT @ fresh))
    return fresh


@dataclasses.dataclass(frozen=True, kw_only=True)
class TraceEstimate:
    """An estimate of a trace with its own standard error, and the products that it took."""

    value: float
    error: float
    products: int


def xtrace(multiply: Multiply, like: Float[Array, "n ..."], *, probes: int, seed: int = 0) -> TraceEstimate:
    """Trace of a square A, given by its products with blocks, from ``probes`` Gaussian columns normalised to √n.

    With A Ω = Q R, the i-th estimate uses the range without column i: tr A on it exactly, plus ω_iᵀ(I − Q_iQ_iᵀ)A(I −
    Q_iQ_iᵀ)ω_i. Computed by q QR factorisations of (n, q − 1) blocks. Between 2 and n probes.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> factor = rng.normal(size=(40, 3))
    >>> matrix = factor @ factor.T
    >>> found = dntk.certificates.xtrace(lambda v: matrix @ v, matrix, probes=10)
    >>> bool(np.isclose(found.value, np.trace(matrix))), bool(found.error < 1e-6 * found.value)
    (True, True)
    """
    xp = arrays.namespace(like)
    points = like.shape[0]
    if not 2 <= probes <= points:
        msg = f"`probes` must be between 2 and the {points} points, got {probes}."
        raise ValueError(msg)
    omega = gaussian_probes(points, probes, seed=seed, stream="xtrace", like=like)
    omega = omega * (math.sqrt(points) / xp.sqrt(xp.sum(omega**2, axis=0, keepdims=True)))
    image = multiply(omega)
    whole, _ = xp.linalg.qr(image)
    # A Q once: every Q_i is Q times a small matrix, so that its image is known.
    image_whole = multiply(whole)
    rows = whole.mT @ image
    estimates = []
    for i in range(probes):
        others = xp.concat([rows[:, :i], rows[:, i + 1 :]], axis=1)
        small, _ = xp.linalg.qr(others)
        basis, basis_image = whole @ small, image_whole @ small
        probe = omega[:, i : i + 1]
        rest = probe - basis @ (basis.mT @ probe)
        # (I − QQᵀ)ω has norm √(n − q + 1) in expectation; Epperly, Tropp and Webber's normalisation removes the spread.
        length = float(xp.sum(rest**2))
        scale = (points - probes + 1) / length if length > 0 else 0.0
        left = image[:, i : i + 1] - basis_image @ (basis.mT @ probe)
        estimates.append(float(xp.sum(basis * basis_image)) + scale * float(xp.sum(rest * left)))
    mean = sum(estimates) / probes
    variance = sum((e - mean) ** 2 for e in estimates) / (probes * (probes - 1))
    return TraceEstimate(value=mean, error=math.sqrt(variance), products=2 * probes)


def hutch_plus_plus(multiply: Multiply, like: Float[Array, "n ..."], *, products: int, seed: int = 0) -> TraceEstimate:
    """Trace of A from a third of the products for a range, a third for the trace on it, and a third for the rest.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> factor = rng.normal(size=(40, 3))
    >>> matrix = factor @ factor.T  # of rank 3, which the range finder has
    >>> found = dntk.certificates.hutch_plus_plus(lambda v: matrix @ v, matrix, products=30)
    >>> found.products, bool(np.isclose(found.value, np.trace(matrix)))
    (30, True)
    """
    xp = arrays.namespace(like)
    points = like.shape[0]
    third = products // 3
    if third < 2 or third > points:
        msg = f"`products` must be between 6 and {3 * points}, three times the number of points, got {products}."
        raise ValueError(msg)
    drawn = gaussian_probes(points, 2 * third, seed=seed, stream="hutch++", like=like)
    basis, _ = xp.linalg.qr(multiply(drawn[:, :third]))
    inside = float(xp.sum(basis * multiply(basis)))
    rest = drawn[:, third:] - basis @ (basis.mT @ drawn[:, third:])
    samples = xp.sum(rest * multiply(rest), axis=0)
    mean = float(xp.mean(samples))
    spread = math.sqrt(float(xp.sum((samples - mean) ** 2)) / (third * (third - 1)))
    return TraceEstimate(value=inside + mean, error=spread, products=3 * third)


def _scaled(images: Array) -> tuple[float, Array]:
    """Largest magnitude, and the array divided by it, so that squares stay in range."""
    xp = arrays.namespace(images)
    largest = float(xp.max(xp.abs(images)))
    return largest, images / (largest if largest > 0 else 1.0)


def _numpy_dtype(like: Array) -> type:
    return np.float64 if arrays.namespace(like).finfo(like.dtype).bits == 64 else np.float32
