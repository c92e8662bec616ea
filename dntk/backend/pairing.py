"""Σ_t g_qitᵀ W_q a_it: gradients of linear maps, times given matrices, without the gradients."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float

from dntk.arrays import namespace
from dntk.backend.registry import backend_of
from dntk.types import Array


@runtime_checkable
class PairingBackend(Protocol):
    """A backend that has a way of its own to such products, as one that can see how its arrays lie in memory."""

    def paired(self, cotangents: Array, matrices: Array, inputs: Array) -> Array:
        """Σ_t g_qitᵀ W_q a_it (q, n), for cotangents (q, n, t, b), matrices (q, b, a) and activations (n, t, a)."""


def paired(
    cotangents: Float[Array, "q n t b"], matrices: Float[Array, "q b a"], inputs: Float[Array, "n t a"]
) -> Float[Array, "q n"]:
    """Σ_t g_qitᵀ W_q a_it; O(q·n·t·a·b), and q·n·t·b entries of memory.

    By the backend's own way where it has one (:class:`PairingBackend`), else by the images W_q a_it of all activations
    in one product.

    Parameters
    ----------
    cotangents, matrices, inputs
        Of one library, dtype and device, which are the result's.
    """
    backend = backend_of(inputs)
    if isinstance(backend, PairingBackend):
        return backend.paired(cotangents, matrices, inputs)
    return by_images(cotangents, matrices, inputs)


def by_images(
    cotangents: Float[Array, "q n t b"], matrices: Float[Array, "q b a"], inputs: Float[Array, "n t a"]
) -> Float[Array, "q n"]:
    """The same by one product of all activations with all matrices; what a backend's own way falls back on."""
    xp = namespace(cotangents, matrices, inputs)
    (q, n, t, b), a = cotangents.shape, inputs.shape[2]
    rows = xp.reshape(inputs, (n * t, a))
    images = backend_of(rows).inner(rows, xp.reshape(matrices, (q * b, a)))
    images = xp.reshape(images, (n, t, q, b))
    return xp.sum(images * xp.permute_dims(cotangents, (1, 2, 0, 3)), axis=(1, 3)).T
