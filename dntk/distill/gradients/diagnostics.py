"""How low the rank of every output's kernel is, and how much of it directions cover: the paper's Figures 2 and 4."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk.distill.gradients.local_global import LocalGlobal, LocalGlobalDiagnosis
from dntk.distilled_gradients import DistilledGradients, coverage_spectra
from dntk.features import TangentFeatures
from dntk.spectrum._coverage import coverage, largest_coverage, weighted_gap
from dntk.spectrum.holding import held_by, traces
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class CoverageCurve:
    """Coverage of leading eigenvectors by a span of directions, of the mean kernel or of every output's.

    Parameters
    ----------
    eigenvalues
        Descending, (r,) or (C, r).
    covered
        Energy c_j = ‖Uᵀu_j‖² of every eigenvector, in [0, 1]; 1 − c_j is its squared residual.
    gap
        Eigenvalue-weighted share that is missed of the first 1, 2, …, r eigenvectors.
    """

    eigenvalues: Float[Array, "*c r"]
    covered: Float[Array, "*c r"]
    gap: Float[Array, "*c r"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LowRank:
    """Property A, per output: the spectrum of K^c, and the truncation rank that holds all but ε of its trace.

    Parameters
    ----------
    epsilon
        Share of the trace that may be missed.
    ranks
        r_ε(K^c) of every output; where more than 2,048 points let only leading eigenvalues be known and these do not
        suffice, their number.
    eigenvalues
        Descending, (C, r).
    """

    epsilon: float
    ranks: tuple[int, ...]
    eigenvalues: Float[Array, "c r"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CoverageGaps:
    """Property B: what the eigenvectors of clusters miss of the leading global ones, up to the truncation rank.

    Parameters
    ----------
    mean
        Coverage gap of K̄ in energy form, 1 − Σ λ_j c_j/Σ λ_j.
    each
        The same of every output's K^c by the same local directions.
    mean_largest, each_largest
        With max_h ‖U_hᵀu_j[I_h]‖²/‖u_j[I_h]‖² in place of c_j, the paper's other reading; never a larger gap, and
        possibly none where one per cent is covered.
    diagnosis
        Clusters and local directions.
    """

    mean: float
    each: tuple[float, ...]
    mean_largest: float
    each_largest: tuple[float, ...]
    diagnosis: LocalGlobalDiagnosis


def coverage_curve(phi: TangentFeatures, grads: DistilledGradients, size: int | None = None) -> CoverageCurve:
    """Coverage of the leading ``size`` eigenvectors (default: all that are known) by the directions of ``grads``.

    Shared directions are held against K̄, per-class ones each against its K^c. O(m·s·r) and the eigenpairs.

    Raises
    ------
    ValueError
        The features have another number of points than the directions.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(2, 40, 8))), rng.normal(size=(40, 2))
    >>> grads = dntk.distill.gradients.Principal(3).distill(phi, y)
    >>> curve = dntk.distill.gradients.coverage_curve(phi, grads, size=5)
    >>> np.abs(curve.covered.round(6)).tolist(), bool(curve.gap[4] > 0)
    ([1.0, 1.0, 1.0, 0.0, 0.0], True)
    """
    u = grads.directions
    if u.shape[-2] != len(phi):
        msg = f"`grads` was distilled from {u.shape[-2]} points, but `phi` has {len(phi)}: pass the same features."
        raise ValueError(msg)
    xp = arrays.require_same_place(features=phi.values, directions=u)
    values, vectors = coverage_spectra(phi, per_output=u.ndim == 3, size=size or u.shape[-1])
    size = min(size or values.shape[-1], values.shape[-1])
    values, vectors = values[..., :size], vectors[..., :size]
    covered = coverage(vectors, xp.astype(u, vectors.dtype, copy=False))
    total = xp.cumulative_sum(values, axis=-1)
    missed = 1 - xp.cumulative_sum(values * covered, axis=-1) / xp.where(total > 0, total, xp.ones_like(total))
    gap = xp.where(total > 0, xp.clip(missed, min=0, max=1), xp.zeros_like(missed))
    return CoverageCurve(eigenvalues=values, covered=covered, gap=gap)


def low_rank(phi: TangentFeatures, epsilon: float = 0.05) -> LowRank:
    """Property A of every output's kernel (the paper's Figure 2).

    Raises
    ------
    ValueError
        ``epsilon`` is not in [0, 1).

    Examples
    --------
    >>> phi = dntk.TangentFeatures(np.stack([np.diag([9.0, 3.0, 1.0]), np.eye(3)]))
    >>> dntk.distill.gradients.low_rank(phi, epsilon=0.05).ranks  # 81 + 9 of 91, 1 + 1 + 1
    (2, 3)
    """
    if not 0 <= epsilon < 1:
        msg = f"`epsilon` must be in [0, 1), got {epsilon}."
        raise ValueError(msg)
    values, _ = coverage_spectra(phi, per_output=True, size=1)
    return LowRank(epsilon=epsilon, ranks=_ranks(values, phi, epsilon, per_output=True), eigenvalues=values)


def coverage_gaps(phi: TangentFeatures, distiller: LocalGlobal, epsilon: float = 0.05) -> CoverageGaps:
    """Property B of the mean kernel and of every output's (the paper's Figure 4), in both forms.

    The local directions are those of ``distiller``: its clusters, and in each the eigenvectors up to its variance.

    Raises
    ------
    ValueError
        ``epsilon`` is not in [0, 1), or as :meth:`LocalGlobal.diagnose`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi = dntk.TangentFeatures(rng.normal(size=(2, 40, 8)))
    >>> distiller = dntk.distill.gradients.LocalGlobal(clusters=2)
    >>> gaps = dntk.distill.gradients.coverage_gaps(phi, distiller)
    >>> 0 <= gaps.mean_largest <= gaps.mean <= 1, len(gaps.each)
    (True, 2)
    """
    ranks = low_rank(phi, epsilon).ranks
    found = distiller.diagnose(phi)
    own = coverage_spectra(phi, per_output=True, size=1)
    mean = coverage_spectra(phi, per_output=False, size=1)
    rank = _ranks(mean[0][None, :], phi, epsilon, per_output=False)[0]
    whole, whole_largest = _gaps(mean[0][:rank], mean[1][:, :rank], found)
    pairs = [_gaps(own[0][c, :r], own[1][c, :, :r], found) for c, r in enumerate(ranks)]
    return CoverageGaps(
        mean=whole,
        each=tuple(energy for energy, _ in pairs),
        mean_largest=whole_largest,
        each_largest=tuple(largest for _, largest in pairs),
        diagnosis=found,
    )


def largest_local_coverage(vectors: Float[Array, "m r"], found: LocalGlobalDiagnosis) -> Float[Array, " r"]:
    """Coverage of eigenvectors by the local directions in the paper's other form, see ``spectrum.largest_coverage``."""
    xp = arrays.namespace(vectors)
    place = arrays.device_of(vectors)
    kinds = [c for c in range(int(xp.max(found.labels)) + 1) if bool(xp.any(found.labels == c))]
    members = xp.stack([xp.astype(found.labels == c, vectors.dtype) for c in kinds], axis=1)
    identity = xp.eye(len(kinds), dtype=vectors.dtype, device=place)
    columns = xp.concat(
        [xp.broadcast_to(identity[i : i + 1, :], (r, len(kinds))) for i, r in enumerate(found.local_ranks)], axis=0
    )
    local = xp.astype(found.local_directions, vectors.dtype, copy=False)
    return largest_coverage(vectors, local, columns, members)


def _gaps(values: Float[Array, " r"], vectors: Float[Array, "m r"], found: LocalGlobalDiagnosis) -> tuple[float, float]:
    """Gap in energy form and in the other."""
    xp = arrays.namespace(vectors)
    local = xp.astype(found.local_directions, vectors.dtype, copy=False)
    largest = largest_local_coverage(vectors, found)
    return weighted_gap(values, coverage(vectors, local)), weighted_gap(values, largest)


def _ranks(values: Float[Array, "g r"], phi: TangentFeatures, epsilon: float, *, per_output: bool) -> tuple[int, ...]:
    """Truncation ranks against the whole trace, which eigenvalues that are not known belong to; 0 of a zero kernel."""
    xp = arrays.namespace(values)
    complete = values.shape[1] == len(phi)
    totals = held_by(values) if complete else traces(phi, per_output=per_output)
    found = []
    for c, total in enumerate(totals):
        needed = (1 - epsilon) * total * (1 - values.shape[1] * arrays.epsilon(values))
        least = int(xp.sum(xp.astype(xp.cumulative_sum(values[c, :]) < needed, xp.int32))) + 1
        found.append(min(least, values.shape[1]) if total > 0 else 0)
    return tuple(found)
