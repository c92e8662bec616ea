"""Inner products of a look-up table's gradients with those of a linear map in the same weight.

Row ids_it of the table receives g_it, the linear map's gradient is Σ_s b_js ⊗ a_js, so that their inner product is
Σ_{t,s} b_js[ids_it] ⟨g_it, a_js⟩: no gradient of the whole weight is formed. Positions without a row have no
cotangent, and whatever they are multiplied with does not matter.
"""

from collections.abc import Iterator
from typing import Any

from jaxtyping import Float

from dntk.arrays import namespace, spans
from dntk.backend import backend_of
from dntk.ledger import count
from dntk.types import Array


def mixed_gram(table: Any, linear: Any) -> Float[Array, "q n1 n2"]:
    """Inner products functional by functional, some inputs of the table at a time."""
    xp = namespace(table.cotangents)

    def over_positions(similar: Array, chosen: Array) -> Array:
        return xp.sum(xp.sum(similar * chosen, axis=4), axis=2)

    tiles = [over_positions(similar, chosen) for similar, chosen in _tiles(table, linear)]
    return xp.concat(tiles, axis=1)


def mixed_cross_gram(table: Any, linear: Any) -> Float[Array, "q n1 r n2"]:
    """Inner products of every pair of functionals."""
    xp = namespace(table.cotangents)

    def over_positions(similar: Array, chosen: Array) -> Array:
        (q, i, t, j, s), r = similar.shape, chosen.shape[0]
        mine = xp.reshape(xp.permute_dims(similar, (1, 3, 0, 2, 4)), (i, j, q, t * s))
        theirs = xp.reshape(xp.permute_dims(chosen, (1, 3, 2, 4, 0)), (i, j, t * s, r))
        return xp.permute_dims(mine @ theirs, (2, 0, 3, 1))

    tiles = [over_positions(similar, chosen) for similar, chosen in _tiles(table, linear)]
    return xp.concat(tiles, axis=1)


def _tiles(table: Any, linear: Any) -> Iterator[tuple[Float[Array, "q i t j s"], Float[Array, "r i t j s"]]]:
    """⟨g_it, a_js⟩ and b_js[ids_it], tile by tile of the table's inputs."""
    xp = namespace(table.cotangents)
    (q, n1, t, b), (r, n2, s, _) = table.cotangents.shape, linear.cotangents.shape
    rows = xp.where(table.ids >= 0, table.ids, xp.zeros_like(table.ids))
    activations = xp.reshape(linear.inputs, (n2 * s, b))
    entries = backend_of(activations).working_set(activations)
    for start, stop in spans(n1, max(1, entries // max(1, max(q, r) * t * n2 * s))):
        i = stop - start
        values = xp.reshape(table.cotangents[:, start:stop, :, :], (q * i * t, b))
        count(flops=2 * q * i * t * n2 * s * b)
        similar = xp.reshape(backend_of(values).inner(values, activations), (q, i, t, n2, s))
        chosen = xp.take(linear.cotangents, xp.reshape(rows[start:stop, :], (i * t,)), axis=3)
        yield similar, xp.permute_dims(xp.reshape(chosen, (r, n2, s, i, t)), (0, 3, 4, 1, 2))
