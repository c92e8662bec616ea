"""Krylov directions of the targets: kernel partial least squares."""

import dataclasses
from collections.abc import Sequence

from jaxtyping import Float

from dntk import arrays
from dntk._checks import check_seed, keep, positive_integer
from dntk._progress import Task, task
from dntk._target_checks import check_targets
from dntk.distill.gradients._by_chunks import distilled_by_chunks, goes_by_chunks
from dntk.distill.gradients.base import check_size, require_kernel
from dntk.distill.gradients.orthonormal import REDUNDANT, extended, normalised, remainder
from dntk.distilled_gradients import DistilledGradients, coverage_spectra, distil_along
from dntk.features import TangentFeatures
from dntk.ledger import count
from dntk.types import Array

_WIDE_BYTES = 2**28


@dataclasses.dataclass(frozen=True)
class Krylov:
    """The directions of kernel partial least squares: span{y, Ky, …, K^{s−1}y} for every output.

    The regression distilled on them is s steps of conjugate gradients for every ridge at once, so that its error
    falls like 2((√κ − 1)/(√κ + 1))^s, κ = (‖K‖ + λ)/λ, and no ridge has to be known. Directions that all outputs share
    are those of PLS2 on K̄, a block Krylov space: each is the combination of what the scores so far leave of the
    targets that the kernel answers most, u = (I − TTᵀ)Y q, with q the leading eigenvector of Yᵀ(I − TTᵀ)K̄(I − TTᵀ)Y.
    For one output both are the same. Where the space is exhausted (targets in few eigenvectors, or zero), leading
    eigenvectors follow. Equivalent to the weights of scikit-learn's ``PLSRegression(s, scale=False)`` on centred
    features (Wold; Rosipal and Trejo 2001).

    Parameters
    ----------
    size
        Number s of synthetic gradients.
    per_output
        A Krylov space of each output's own target and kernel, or one of all targets and K̄.
    seed
        Of the randomized eigensolver that measures the coverage beyond a few thousand points.

    Notes
    -----
    O(m·C·k) a direction (shared: times C), no (m, m) array. In float64 where the device has it. Stored features go by
    chunks as those of :class:`Principal`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(2, 40, 8))), rng.normal(size=(40, 2))
    >>> grads = dntk.distill.gradients.Krylov(9).distill(phi, y)
    >>> grads.values.shape, grads.directions.shape
    ((2, 9, 8), (2, 40, 9))
    >>> few = dntk.solve.ridge(grads, ridge=1.0)  # nine steps of conjugate gradients
    >>> whole = dntk.solve.ridge(phi, y, ridge=1.0)  # eigenvalues of the kernel: eight, and 0
    >>> np.allclose(few.predict(phi), whole.predict(phi))
    True
    """

    size: int
    per_output: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        keep(self, size=positive_integer("size", self.size), seed=check_seed(self.seed))

    def distill(self, phi: TangentFeatures, targets: Float[Array, "m c"]) -> DistilledGradients:
        """Synthetic gradients along the Krylov directions.

        Raises
        ------
        ValueError
            More gradients than points, zero features, or targets of another shape.
        """
        if goes_by_chunks(phi, self.size, per_output=self.per_output):
            return distilled_by_chunks(self, phi, targets, per_output=self.per_output)
        check_size(self.size, phi)
        require_kernel(phi)
        y = check_targets(targets, phi.values, points=len(phi), outputs=phi.n_outputs)
        spectra = coverage_spectra(phi, per_output=self.per_output, size=self.size, seed=self.seed)
        xp = arrays.namespace(y)
        wide = xp.astype(y, spectra[1].dtype, copy=False)
        parts = [phi.values[c, :, :] for c in range(phi.n_outputs)]
        repeated = len(parts) if self.per_output else 1
        with task("directions", total=repeated * self.size, unit="directions") as bar:
            if self.per_output:
                each = [
                    _directions([part], wide[:, c : c + 1], (spectra[0][c, :], spectra[1][c, :, : self.size]), bar)
                    for c, part in enumerate(parts)
                ]
                directions = xp.stack(each)
            else:
                directions = _directions(parts, wide, (spectra[0], spectra[1][:, : self.size]), bar)
        return distil_along(phi, y, directions, spectra=spectra)


def _directions(
    parts: Sequence[Float[Array, "m k"]], targets: Float[Array, "m q"], spectrum: tuple[Array, Array], bar: Task
) -> Float[Array, "m s"]:
    """Directions of kernel PLS with the kernel K = Σ FFᵀ/q over ``parts``, filled up with the eigenvectors."""
    xp = arrays.namespace(targets)
    values, vectors = spectrum
    m, size = vectors.shape
    parts = _widened(parts, targets)
    smallest = max(REDUNDANT**2, m * arrays.epsilon(targets))  # of ‖Ku‖/‖K‖: below it there is no gradient
    # Squares of the images of tiny features would underflow.
    unit_kernel = 1 / xp.where(values[0] > 0, values[0], xp.ones_like(values[0]))
    slots = xp.arange(size, device=arrays.device_of(targets))[None, None, :]
    directions = xp.zeros((1, m, size), dtype=targets.dtype, device=arrays.device_of(targets))
    scores = directions
    largest = xp.max(xp.abs(targets))
    left = (targets / xp.where(largest > 0, largest, xp.ones_like(largest)))[None, :, :]
    first = xp.sqrt(xp.sum(left * left))
    for step in bar.over(range(size)):
        answers = unit_kernel * _image(parts, left[0, :, :])[None, :, :]
        _, mixes = xp.linalg.eigh(_symmetric(left.mT @ answers))
        column = left @ mixes[..., -1:]
        unit, norm = normalised(column)
        direction, share = remainder(directions, unit)
        score, kept = remainder(scores, answers @ mixes[..., -1:])
        # What is left of the targets, or their image, may be rounding only: then the space is exhausted.
        image = xp.sqrt(xp.sum((answers @ mixes[..., -1:]) ** 2))
        sound = (norm[0, 0, 0] > REDUNDANT * first) & (image > smallest * norm[0, 0, 0]) & (kept[0] > REDUNDANT)
        directions = xp.where((slots == step) & sound & (share[0] > REDUNDANT), direction, directions)
        scores = xp.where((slots == step) & sound, score, scores)
        left = left - scores @ (scores.mT @ left)
    count(flops=4 * size * m * sum(part.shape[1] for part in parts) * targets.shape[1])
    return extended(directions[:, :, :0], xp.concat([directions, vectors[None, :, :]], axis=2), size)[0, :, :]


def _widened(parts: Sequence[Array], like: Array) -> Sequence[Array]:
    """The parts in the dtype of ``like`` where a copy of all of them is small; else products are in their own."""
    xp = arrays.namespace(like)
    entries = sum(part.shape[0] * part.shape[1] for part in parts)
    return [xp.astype(part, like.dtype, copy=False) for part in parts] if 8 * entries <= _WIDE_BYTES else parts


def _image(parts: Sequence[Float[Array, "m k"]], columns: Float[Array, "m q"]) -> Float[Array, "m q"]:
    """Products with the mean of the parts' Gram matrices."""
    xp = arrays.namespace(columns)
    narrow = xp.astype(columns, parts[0].dtype, copy=False)
    total = xp.zeros_like(columns)
    for part in parts:
        total = total + xp.astype(part @ (part.T @ narrow), columns.dtype, copy=False)
    return total / len(parts)


def _symmetric(matrix: Float[Array, "*g q q"]) -> Float[Array, "*g q q"]:
    return (matrix + matrix.mT) / 2
