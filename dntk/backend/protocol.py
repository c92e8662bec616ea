"""The backend protocol: what array namespaces lack, and the way from a network to a model."""

from typing import Any, Protocol, runtime_checkable

from dntk.types import Array, Namespace


@runtime_checkable
class Backend(Protocol):
    """What the array API standard lacks, and the way from a network to a model."""

    @property
    def name(self) -> str:
        """Root module of the namespace, for example ``"torch"``."""

    @property
    def version(self) -> str:
        """Version of the framework."""

    @property
    def autodiff(self) -> str:
        """What it differentiates, in words; empty where it cannot."""

    def devices(self) -> tuple[str, ...]:
        """Names of the devices that can be used here."""

    def namespace(self) -> Namespace:
        """The array-API namespace of this backend."""

    def to_numpy(self, x: Array) -> Any:
        """Copy to host memory, for reports, storage and host-only libraries."""

    def from_numpy(self, x: Any, *, device: Any = None) -> Array:
        """Array on ``device`` with the dtype and values of a NumPy array."""

    def from_dlpack(self, x: Any) -> Array:
        """Array over the memory of ``x``, an array of any library on a device of this one.

        It is a copy only where this library cannot use such memory: it must not be written to. Raises what the
        library raises where device or dtype are foreign to it.
        """

    def scatter_add(self, updates: Array, index: Array, weights: Array, size: int) -> Array:
        """Rows out[index[j, z]] += weights[j, z] · updates[j], repeated indices added; shape (size, r).

        In the same order at every call where the library can.
        """

    def triangular_solve(self, factor: Array, rhs: Array, *, lower: bool) -> Array:
        """Solution of factor @ x = rhs for batches of triangular factors."""

    def inner(self, x: Array, y: Array) -> Array:
        """X yᵀ of the last two axes, at the full precision of their dtype."""

    def gram(self, x: Array) -> Array:
        """X xᵀ of the last two axes, symmetric to the last bit, at half the work where the library can."""

    def column_gram(self, x: Array) -> Array:
        """Xᵀ x of the last two axes, symmetric to the last bit, at half the work where the library can."""

    def expand(self, cotangents: Array, inputs: Array) -> Array:
        """Σ_t g_qit ⊗ a_it, flattened (q, n, b·a), for cotangents (q, n, t, b) and activations (n, t, a)."""

    def erf(self, x: Array) -> Array:
        """Error function, elementwise."""

    def working_set(self, x: Array) -> int:
        """Entries of temporaries that the device of ``x`` works through fastest: of its cache, or enough to fill it."""

    def synchronize(self, x: Array) -> None:
        """Wait until ``x`` has been computed, so that a clock tells the truth."""

    def as_model(self, net: Any, params: Any, parameters: str | None, forward: Any = None) -> Any:
        """Model of a network of this framework, which ``forward(net, batch)`` calls where that is given."""
