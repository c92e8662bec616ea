"""Local-global gradient distillation: the paper's Algorithm 1 (arXiv 2602.11320)."""

import dataclasses

from jaxtyping import Float, Int

from dntk import arrays
from dntk._checks import check_seed, keep, positive_integer, share
from dntk.distill.gradients.base import check_size, require_kernel
from dntk.distill.gradients.partition import Partition, Spectrum
from dntk.distilled_gradients import DistilledGradients, distil_along
from dntk.features import TangentFeatures
from dntk.spectrum._coverage import coverage as energy_coverage
from dntk.types import Array

_REDUNDANT = 1e-6  # relative size below which what is left of a gap column is rounding


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalGlobalDiagnosis:
    """What Algorithm 1 saw.

    Parameters
    ----------
    labels
        Cluster of every point.
    local_ranks
        Number r_h of eigenvectors kept in each cluster.
    global_rank
        r_g, the number of global eigenvectors that hold the asked share of the variance.
    local_coverage
        Energy coverage of each of them by the local eigenvectors, (r_g,).
    local_gap
        Share of their eigenvalues that the local eigenvectors miss (the paper's coverage gap, in energy form).
    gap
        Which of them were added because their coverage was below the threshold.
    local_directions
        The local eigenvectors, zero outside their cluster, cluster after cluster, (m, Σ r_h).
    """

    labels: Int[Array, " m"]
    local_ranks: tuple[int, ...]
    global_rank: int
    local_coverage: Float[Array, " r"]
    local_gap: float
    gap: tuple[int, ...]
    local_directions: Float[Array, "m a"]


@dataclasses.dataclass(frozen=True)
class LocalGlobal:
    """Eigenvectors of spectral clusters of the points, and the global eigenvectors that those miss.

    Points are clustered with the mean kernel K̄ as adjacency (negative similarities count as none); each cluster gives
    the leading eigenvectors of its own block, zero elsewhere; global eigenvectors whose energy coverage
    Σ_h ‖U_hᵀu_j[I_h]‖² stays below a threshold are added, orthonormalised against the rest. With one cluster this is
    :class:`Principal` with the rank that the variance asks for.

    Parameters
    ----------
    variance
        τ_v, share of the variance that eigenvectors are kept for, in clusters and globally.
    coverage
        τ_g, coverage below which a global eigenvector is added.
    clusters
        H; ``None``: as many as outputs. Never more than points.
    size
        A budget: lower ``variance`` until at most this many directions remain, with fewer clusters where even one
        per cluster is too many. ``None``: s follows from the thresholds.
    seed
        Of the clustering.

    Notes
    -----
    Up to 2,048 points all eigenvectors by dense factorisations, O(m²·C·k + m³). Beyond, as many as hold the variance,
    globally and in every cluster, by randomized iteration on the features, and clusters by Nyström's extension from
    512 landmarks (:mod:`dntk.distill.gradients._clustering`): O(m·C·k·r), no (m, m) array.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(2, 40, 8))), rng.normal(size=(40, 2))
    >>> distiller = dntk.distill.gradients.LocalGlobal(variance=0.9, clusters=2, size=12)
    >>> grads = distiller.distill(phi, y)
    >>> grads.size <= 12, grads.values.shape == (2, grads.size, 8)
    (True, True)
    >>> len(distiller.diagnose(phi).local_ranks)  # clusters
    2
    """

    variance: float = 0.95
    coverage: float = 0.9
    clusters: int | None = None
    size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("variance", self.variance), ("coverage", self.coverage)):
            keep(self, **{name: share(name, value, what="in (0, 1]", one=True)})
        for name in ("clusters", "size"):
            if getattr(self, name) is not None:
                keep(self, **{name: positive_integer(name, getattr(self, name))})
        keep(self, seed=check_seed(self.seed))

    def distill(
        self, phi: TangentFeatures, targets: Float[Array, "m c"], *, spectra: tuple[Array, Array] | None = None
    ) -> DistilledGradients:
        """Synthetic gradients along the local and gap directions.

        ``spectra``: all eigenvalues and eigenvectors of K̄ where they are known, from
        ``dntk.spectrum.leading_eigenpairs(phi.joined(), len(phi))``; a search over configurations needs them once
        (:class:`LocalGlobalSearch` does so).

        Raises
        ------
        ValueError
            A budget larger than the number of points, zero features, or targets of another shape.
        """
        return self.distill_in(self.spectrum(phi, spectra), targets, {})

    def diagnose(self, phi: TangentFeatures) -> LocalGlobalDiagnosis:
        """Clusters, ranks and coverage that lead to the directions."""
        return self._plan(self.spectrum(phi), {})[1]

    def spectrum(self, phi: TangentFeatures, known: tuple[Array, Array] | None = None) -> Spectrum:
        """Eigenpairs of K̄ that this configuration needs; of another they are enough if its thresholds are no higher.

        Raises
        ------
        ValueError
            A budget larger than the number of points, or zero features.
        """
        require_kernel(phi)
        if self.size is not None:
            check_size(self.size, phi)
        # One more than the budget, so that a rank beyond it is seen to be.
        return Spectrum.of(phi, self.variance, None if self.size is None else self.size + 1, known)

    def distill_in(
        self, spectrum: Spectrum, targets: Float[Array, "m c"], partitions: dict[int, Partition]
    ) -> DistilledGradients:
        """As :meth:`distill`, with eigenpairs from :meth:`spectrum` and clusters that were found before.

        ``partitions`` by number of clusters: looked up, and filled.
        """
        directions, _ = self._plan(spectrum, partitions)
        return distil_along(spectrum.phi, targets, directions, spectra=spectrum.pairs if spectrum.ample else None)

    def _plan(
        self, spectrum: Spectrum, partitions: dict[int, Partition]
    ) -> tuple[Float[Array, "m s"], LocalGlobalDiagnosis]:
        points = len(spectrum.phi)
        clusters = min(self.clusters or spectrum.phi.n_outputs, points, self.size or points)
        while True:
            if clusters not in partitions:
                partitions[clusters] = Partition.of(spectrum, clusters, self.seed)
            if self.size is None:
                ranks = _ranks(spectrum, partitions[clusters], self.variance)
                return _directions(spectrum, partitions[clusters], *ranks, self.coverage)
            found = _within_budget(spectrum, partitions[clusters], self.variance, self.coverage, self.size)
            if found is not None:
                return found
            clusters -= 1  # one direction per cluster and the gaps do not fit: use fewer clusters


