"""How much of the leading eigenvectors a set of directions covers."""

from jaxtyping import Float

from dntk import arrays
from dntk.features import TangentFeatures, require_kernel_of
from dntk.spectrum.eigen import leading_eigenpairs
from dntk.spectrum.rank import truncation_rank
from dntk.types import Array


def coverage(vectors: Float[Array, "*c m r"], directions: Float[Array, "*c m s"]) -> Float[Array, "*c r"]:
    """Energy c_j = ‖Uᵀu_j‖² in [0, 1] of each vector u_j inside the span of orthonormal directions U.

    1 − c_j is the squared residual of u_j. For directions that live on clusters it is Σ_h ‖U_hᵀ u_j[I_h]‖², unlike the
    maximum over clusters of normalised shares, which can report 1 where one per cent is covered.

    Examples
    --------
    >>> directions = np.eye(4)[:, :2]
    >>> vectors = np.stack([[1.0, 0, 0, 0], [0.6, 0, 0.8, 0]], axis=1)
    >>> dntk.spectrum.coverage(vectors, directions).round(6).tolist()  # 0.6² of the second
    [1.0, 0.36]
    """
    xp = arrays.require_same_place(vectors=vectors, directions=directions)
    for name, value in (("vectors", vectors), ("directions", directions)):
        _require_columns(name, value)
    if vectors.ndim != directions.ndim or vectors.shape[:-1] != directions.shape[:-1]:
        shapes = f"`vectors` has shape {tuple(vectors.shape)}, `directions` {tuple(directions.shape)}"
        msg = f"{shapes}: pass columns of the same points, (m, r) and (m, s)."
        raise ValueError(msg)
    vectors, directions = arrays.widened(vectors), arrays.widened(directions)
    if vectors.dtype != directions.dtype:
        vectors, directions = arrays.in_float64(vectors), arrays.in_float64(directions)
    return xp.clip(xp.sum((directions.mT @ vectors) ** 2, axis=-2), min=0, max=1)


def largest_coverage(
    vectors: Float[Array, "m r"],
    local: Float[Array, "m a"],
    columns: Float[Array, "a h"],
    members: Float[Array, "m h"],
) -> Float[Array, " r"]:
    """max_h ‖U_hᵀu_j[I_h]‖²/‖u_j[I_h]‖² for directions that live on clusters, the paper's other reading of coverage.

    For comparison only: it says how well the cluster that fares best is covered, whatever share of u_j it holds. A
    vector with a trace of its energy in a cluster that is spanned whole counts as covered.

    Parameters
    ----------
    vectors
        Orthonormal global eigenvectors u_j.
    local
        Orthonormal directions, each zero outside one cluster.
    columns, members
        Indicators of the clusters, of the directions and of the points.

    Examples
    --------
    >>> members, columns = np.repeat(np.eye(2), 2, axis=0), np.array([[1.0, 0.0]])
    >>> local = np.eye(4)[:, :1]  # the first cluster's only direction
    >>> vector = np.array([[0.1], [0], [0.99**0.5], [0]])  # a hundredth of it is covered
    >>> dntk.spectrum.largest_coverage(vector, local, columns, members).round(6).tolist()
    [1.0]
    >>> dntk.spectrum.coverage(vector, local).round(6).tolist()
    [0.01]
    """
    xp = arrays.namespace(vectors, local)
    inside = columns.T @ (local.T @ vectors) ** 2
    whole = members.T @ vectors**2
    # A share of rounding says nothing: clusters that hold none of the vector are left out.
    held = whole > vectors.shape[0] * arrays.epsilon(vectors) ** 2
    shares = xp.where(held, inside / xp.where(held, whole, xp.ones_like(whole)), xp.zeros_like(whole))
    return xp.clip(xp.max(shares, axis=0), min=0, max=1)


def coverage_gap(features: TangentFeatures, directions: Float[Array, "m s"], epsilon: float = 0.05) -> float:
    """Share of the leading eigenvalues of K̄, up to its truncation rank, that the directions miss.

    1 − Σ_{j≤r} λ_j c_j / Σ_{j≤r} λ_j with r = r_ε(K̄), in [0, 1]; 0 for a zero kernel.

    Raises
    ------
    ValueError
        The directions have another number of rows than there are points.

    Examples
    --------
    >>> phi = dntk.TangentFeatures(np.diag([2.0, 1.0, 1.0]))  # eigenvalues 4, 1, 1
    >>> float(round(dntk.spectrum.coverage_gap(phi, np.eye(3)[:, :1]), 6))  # misses 2 of 6
    0.333333
    """
    require_kernel_of("features", features)
    xp = arrays.require_same_place(features=features.values, directions=directions)
    _require_columns("directions", directions)
    if directions.ndim != 2 or directions.shape[0] != len(features):
        msg = f"`directions` has shape {tuple(directions.shape)}: expected ({len(features)}, s), a row per point."
        raise ValueError(msg)
    values, vectors = leading_eigenpairs(features.joined(), len(features))
    rank = truncation_rank(values, epsilon)
    return weighted_gap(values[:rank], coverage(vectors[:, :rank], xp.astype(directions, vectors.dtype, copy=False)))


def weighted_gap(values: Float[Array, "*c r"], covered: Float[Array, "*c r"]) -> float:
    """Share of Σ λ_j that is not covered; 0 where nothing is there to cover."""
    xp = arrays.namespace(values, covered)
    total = float(xp.sum(values))
    return 0.0 if total <= 0 else min(1.0, max(0.0, 1 - float(xp.sum(values * covered)) / total))


def _require_columns(name: str, value: Array) -> None:
    """Raise unless these are columns of finite numbers, one at least."""
    arrays.require_floating(name, value)
    if value.ndim not in (2, 3) or 0 in value.shape:
        msg = f"`{name}` has shape {tuple(value.shape)}: expected one row per point and at least one column."
        raise ValueError(msg)
    arrays.require_finite(name, value)
