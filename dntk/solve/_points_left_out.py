"""Leave-one-out of points with several rows of a regression, which are left out together.

Where all outputs are one regression a point has C rows. Leaving out one of them keeps the others, which say much of
it: the error comes out too small, and the ridge with it. With S = λ(K + λI)⁻¹ and r = Sy the residuals of point i when
all its rows are left out are S_ii⁻¹ r_i, S_ii the block of the point (Allen 1974 for one row). Rows of an output stand
after those of another.
"""

from collections.abc import Iterator

from jaxtyping import Float

from dntk import arrays
from dntk.ledger import count
from dntk.types import Array

_ENTRIES = 2**22
"""Entries of the rows of points that are held at once."""


def of_points(rows: Float[Array, "g n k"], together: int) -> Float[Array, "g m t k"]:
    """Rows point by point."""
    g, n, k = rows.shape
    xp = arrays.namespace(rows)
    return xp.permute_dims(xp.reshape(rows, (g, together, n // together, k)), (0, 2, 1, 3))


def pieces_of_points(
    rows: Float[Array, "g n k"], other: Float[Array, "g n q"], together: int, most: int
) -> Iterator[tuple[Float[Array, "g b k"], Float[Array, "g b q"]]]:
    """Both, for at most so many rows at once, or for one point; no point is cut."""
    xp = arrays.namespace(rows)
    points = rows.shape[1] // together
    for start, stop in arrays.spans(points, max(1, most // together)):
        yield tuple(
            xp.reshape(
                xp.reshape(each, (each.shape[0], together, points, each.shape[2]))[:, :, start:stop, :],
                (each.shape[0], together * (stop - start), each.shape[2]),
            )
            for each in (rows, other)
        )


def left_out_with(
    smoother: Float[Array, "g m t t"], residual: Float[Array, "g m t q"], rounding: float
) -> Float[Array, "g m t q"]:
    """S_ii⁻¹ r_i of every point; of one that alone spans a direction S_ii is zero to ``rounding``."""
    xp = arrays.namespace(smoother)
    identity = xp.eye(smoother.shape[-1], dtype=smoother.dtype, device=arrays.device_of(smoother))
    found: Array = xp.linalg.solve(smoother + rounding * identity, residual)
    return found


def dual_errors_of_points(
    vectors: Float[Array, "g n n"], kept: Float[Array, "g n r"], residual: Float[Array, "g n q r"], together: int
) -> Float[Array, "g q r"]:
    """Mean squared residuals of points left out, from the eigenvectors of K and λ/(e + λ) of every ridge."""
    xp = arrays.namespace(vectors)
    g, n, q, r = residual.shape
    count(flops=2 * g * n * n * together * r)
    total = xp.zeros((g, q, r), dtype=vectors.dtype, device=arrays.device_of(vectors))
    flat = xp.reshape(residual, (g, n, q * r))
    for rows, own in pieces_of_points(vectors, flat, together, _ENTRIES // n):
        wide = of_points(rows, together)
        left = xp.reshape(of_points(own, together), (g, -1, together, q, r))
        parts = []
        for i in range(r):
            block = (wide * kept[:, None, None, :, i]) @ wide.mT
            found = left_out_with(block, left[:, :, :, :, i], arrays.epsilon(block))
            parts.append(xp.sum(found * found, axis=(1, 2)))
        total = total + xp.stack(parts, axis=2)
    return total / n


def primal_left_out_of_points(
    scores: Float[Array, "g b k"],
    inverse: Float[Array, "g k r"],
    residual: Float[Array, "g b q r"],
    together: int,
    rounding: float,
) -> Float[Array, "g b q r"]:
    """Residuals of points left out, by 1 − H_ii from the rows in the eigenvectors of ΦᵀΦ and 1/(e + λ) of every ridge.

    In the order of points, not of rows.
    """
    xp = arrays.namespace(scores)
    g, b, q, r = residual.shape
    wide = of_points(scores, together)
    left = xp.reshape(of_points(xp.reshape(residual, (g, b, q * r)), together), (g, -1, together, q, r))
    one = xp.eye(together, dtype=scores.dtype, device=arrays.device_of(scores))
    count(flops=2 * g * b * scores.shape[2] * together * r)
    parts = []
    for i in range(r):
        block = one - (wide * inverse[:, None, None, :, i]) @ wide.mT
        parts.append(xp.reshape(left_out_with(block, left[:, :, :, :, i], rounding), (g, b, q)))
    return xp.stack(parts, axis=3)


def dual_left_out_of_points(
    inverse: Float[Array, "g n n"], dual: Float[Array, "g n q"], together: int
) -> Float[Array, "g n q"]:
    """The same from L⁻¹, K + λI = L Lᵀ, and α = (K + λI)⁻¹y: the block of (K + λI)⁻¹, inverse, times α_i."""
    xp = arrays.namespace(inverse)
    g, n, q = dual.shape
    count(flops=2 * g * n * n * together)
    parts = []
    for rows, own in pieces_of_points(inverse.mT, dual, together, _ENTRIES // n):
        wide = of_points(rows, together)
        found = left_out_with(wide @ wide.mT, of_points(own, together), 0.0)
        parts.append(xp.reshape(found, (g, -1, q)))
    return xp.concat(parts, axis=1)
