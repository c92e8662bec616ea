"""Orthonormal directions from candidates, some of which may be redundant."""

from jaxtyping import Float

from dntk import arrays
from dntk.types import Array

REDUNDANT = 1e-6
"""Share of a candidate outside the span of the others below which it is rounding, not a direction."""


def extended(kept: Float[Array, "g m a"], candidates: Float[Array, "g m b"], size: int) -> Float[Array, "g m s"]:
    """Orthonormal ``kept``, then the first candidates that add to the span, ``size`` in all (groups independently).

    Gram-Schmidt twice ("twice is enough", Parlett). Zero columns remain where the candidates do not suffice.
    O(m·size) a candidate; nothing waits for the device.
    """
    xp = arrays.namespace(kept, candidates)
    groups, m, a = kept.shape
    place, dtype = arrays.device_of(kept), kept.dtype
    # One shape throughout, which compiling libraries need to be fast; empty columns are zero and remove nothing.
    basis = xp.concat([kept, xp.zeros((groups, m, size - a), dtype=dtype, device=place)], axis=2)
    slots = xp.arange(size, device=place)
    filled = xp.full((groups,), a, dtype=slots.dtype, device=place)
    for j in range(candidates.shape[2]):
        # An index as data: compiling libraries would compile a slice for every j.
        column = xp.take(candidates, xp.asarray([j], device=place), axis=2)
        new, share = remainder(basis, column)
        accepted = (share > REDUNDANT) & (filled < size)
        here = (slots[None, :] == filled[:, None]) & accepted[:, None]
        basis = xp.where(here[:, None, :], new, basis)
        filled = filled + xp.astype(accepted, filled.dtype)
    return basis


def remainder(basis: Float[Array, "g m s"], column: Float[Array, "g m 1"]) -> tuple[Array, Float[Array, " g"]]:
    """Unit vector of what a column adds to the span of an orthonormal basis, and its share of the column's norm."""
    xp = arrays.namespace(basis, column)
    unit, _ = normalised(column)
    rest = unit - basis @ (basis.mT @ unit)
    rest = rest - basis @ (basis.mT @ rest)  # the first pass leaves rounding times the part removed
    direction, share = normalised(rest)
    return direction, xp.reshape(share, (share.shape[0],))


def normalised(columns: Float[Array, "g m b"]) -> tuple[Float[Array, "g m b"], Float[Array, "g 1 b"]]:
    """Columns of unit norm, and their norms; zero columns stay. Scaled first: squares could leave the dtype's range."""
    xp = arrays.namespace(columns)
    largest = xp.max(xp.abs(columns), axis=1, keepdims=True)
    scaled = columns / xp.where(largest > 0, largest, xp.ones_like(largest))
    norm = xp.sqrt(xp.sum(scaled * scaled, axis=1, keepdims=True))
    return scaled / xp.where(norm > 0, norm, xp.ones_like(norm)), norm * largest


def compressed(candidates: Float[Array, "g m b"], images: Float[Array, "g m b"], size: int) -> Float[Array, "g m s"]:
    """Combinations of the columns α_b that keep most of Σ_b ‖α_b‖²_A, given the images A α_b.

    With G = αᵀAα and its leading eigenvectors V, the combinations αV: principal components in the norm in which
    Galerkin solutions err.
    """
    xp = arrays.namespace(candidates, images)
    if candidates.shape[2] <= size:
        return candidates
    gram = candidates.mT @ images
    values, vectors = xp.linalg.eigh((gram + gram.mT) / 2)
    # Of dependent candidates the last combinations are rounding, which normalising would turn into directions.
    sound = values > REDUNDANT**2 * values[..., -1:]
    kept = xp.where(sound[..., None, :], vectors, xp.zeros_like(vectors))
    return candidates @ xp.flip(kept, axis=-1)[..., :size]
