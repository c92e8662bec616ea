"""How much of the gradients of points that were not used lies outside the span that was kept, from a sample of them.

The points are training points that were not kept, a finite population drawn from without replacement, or unseen ones,
draws from a distribution. Their tangent residuals are in [0, 1]; the ends of the interval of the mean are those of
:mod:`dntk.certificates.betting`, each at half of the failure probability. They follow the variance of the sample.

Source: Waudby-Smith and Ramdas 2024.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from dntk import arrays
from dntk.backend import backend_of
from dntk.bounds import Intervals, check_confidence
from dntk.certificates.betting import Draws, lower_end, upper_end
from dntk.certificates.certificate import Certificate
from dntk.certificates.rounding import allowance
from dntk.features import TangentFeatures, tangent_features
from dntk.ledger import count_product
from dntk.models import batches
from dntk.models.base import Model
from dntk.random import uniforms
from dntk.types import Array

LEAST, MOST = 256, 512
"""Points of a certificate's sample at least and at most."""
FEW = 64
"""Points of a sample that only measures."""
SHARE = 0.2
"""Share of the fit's Jacobian rows that a sample may cost beyond the least."""


def tangent_residual(
    phi: TangentFeatures, basis: Float[Array, "g s k"], *, normalised: bool = True
) -> Float[Array, " n"]:
    """Σ_c‖(I − Π_c)ψ_c(x)‖² / Σ_c‖ψ_c(x)‖² per point, in [0, 1]; 0 for points whose features are zero.

    Not ``normalised``: the numerator alone, which grows with the length of a gradient, too.

    Examples
    --------
    >>> basis = np.eye(3)[None, :2, :]  # keeps the first two of three coordinates
    >>> phi = dntk.TangentFeatures(np.array([[1.0, 2, 0], [0, 3, 4], [0, 0, 1]]))
    >>> dntk.certificates.tangent_residual(phi, basis).round(6).tolist()
    [0.0, 0.64, 1.0]
    """
    xp = arrays.namespace(phi.values)
    largest = xp.max(xp.abs(phi.values), axis=(0, 2), keepdims=True)
    values = phi.values / xp.where(largest > 0, largest, xp.ones_like(largest))  # squares stay in range
    total = xp.sum(values**2, axis=(0, 2))
    count_product(values, basis.mT)
    inside = xp.sum((values @ basis.mT) ** 2, axis=(0, 2))
    ratio = 1 - inside / xp.where(total > 0, total, xp.ones_like(total))
    share = xp.where(total > 0, xp.clip(ratio, min=0, max=1), xp.zeros_like(ratio))
    return share if normalised else share * total * largest[0, :, 0] ** 2


def sampled_mean(
    sample: Float[Array, " q"],
    population: int | None,
    *,
    confidence: float,
    rounding: float = 0.0,
    what: str = "points",
    seed: int = 0,
) -> Intervals:
    """Interval (1,) of the mean over a ``population`` of values in [0, 1], from a sample drawn uniformly from it.

    A sample of the whole population gives its mean, up to ``rounding``. ``None``: draws from a distribution, each
    independent of the others. ``seed``: of the order in which the sample is looked at, which may not depend on it.

    Raises
    ------
    ValueError
        The sample is empty, larger than the population, or leaves [0, 1]; ``confidence`` is not between 0 and 1.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> values = rng.uniform(size=10000)
    >>> low, high = dntk.certificates.sampled_mean(values[:500], 10000, confidence=0.99)
    >>> low.shape, bool(low[0] < values.mean() < high[0]), bool(high[0] - low[0] < 0.2)
    ((1,), True, True)
    """
    values = _checked(sample, population)
    check_confidence(confidence)
    count, mean = len(values), float(np.mean(values))
    whole = count == population
    lower, upper = (mean, mean) if whole else _ends(values, population, (1 - confidence) / 2, seed)
    xp = arrays.namespace(sample)
    place = {"dtype": arrays.accumulation_dtype(sample), "device": arrays.device_of(sample)}
    of = f"{count} {what}" if population is None else f"{count} of {population} {what}"
    return Intervals(
        lower=xp.asarray([max(0.0, lower - rounding)], **place),
        upper=xp.asarray([min(1.0, upper + rounding)], **place),
        theorem=f"mean {mean:.2%} of all {count} {what}"
        if whole
        else f"sampled: mean {mean:.2%} of {of}; Waudby-Smith and Ramdas 2024",
        kind="deterministic" if whole else "probabilistic",
        confidence=1.0 if whole else confidence,
    )


