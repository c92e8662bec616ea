"""As many leading eigenpairs as hold a share of the trace."""

from jaxtyping import Float

from dntk import arrays
from dntk.features import TangentFeatures, require_kernel_of
from dntk.spectrum.eigen import leading_eigenpairs, mean_eigenpairs
from dntk.types import Array


def eigenpairs_holding(
    phi: TangentFeatures, share: float, *, first: int, last: int, per_output: bool = False, seed: int = 0
) -> tuple[Float[Array, "*c r"], Float[Array, "*c n r"]]:
    """Leading eigenpairs of K̄, or of every K^c, that hold ``share`` of the trace, within ``first`` and ``last``.

    The trace needs no eigenvalues. Their number is doubled until they suffice, so that the cost is that of at most
    twice as many: O(n·C·k·r), see :func:`dntk.spectrum.leading_eigenpairs`.

    Examples
    --------
    >>> phi = dntk.TangentFeatures(np.diag([3.0, 1.0, 1.0, 1.0]))  # eigenvalues 9, 1, 1, 1
    >>> values, vectors = dntk.spectrum.eigenpairs_holding(phi, 0.7, first=1, last=4)
    >>> values.shape, vectors.shape, bool(values.sum() >= 0.7 * 12)
    ((1,), (4, 1), True)
    """
    require_kernel_of("phi", phi)
    totals = traces(phi, per_output=per_output)
    last = min(max(first, last), len(phi))
    width = min(first, last)
    while True:
        if per_output:
            pairs = leading_eigenpairs(phi.values, width, seed=seed)
        else:
            pairs = mean_eigenpairs(phi, width, seed=seed)
        held = held_by(pairs[0])
        if width >= last or all(part >= share * total for part, total in zip(held, totals, strict=True)):
            return pairs
        width = min(2 * width, last)


def held_by(values: Float[Array, "*c r"]) -> list[float]:
    """Sum of the eigenvalues of every kernel."""
    sums = arrays.namespace(values).sum(values, axis=-1)
    return [float(sums)] if values.ndim == 1 else [float(sums[c]) for c in range(sums.shape[0])]


def traces(phi: TangentFeatures, *, per_output: bool = False) -> list[float]:
    """Trace of K^c of every output, or of K̄ alone."""
    xp = arrays.namespace(phi.values)
    scale = float(xp.max(xp.abs(phi.values))) or 1.0
    each = [energy * scale**2 for energy in energies(phi.values, scale)]
    return each if per_output else [sum(each) / len(each)]


def energies(features: Float[Array, "c n k"], scale: float) -> list[float]:
    """Σ (ψ/scale)² of every output, one after another so that no second copy of all features exists.

    Squares of rows in the features' own precision, added up in float64 where there is one.
    """
    xp = arrays.namespace(features)
    found = []
    for c in range(features.shape[0]):
        rows = xp.sum((features[c, :, :] / scale) ** 2, axis=1)
        found.append(float(xp.sum(arrays.in_float64(rows))))
    return found
