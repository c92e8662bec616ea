"""Eigenvalues of a kernel that is known on a subspace: interlacing, Ritz values, intervals of the leading ones.

Poincaré separation (Cauchy interlacing), for K (m, m) and U (m, s) with UᵀU = I:

    λ_{i+m−s}(K) ≤ λ_i(UᵀKU) ≤ λ_i(K),   tr UᵀKU ≤ Σ_{i≤s} λ_i(K).

Without orthonormality Ostrowski's factors enter, σ_min(X)² λ_{i+m−s}(K) ≤ λ_i(XᵀKX) ≤ ‖X‖² λ_i(K); columns of unit norm
are not enough. Source: Horn and Johnson, Matrix Analysis, 4.3.37 and 4.5.9.

Lehmann's bound, for orthonormal Q (n, r), T = QᵀKQ, residual E = KQ − QT and any μ ≥ ‖(I − QQᵀ)K(I − QQᵀ)‖₂:

    λ_i(T) ≤ λ_i(K) ≤ λ_i([[T, Gᵀ], [G, μI]]),   GᵀG = EᵀE.

In a basis that starts with Q, K has blocks T, E and its compression to the complement, which is at most μI:
eigenvalues do not fall when a symmetric matrix grows (Weyl), and G is E in coordinates. Where λ_i(T) exceeds μ the
interval is about ‖Eu_i‖²/(λ_i(T) − μ) wide: quadratic in the residual. Source: Lehmann 1949; Mathias 1998.

Rounding: c = 2.0 of ‖K‖. G is the triangular factor of E, not the root of EᵀE: that would lose √eps‖E‖, which counts in
full where λ_i(T) meets μ, and leave the range of float32.
"""

import math

from jaxtyping import Float

from dntk import arrays
from dntk.bounds import Intervals, Kind
from dntk.certificates.estimators import gaussian_probes, semidefinite_norm
from dntk.certificates.products import deflated, mean_kernel, unit_columns
from dntk.certificates.rounding import allowance
from dntk.certificates.widened import Widened
from dntk.types import Array

_BLOCK, _STEPS = 8, 5  # of the block Krylov space that bounds the rest of the kernel
_PASSES = 1  # of subspace iteration


def distilled_eigenvalues(
    eigenvalues: Float[Array, "*c m"], size: int, *, gains: tuple[float, float] = (1.0, 1.0), inner: int = 0
) -> Intervals:
    """Intervals of the s eigenvalues of XᵀKX, from the descending eigenvalues of K.

    ``gains``: σ_min(X)² and ‖X‖², both 1 for orthonormal directions. ``inner``: inner dimension of the products that
    formed the kernels, where it exceeds m. ``size`` is between 1 and m.
    """
    points = eigenvalues.shape[-1]
    if not 1 <= size <= points:
        msg = f"`size` must be between 1 and the {points} eigenvalues given, got {size}."
        raise ValueError(msg)
    slack = _slack(eigenvalues, gains[1], max(inner, points), "interlacing" if gains == (1.0, 1.0) else "ostrowski")
    return Intervals(
        lower=gains[0] * eigenvalues[..., points - size :] - slack,
        upper=gains[1] * eigenvalues[..., :size] + slack,
        theorem="Poincaré separation" if gains == (1.0, 1.0) else "Ostrowski",
    )


def eigenvalues_from_trace(distilled: Float[Array, " s"], trace: float, *, size: int) -> Intervals:
    """Intervals of the s leading eigenvalues of K, from those of UᵀKU and tr K.

    λ_i(UᵀKU) ≤ λ_i(K) ≤ λ_i(UᵀKU) + (tr K − tr UᵀKU), as no term of Σ_{i≤s} λ_i(K) − λ_i(UᵀKU) is negative.
    ``size`` is N, the largest dimension of the products.
    """
    xp = arrays.namespace(distilled)
    slack = allowance("trace", arrays.epsilon(distilled), size, trace)
    missing = max(0.0, trace - float(xp.sum(distilled)))
    return Intervals(
        lower=xp.clip(distilled - slack, min=0),
        upper=distilled + missing + slack,
        theorem="Poincaré separation and traces",
    )