def _checked(sample: Float[Array, " q"], population: int | None) -> np.ndarray:
    values = np.asarray(backend_of(sample).to_numpy(sample), dtype=np.float64)
    count = len(values)
    if not 1 <= count <= (count if population is None else population):
        most = "" if population is None else f" to the population's {population}"
        msg = f"`sample` has {count} values, expected 1{most or ' or more'}."
        raise ValueError(msg)
    if not np.all((values >= 0) & (values <= 1)):
        msg = f"`sample` has values from {values.min():.3g} to {values.max():.3g}: expected values in [0, 1]."
        raise ValueError(msg)
    return values


def _ends(values: np.ndarray, population: int | None, failure: float, seed: int) -> tuple[float, float]:
    """Both ends, each but for the failure probability; the sample is put in random order, as a bet has to be."""
    order = np.argsort(uniforms(stream="sampled-mean", seed=seed, count=len(values)), kind="stable")
    shares = np.full(len(values), 0.0 if population is None else 1 / population)
    draws = Draws(part=values[order], whole=np.ones(len(values)), shares=shares)
    return lower_end(draws, failure), upper_end(draws, failure)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DroppedPoints:
    """A sample of the points that were not kept, whose features are computed when they are asked for.

    They keep to ``memory_limit`` as :func:`dntk.tangent_features` does.
    """

    model: Model
    x: Array
    population: int
    memory_limit: int | None = None

    @staticmethod
    def of(
        model: Model, x: Array, kept: Int[Array, " m"] | None, *, rows: int, seed: int, least: int = LEAST
    ) -> "DroppedPoints | None":
        """A uniform sample of the points that are not among the ``kept`` positions (None: of all); None without any.

        It has so many points that it costs a fifth of ``rows`` Jacobian rows, but at least ``least`` and at most 512.
        Up to twice as many points are all taken.
        """
        taken = np.ones(batches.count(x), dtype=bool)
        if kept is not None:
            taken[np.asarray(backend_of(kept).to_numpy(kept))] = False
        rest = np.flatnonzero(taken)
        if not len(rest):
            return None
        size = max(least, min(MOST, int(SHARE * rows) // model.n_outputs))
        size = len(rest) if len(rest) <= 2 * size else size
        order = np.argsort(uniforms(seed=seed, stream="certificate-dropped", count=len(rest)), kind="stable")
        chosen = np.sort(rest[order[:size]])
        places = model.namespace.asarray(chosen.tolist(), device=model.device)
        return DroppedPoints(model=model, x=batches.take(x, places), population=len(rest))

    def residual(self, basis: Float[Array, "c s k"], sketch: Any, *, confidence: float) -> Intervals:
        """Interval of the mean tangent residual over the points that were not kept; one Jacobian of the sample."""
        phi = tangent_features(self.model, self.x, sketch=sketch, memory_limit=self.memory_limit)
        found = tangent_residual(phi, basis)
        rounding = allowance("trace residual", arrays.epsilon(found), max(phi.dim, basis.shape[1]), 1.0)
        return sampled_mean(
            found, self.population, confidence=confidence, rounding=rounding, what="points that were not kept"
        )


def with_dropped(
    certificate: Certificate,
    dropped: DroppedPoints | None,
    basis: Float[Array, "c s k"],
    sketch: Any,
    *,
    confidence: float,
) -> Certificate:
    """The certificate with the interval of the mean tangent residual of points that were not kept, if there are any."""
    if dropped is None:
        return certificate
    return dataclasses.replace(certificate, dropped_residual=dropped.residual(basis, sketch, confidence=confidence))