def _rank(values: Float[Array, " r"], variance: float, total: float) -> int:
    """Least r whose values hold the share ``variance`` of the trace, at least 1; all where those known do not."""
    xp = arrays.namespace(values)
    held = xp.cumulative_sum(values)
    needed = variance * total * (1 - values.shape[0] * arrays.epsilon(values))
    return min(values.shape[0], int(xp.sum(xp.astype(held < needed, xp.int32))) + 1)


def _ranks(spectrum: Spectrum, partition: Partition, variance: float) -> tuple[int, tuple[int, ...]]:
    """Global rank and local ranks that hold the variance."""
    ranks = tuple(_rank(v, variance, t) for v, t in zip(partition.values, partition.totals, strict=True))
    return _rank(spectrum.values, variance, spectrum.total), ranks


def _directions(
    spectrum: Spectrum, partition: Partition, rank: int, ranks: tuple[int, ...], threshold: float
) -> tuple[Float[Array, "m s"], LocalGlobalDiagnosis]:
    xp = arrays.namespace(spectrum.vectors)
    leading_values, leading = spectrum.values[:rank], spectrum.vectors[:, :rank]
    local = xp.concat([u[:, :r] for u, r in zip(partition.vectors, ranks, strict=True)], axis=1)
    covered = energy_coverage(leading, local)
    gap = tuple(j for j in range(rank) if float(covered[j]) < threshold)
    diagnosis = LocalGlobalDiagnosis(
        labels=partition.labels,
        local_ranks=ranks,
        global_rank=rank,
        local_coverage=covered,
        local_gap=max(0.0, 1 - float(xp.sum(leading_values * covered)) / float(xp.sum(leading_values))),
        gap=gap,
        local_directions=local,
    )
    if not gap:
        return local, diagnosis
    return xp.concat([local, _new_directions(local, xp.stack([leading[:, j] for j in gap], axis=1))], axis=1), diagnosis


def _new_directions(local: Float[Array, "m a"], columns: Float[Array, "m b"]) -> Float[Array, "m _"]:
    """Orthonormal basis of what the columns add to the span of ``local``; redundant ones drop out."""
    xp = arrays.namespace(local, columns)
    rest = columns - local @ (local.T @ columns)
    rest = rest - local @ (local.T @ rest)
    left, singular, _ = xp.linalg.svd(rest, full_matrices=False)
    kept = int(xp.sum(xp.astype(singular > _REDUNDANT, xp.int32)))
    basis = left[:, :kept]
    return basis - local @ (local.T @ basis)


def _within_budget(
    spectrum: Spectrum, partition: Partition, variance: float, threshold: float, size: int
) -> tuple[Float[Array, "m s"], LocalGlobalDiagnosis] | None:
    """The largest number of directions up to ``size`` over 65 thresholds up to ``variance``; None if all exceed it.

    The last threshold, zero, asks for one direction per cluster, which one cluster can always afford.
    """
    best, last = None, None
    for step in range(64, -1, -1):
        rank, ranks = _ranks(spectrum, partition, variance * step / 64)
        if sum(ranks) > size or (rank, ranks) == last:
            continue
        last = (rank, ranks)
        found = _directions(spectrum, partition, rank, ranks, threshold)
        count = found[0].shape[1]
        if count <= size and (best is None or count > best[0].shape[1]):
            best = found
        if best is not None and best[0].shape[1] == size:
            break
    return best
