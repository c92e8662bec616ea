"""Intervals of the leading eigenvalues of a mean kernel, from a few products with it."""

from jaxtyping import Float

from dntk import arrays
from dntk.bounds import Intervals, Kind
from dntk.certificates.norm_estimators import gaussian_probes, semidefinite_norm
from dntk.certificates.products import deflated, mean_kernel
from dntk.certificates.ritz import leading_eigenvalues
from dntk.certificates.rounding import allowance
from dntk.types import Array

_BLOCK, _STEPS = 8, 5
_PASSES = 1


def eigenvalue_intervals(
    values: Float[Array, "c n k"], start: Float[Array, "n r"], *, failure: float, seed: int
) -> Intervals:
    """Intervals of the r leading eigenvalues, from a start that the approximation suggests.

    One step of subspace iteration, Ritz values, and a bound on the rest of the kernel by block Lanczos or by its trace,
    whichever is less: about (2r + 40) · 4·n·C·k operations.
    """
    xp = arrays.namespace(values)
    c, n, k = values.shape
    multiply = mean_kernel(values)
    basis, _ = xp.linalg.qr(start)
    for _ in range(_PASSES):
        basis, _ = xp.linalg.qr(_unit_columns(multiply(basis)))
    image = multiply(basis)
    quotient = basis.mT @ image
    residual = image - basis @ quotient
    trace = float(xp.sum(values**2)) / c
    left = max(0.0, trace - float(xp.sum(xp.linalg.diagonal(quotient))))
    rounding = allowance("interlacing", arrays.epsilon(values), max(n, k), trace)
    rest, confidence = left + rounding, 1.0
    kind: Kind = "deterministic"
    if basis.shape[1] < n and left > rounding:
        probes = gaussian_probes(n, _BLOCK, seed=seed, stream="certificate-rest", like=values)
        found = semidefinite_norm(deflated(multiply, basis), probes, steps=_STEPS, failure=failure, rounding=rounding)
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


def _unit_columns(block: Array) -> Array:
    xp = arrays.namespace(block)
    largest = xp.max(xp.abs(block), axis=0, keepdims=True)
    return block / xp.where(largest > 0, largest, xp.ones_like(largest))