def lehmann(
    quotient: Float[Array, "*c r r"], residual: Float[Array, "*c n r"], rest: Float[Array, "*c"] | float
) -> Float[Array, "*c r"]:
    """Upper bounds of the r leading eigenvalues, from T, E and μ, in exact arithmetic; O(n·r² + r³)."""
    xp = arrays.namespace(quotient)
    r = quotient.shape[-1]
    _, factor = xp.linalg.qr(residual)
    eye = xp.eye(r, dtype=quotient.dtype, device=arrays.device_of(quotient))
    bottom = xp.broadcast_to(rest * eye if isinstance(rest, float) else rest[..., None, None] * eye, quotient.shape)
    above = xp.concat([(quotient + quotient.mT) / 2, factor.mT], axis=-1)
    below = xp.concat([factor, bottom], axis=-1)
    whole = xp.concat([above, below], axis=-2)
    return xp.flip(xp.linalg.eigvalsh(whole), axis=-1)[..., :r]


def leading_eigenvalues(
    quotient: Float[Array, "r r"],
    residual: Float[Array, "n r"],
    rest: float,
    *,
    trace: float,
    size: int,
    kind: Kind = "deterministic",
    confidence: float = 1.0,
) -> Intervals:
    """Intervals of the r leading eigenvalues of K from T, E, and μ = ``rest``; N = ``size``."""
    xp = arrays.namespace(quotient)
    ritz = xp.flip(xp.linalg.eigvalsh((quotient + quotient.mT) / 2), axis=0)
    missing = max(0.0, trace - float(xp.sum(ritz)))
    norm = float(ritz[0]) + min(rest, missing)
    slack = allowance("interlacing", arrays.epsilon(quotient), size, norm)
    # No Ritz value falls short of its eigenvalue by more than the trace that is left.
    upper = ritz + missing
    if math.isfinite(rest):
        upper = xp.minimum(upper, lehmann(quotient, residual, float(rest)))
    return Intervals(
        lower=xp.clip(ritz - slack, min=0),
        upper=upper + slack,
        theorem="Ritz values and Lehmann's bound",
        kind=kind,
        confidence=confidence,
    )


def eigenvalue_intervals(values: Widened, start: Float[Array, "n r"], *, failure: float, seed: int) -> Intervals:
    """Intervals of the r leading eigenvalues, from a start that the approximation suggests.

    One step of subspace iteration, Ritz values, and a bound on the rest of the kernel by block Lanczos or by its trace,
    whichever is less: about (2r + 40) · 4·n·C·k operations.
    """
    xp = arrays.namespace(start)
    c, n, k = values.shape
    multiply = mean_kernel(values)
    basis, _ = xp.linalg.qr(start)
    for _ in range(_PASSES):
        basis, _ = xp.linalg.qr(unit_columns(multiply(basis)))
    image = multiply(basis)
    quotient = basis.mT @ image
    residual = image - basis @ quotient
    trace = float(xp.sum(values.squares)) / c
    left = max(0.0, trace - float(xp.sum(xp.linalg.diagonal(quotient))))
    rounding = allowance("interlacing", arrays.epsilon(start), max(n, k), trace)
    rest, confidence = left + rounding, 1.0
    kind: Kind = "deterministic"
    if basis.shape[1] < n and left > rounding:
        probes = gaussian_probes(n, _BLOCK, seed=seed, stream="certificate-rest", like=start)
        found = semidefinite_norm(
            deflated(multiply, basis), probes, steps=_STEPS, confidence=1 - failure, rounding=rounding
        )
        if float(found) < rest:
            rest, confidence, kind = float(found), found.confidence, found.kind
    return leading_eigenvalues(quotient, residual, rest, trace=trace, size=max(n, k), kind=kind, confidence=confidence)


def suggested_start(scores: Float[Array, "c n s"], width: int, *, seed: int) -> Float[Array, "n r"]:
    """Random combinations of the scores ΨBᵀ of a span: a sample of the range of its kernel."""
    xp = arrays.namespace(scores)
    c, n, s = scores.shape
    width = min(width, n)
    mix = gaussian_probes(c * s, width, seed=seed, stream="certificate-start", like=scores)
    block = xp.sum(scores @ xp.reshape(mix, (c, s, width)), axis=0)
    noise = gaussian_probes(n, width, seed=seed, stream="certificate-noise", like=scores)
    # Where the span has fewer dimensions than are asked for, noise fills the rest.
    largest = xp.max(xp.abs(block))
    return block / xp.where(largest > 0, largest, xp.ones_like(largest)) + 1e-3 * noise


def _slack(eigenvalues: Float[Array, "*c m"], gain: float, size: int, constant: str) -> float:
    xp = arrays.namespace(eigenvalues)
    return allowance(constant, arrays.epsilon(eigenvalues), size, gain * float(xp.max(xp.abs(eigenvalues))))
