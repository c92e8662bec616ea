"""Eigenpairs of the mean kernel, globally and in clusters of the points."""

import dataclasses

from jaxtyping import Float, Int

from dntk import arrays
from dntk.distill.gradients._clustering import spectral_clusters
from dntk.features import TangentFeatures
from dntk.spectrum.eigen import leading_eigenpairs
from dntk.spectrum.holding import eigenpairs_holding, held_by, traces
from dntk.spectrum.randomized import OVERSAMPLING, randomized_eigenpairs
from dntk.types import Array

_ALL_POINTS = 2048  # up to here all eigenpairs: one dense factorisation is cheaper than several passes
_FIRST_WIDTH = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Leading eigenpairs of K̄ of some features, and what the rest of the algorithm may ask of them.

    Parameters
    ----------
    phi
        The features.
    values, vectors
        Descending eigenvalues and orthonormal eigenvectors.
    total
        tr K̄, of which the eigenvalues that are known may be a part.
    variance, most
        Share of the trace that the eigenpairs hold, or their greatest number, in clusters too.
    """

    phi: TangentFeatures
    values: Float[Array, " r"]
    vectors: Float[Array, "m r"]
    total: float
    variance: float
    most: int | None

    @staticmethod
    def of(
        phi: TangentFeatures, variance: float, most: int | None, known: tuple[Array, Array] | None = None
    ) -> "Spectrum":
        """All eigenpairs up to a few thousand points, as many as hold the variance beyond."""
        points = len(phi)
        if known is None and points <= _ALL_POINTS:
            known = leading_eigenpairs(phi.joined(), points)
        if known is not None and known[0].shape[0] == points:
            total = held_by(known[0])[0]
        else:
            total = traces(phi)[0]
            known = eigenpairs_holding(phi, variance, first=min(_FIRST_WIDTH, most or points), last=most or points)
        return Spectrum(phi=phi, values=known[0], vectors=known[1], total=total, variance=variance, most=most)

    @property
    def complete(self) -> bool:
        """Whether all eigenpairs are known."""
        return self.values.shape[0] == len(self.phi)

    @property
    def ample(self) -> bool:
        """Whether the eigenpairs suffice to measure coverage on, as they hold 95% of the trace."""
        return self.complete or held_by(self.values)[0] >= 0.95 * self.total

    @property
    def pairs(self) -> tuple[Array, Array]:
        """Eigenvalues and eigenvectors."""
        return self.values, self.vectors

    def points(self) -> TangentFeatures:
        """Features with the Gram matrix K̄: Q√Λ, of m columns in place of C·k, where all eigenpairs are known."""
        if not self.complete:
            return self.phi
        return TangentFeatures(self.vectors * arrays.namespace(self.values).sqrt(self.values))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Partition:
    """Clusters of the points, each with leading eigenpairs of its block of K̄, lifted to all points.

    Parameters
    ----------
    labels
        Cluster of every point.
    values, vectors
        Eigenpairs of each cluster that has points; vectors are zero outside it.
    totals
        Trace of each block.
    """

    labels: Int[Array, " m"]
    values: tuple[Float[Array, " _"], ...]
    vectors: tuple[Float[Array, "m _"], ...]
    totals: tuple[float, ...]

    @staticmethod
    def of(spectrum: Spectrum, clusters: int, seed: int) -> "Partition":
        """Spectral clusters with their eigenpairs; of one cluster they are the global ones."""
        if clusters == 1:
            return Partition._whole(spectrum)
        points = spectrum.points()
        labels = spectral_clusters(points, clusters, seed=seed)
        xp = arrays.namespace(labels)
        values, vectors, totals = [], [], []
        for cluster in range(int(xp.max(labels)) + 1):
            inside = labels == cluster
            if not bool(xp.any(inside)):
                continue
            block = points[inside]
            pairs, total = _eigenpairs(block, spectrum)
            values.append(pairs[0])
            vectors.append(_lifted(pairs[1], inside))
            totals.append(total)
        return Partition(
            labels=labels,
            values=tuple(values),
            vectors=tuple(vectors),
            totals=tuple(totals),
        )

    @staticmethod
    def _whole(spectrum: Spectrum) -> "Partition":
        """One cluster: its eigenvectors are the global ones, the same where eigenvalues are equal."""
        xp, m = arrays.namespace(spectrum.vectors), len(spectrum.phi)
        place = arrays.device_of(spectrum.vectors)
        return Partition(
            labels=xp.zeros(m, dtype=xp.arange(1, device=place).dtype, device=place),
            values=(spectrum.values,),
            vectors=(spectrum.vectors,),
            totals=(spectrum.total,),
        )


def _eigenpairs(block: TangentFeatures, spectrum: Spectrum) -> tuple[tuple[Array, Array], float]:
    """Eigenpairs of one block of K̄, and its trace: all where all global ones are known, or else what is asked."""
    m = len(block)
    if spectrum.complete:
        pairs = leading_eigenpairs(block.joined(), m)
        return pairs, held_by(pairs[0])[0]
    total, c = traces(block)[0], block.n_outputs
    most = min(m, spectrum.most or m)
    width = min(_FIRST_WIDTH, most)
    while True:
        if 4 * (width + OVERSAMPLING) <= min(m, c * block.dim):
            parts = [block.values[i, :, :] for i in range(c)]
            values, vectors = randomized_eigenpairs(parts, width, seed=0)
            pairs = values / c, vectors
        else:
            pairs = leading_eigenpairs(block.joined(), width)
        if width >= most or held_by(pairs[0])[0] >= spectrum.variance * total:
            return pairs, total
        width = min(2 * width, most)


def _lifted(vectors: Float[Array, "b r"], inside: Array) -> Float[Array, "m r"]:
    """Rows of a cluster's eigenvectors at its points, zero rows elsewhere."""
    xp = arrays.namespace(vectors)
    place, b = arrays.device_of(vectors), vectors.shape[0]
    position = xp.cumulative_sum(xp.astype(inside, xp.arange(1, device=place).dtype)) - 1
    padded = xp.concat([vectors, xp.zeros((1, vectors.shape[1]), dtype=vectors.dtype, device=place)], axis=0)
    return xp.take(padded, xp.where(inside, position, xp.full_like(position, b)), axis=0)
