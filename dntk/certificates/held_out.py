"""How much of the gradients of points that were not kept lies outside the span that was, from a sample of them.

For values in [0, 1] with mean μ, drawn independently or without replacement, the mean μ̂ of q draws obeys

    P(μ̂ ≤ μ − t) ≤ exp(−q KL(μ̂ ‖ μ)),   KL(a ‖ b) = a ln(a/b) + (1 − a) ln((1 − a)/(1 − b)),

and the same above: the ends of the interval are the means at which q KL(μ̂ ‖ μ) = ln(2/δ). It is Chernoff's bound for
coins, never wider than Hoeffding's μ̂ ± √(ln(2/δ)/2q), and as narrow as Bernstein's where few gradients are outside.

Source: Hoeffding 1963, theorem 1 (2.1) and section 6 (without replacement).
"""

import dataclasses
import math
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from dntk import arrays
from dntk.backend import backend_of
from dntk.bounds import Intervals, check_confidence
from dntk.certificates.certificate import Certificate
from dntk.certificates.rounding import allowance
from dntk.features import TangentFeatures, tangent_features
from dntk.ledger import count_product
from dntk.models.base import Model
from dntk.outputs.inputs import take_points
from dntk.random import uniforms
from dntk.types import Array

LEAST, MOST = 64, 512
"""Points of a sample at least and at most."""
SHARE = 0.2
"""Share of the fit's Jacobian rows that a sample may cost beyond the least."""


def tangent_residual(phi: TangentFeatures, basis: Float[Array, "c s k"]) -> Float[Array, " n"]:
    """Σ_c‖(I − Π_c)ψ_c(x)‖² / Σ_c‖ψ_c(x)‖² per point, in [0, 1]; 0 for points whose features are zero."""
    xp = arrays.namespace(phi.values)
    total = xp.sum(phi.values**2, axis=(0, 2))
    count_product(phi.values, basis.mT)
    inside = xp.sum((phi.values @ basis.mT) ** 2, axis=(0, 2))
    ratio = 1 - inside / xp.where(total > 0, total, xp.ones_like(total))
    return xp.where(total > 0, xp.clip(ratio, min=0, max=1), xp.zeros_like(ratio))


def sampled_mean(
    sample: Float[Array, " q"], population: int, *, confidence: float, rounding: float = 0.0, what: str = "points"
) -> Intervals:
    """Interval (1,) of the mean over a ``population`` of values in [0, 1], from a sample drawn uniformly from it.

    A sample of the whole population gives its mean, up to ``rounding``; a smaller one Hoeffding's interval.

    Raises
    ------
    ValueError
        The sample is empty, larger than the population, or leaves [0, 1]; ``confidence`` is not between 0 and 1.
    """
    values = np.asarray(backend_of(sample).to_numpy(sample), dtype=np.float64)
    count = len(values)
    if not 1 <= count <= population:
        msg = f"`sample` has {count} values, expected 1 to the population's {population}."
        raise ValueError(msg)
    if not np.all((values >= 0) & (values <= 1)):
        msg = f"`sample` has values from {values.min():.3g} to {values.max():.3g}: expected values in [0, 1]."
        raise ValueError(msg)
    check_confidence(confidence)
    mean = float(np.mean(values))
    whole = count == population
    lower, upper = (mean, mean) if whole else _ends(mean, math.log(2 / (1 - confidence)) / count)
    xp = arrays.namespace(sample)
    place = {"dtype": arrays.accumulation_dtype(sample), "device": arrays.device_of(sample)}
    return Intervals(
        lower=xp.asarray([max(0.0, lower - rounding)], **place),
        upper=xp.asarray([min(1.0, upper + rounding)], **place),
        theorem=f"mean {mean:.2%} of all {count} {what}"
        if whole
        else f"sampled: mean {mean:.2%} of {count} of {population} {what}; Hoeffding 1963",
        kind="deterministic" if whole else "probabilistic",
        confidence=1.0 if whole else confidence,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeldOut:
    """A sample of the points that were not kept, whose features are computed when they are asked for."""

    model: Model
    x: Array
    population: int

    @staticmethod
    def of(model: Model, x: Array, kept: Int[Array, " m"] | None, *, rows: int, seed: int) -> "HeldOut | None":
        """A uniform sample of the points that are not among the ``kept`` positions (None: of all); None without any.

        It has so many points that it costs a fifth of ``rows`` Jacobian rows, but at least 64 and at most 512.
        """
        taken = np.ones(x.shape[0], dtype=bool)
        if kept is not None:
            taken[np.asarray(backend_of(kept).to_numpy(kept))] = False
        rest = np.flatnonzero(taken)
        if not len(rest):
            return None
        size = max(LEAST, min(MOST, int(SHARE * rows) // model.n_outputs))
        order = np.argsort(uniforms(seed=seed, stream="certificate-held-out", count=len(rest)), kind="stable")
        chosen = np.sort(rest[order[:size]])
        places = model.namespace.asarray(chosen.tolist(), device=model.device)
        return HeldOut(model=model, x=take_points(x, places), population=len(rest))

    def residual(self, basis: Float[Array, "c s k"], sketch: Any, *, confidence: float) -> Intervals:
        """Interval of the mean tangent residual over the points that were not kept; one Jacobian of the sample."""
        phi = tangent_features(self.model, self.x, sketch=sketch)
        found = tangent_residual(phi, basis)
        rounding = allowance("trace residual", arrays.epsilon(found), max(phi.dim, basis.shape[1]), 1.0)
        return sampled_mean(
            found, self.population, confidence=confidence, rounding=rounding, what="points that were not kept"
        )


def with_held_out(
    certificate: Certificate, held_out: HeldOut | None, basis: Float[Array, "c s k"], sketch: Any, *, confidence: float
) -> Certificate:
    """The certificate with the interval of the mean tangent residual of points that were not kept, if there are any."""
    if held_out is None:
        return certificate
    return dataclasses.replace(certificate, held_out_residual=held_out.residual(basis, sketch, confidence=confidence))


def _ends(mean: float, budget: float) -> tuple[float, float]:
    """Least and largest μ with KL(mean ‖ μ) ≤ budget, by bisection, rounded outwards."""
    return 1 - _upper(1 - mean, budget), _upper(mean, budget)


def _upper(mean: float, budget: float) -> float:
    low, high = mean, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _divergence(mean, middle) <= budget:
            low = middle
        else:
            high = middle
    return high


def _divergence(a: float, b: float) -> float:
    """KL of coins."""
    if b <= 0 or b >= 1:
        return 0.0 if a == b else math.inf
    first = a * math.log(a / b) if a > 0 else 0.0
    return first + ((1 - a) * math.log((1 - a) / (1 - b)) if a < 1 else 0.0)
