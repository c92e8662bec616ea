"""Local-global gradient distillation: the paper's Algorithm 1 (arXiv 2602.11320)."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from dntk import arrays
from dntk.backend import backend_of
from dntk.distill.gradients.base import check_size, require_kernel
from dntk.distilled_gradients import DistilledGradients, distil_along
from dntk.features import TangentFeatures
from dntk.random import check_seed
from dntk.spectrum.coverage import coverage as energy_coverage
from dntk.spectrum.eigen import leading_eigenpairs
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
    """

    labels: Int[Array, " m"]
    local_ranks: tuple[int, ...]
    global_rank: int
    local_coverage: Float[Array, " r"]
    local_gap: float
    gap: tuple[int, ...]


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
    Spectral clustering is done on the host: the (m, m) kernel is copied there. Cost O(m²·C·k + m³).
    """

    variance: float = 0.95
    coverage: float = 0.9
    clusters: int | None = None
    size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (("variance", self.variance), ("coverage", self.coverage)):
            if not 0 < value <= 1:
                msg = f"`{name}` must be in (0, 1], got {value}."
                raise ValueError(msg)
        if self.clusters is not None and self.clusters < 1:
            msg = f"`clusters` must be at least 1, got {self.clusters}."
            raise ValueError(msg)
        check_seed(self.seed)

    def distill(
        self, phi: TangentFeatures, targets: Float[Array, "m c"], *, spectra: tuple[Array, Array] | None = None
    ) -> DistilledGradients:
        """Synthetic gradients along the local and gap directions.

        ``spectra``: all eigenvalues and eigenvectors of K̄ where they are known, from
        ``dntk.spectrum.leading_eigenpairs(phi.joined(), len(phi))``; a search over configurations needs them once.

        Raises
        ------
        ValueError
            A budget larger than the number of points, zero features, or targets of another shape.
        """
        directions, _, spectra = self._plan(phi, spectra)
        return distil_along(phi, targets, directions, spectra=spectra)

    def diagnose(self, phi: TangentFeatures) -> LocalGlobalDiagnosis:
        """Clusters, ranks and coverage that lead to the directions."""
        return self._plan(phi, None)[1]

    def _plan(
        self, phi: TangentFeatures, known: tuple[Array, Array] | None
    ) -> tuple[Float[Array, "m s"], LocalGlobalDiagnosis, tuple[Array, Array]]:
        require_kernel(phi)
        points = len(phi)
        if self.size is not None:
            check_size(self.size, points)
        spectra = known if known is not None else leading_eigenpairs(phi.joined(), points)
        # Q√Λ has the Gram matrix of the features at m columns in place of C·k.
        root = spectra[1] * arrays.namespace(spectra[0]).sqrt(spectra[0])
        clusters = min(self.clusters or phi.n_outputs, points, self.size or points)
        while True:
            partition = _Partition.of(root, clusters, self.seed) if clusters > 1 else _Partition.whole(spectra)
            if self.size is None:
                found: tuple[Array, LocalGlobalDiagnosis] | None = _directions(
                    spectra, partition, self.variance, self.coverage
                )
            else:
                found = _within_budget(spectra, partition, self.variance, self.coverage, self.size)
            if found is not None:
                return *found, spectra
            clusters -= 1  # one direction per cluster and the gaps do not fit: use fewer clusters


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Partition:
    """Clusters of the points, each with the eigenpairs of its block of K̄ lifted to all points."""

    labels: Int[Array, " m"]
    values: tuple[Float[Array, " _"], ...]
    vectors: tuple[Float[Array, "m _"], ...]

    @staticmethod
    def whole(spectra: tuple[Array, Array]) -> "_Partition":
        """One cluster: its eigenvectors are the global ones, the same where eigenvalues are equal."""
        values, vectors = spectra
        place = arrays.device_of(vectors)
        labels = backend_of(vectors).from_numpy(np.zeros(vectors.shape[0], dtype=np.int64), device=place)
        return _Partition(labels=labels, values=(values,), vectors=(vectors,))

    @staticmethod
    def of(root: Float[Array, "m d"], clusters: int, seed: int) -> "_Partition":
        labels = _cluster(root, clusters, seed)
        xp = arrays.namespace(root)
        positions = xp.arange(root.shape[0], device=arrays.device_of(root))
        values, vectors = [], []
        for cluster in range(int(xp.max(labels)) + 1):
            members = xp.nonzero(labels == cluster)[0]
            if members.shape[0]:
                v, u = leading_eigenpairs(xp.take(root, members, axis=0), members.shape[0])
                values.append(v)
                vectors.append(xp.astype(positions[:, None] == members, u.dtype) @ u)
        return _Partition(labels=labels, values=tuple(values), vectors=tuple(vectors))


def _cluster(root: Float[Array, "m d"], clusters: int, seed: int) -> Int[Array, " m"]:
    backend, place = backend_of(root), arrays.device_of(root)
    if root.shape[0] <= clusters:
        return backend.from_numpy(np.arange(root.shape[0]), device=place)
    import warnings

    from scipy.linalg import eigh
    from scipy.sparse import csgraph
    from sklearn.cluster import k_means

    kernel = np.asarray(backend.to_numpy(root @ root.T), dtype=np.float64)
    affinity = np.maximum((kernel + kernel.T) / 2, 0)
    # Scikit-learn's SpectralClustering takes these vectors from ARPACK, which restarts from random numbers that no
    # seed reaches where eigenvalues are equal, as in graphs of several pieces.
    laplacian, roots = csgraph.laplacian(affinity / affinity.max(), normed=True, return_diag=True)
    _, vectors = eigh(laplacian, subset_by_index=(0, clusters - 1))
    with warnings.catch_warnings():
        # Duplicates may fill fewer clusters: no fault.
        warnings.filterwarnings("ignore", message="Number of distinct clusters")
        _, found, _ = k_means(vectors / roots[:, None], clusters, n_init=10, random_state=seed % 2**32)
    return backend.from_numpy(found.astype(np.int64), device=place)


def _rank(values: Float[Array, " r"], variance: float) -> int:
    """Least r whose values hold the share ``variance`` of their sum, at least 1."""
    xp = arrays.namespace(values)
    held = xp.cumulative_sum(values)
    needed = variance * float(held[-1]) * (1 - values.shape[0] * arrays.epsilon(values))
    return min(values.shape[0], int(xp.sum(xp.astype(held < needed, xp.int32))) + 1)


def _directions(
    spectra: tuple[Array, Array], partition: _Partition, variance: float, threshold: float
) -> tuple[Float[Array, "m s"], LocalGlobalDiagnosis]:
    xp = arrays.namespace(spectra[1])
    rank = _rank(spectra[0], variance)
    leading_values, leading = spectra[0][:rank], spectra[1][:, :rank]
    ranks = tuple(_rank(v, variance) for v in partition.values)
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
    spectra: tuple[Array, Array], partition: _Partition, variance: float, threshold: float, size: int
) -> tuple[Float[Array, "m s"], LocalGlobalDiagnosis] | None:
    """The largest number of directions up to ``size`` over 65 thresholds up to ``variance``; None if all exceed it.

    The last threshold, zero, asks for one direction per cluster, which one cluster can always afford.
    """
    best = None
    for step in range(64, -1, -1):
        found = _directions(spectra, partition, variance * step / 64, threshold)
        count = found[0].shape[1]
        if count <= size and (best is None or count > best[0].shape[1]):
            best = found
        if best is not None and best[0].shape[1] == size:
            break
    return best
