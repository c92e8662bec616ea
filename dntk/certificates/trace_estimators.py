"""Traces of functions of operators that can only be multiplied with: XTrace and Hutch++.

Both combine the exact trace on a random subspace with an estimate on the rest. XTrace (Epperly, Tropp and Webber 2024)
leaves out each probe in turn, which makes it exchangeable and gives its own standard error; it needs 2q products.
Hutch++ (Meyer, Musco, Musco and Woodruff 2021) needs q, in thirds. Neither is needed for tr R of features, whose
diagonal is free. The errors are estimates, not bounds.
"""

import dataclasses
import math

from jaxtyping import Float

from dntk import arrays
from dntk.certificates.norm_estimators import Multiply, gaussian_probes
from dntk.types import Array


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
    """Trace of A from a third of the products for a range, a third for the trace on it, and a third for the rest."""
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
