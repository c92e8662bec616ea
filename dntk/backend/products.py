"""What every backend makes of its library's plain product."""

import operator
from collections.abc import Callable

from jaxtyping import Float

from dntk.arrays import namespace
from dntk.types import Array


def expand(
    cotangents: Float[Array, "q n t b"],
    inputs: Float[Array, "n t a"],
    product: Callable[[Array, Array], Array] = operator.matmul,
) -> Float[Array, "q n ba"]:
    """Σ_t g_qit ⊗ a_it, flattened, by one product per input for all functionals at once."""
    xp = namespace(cotangents, inputs)
    (q, n, t, b), a = cotangents.shape, inputs.shape[2]
    rows = xp.reshape(xp.permute_dims(cotangents, (1, 0, 3, 2)), (n, q * b, t))
    return xp.permute_dims(xp.reshape(product(rows, inputs), (n, q, b * a)), (1, 0, 2))


def symmetric(product: Float[Array, "*batch n n"]) -> Float[Array, "*batch n n"]:
    """A Gram matrix symmetric to the last bit, from one of a general product, whose rounding need not be."""
    return (product + product.mT) / 2
