"""A model of one array library for arrays of another, on the same device, without copies.

CuPy has no derivatives, but its arrays can go through a network of PyTorch or JAX: both libraries see the same memory
by way of DLPack. What the network gives, outputs, gradient blocks and products, comes back in the same way.
"""

import dataclasses
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import array_api_compat
from jaxtyping import Float

from dntk import arrays
from dntk.backend import Backend, backend_of, get_backend
from dntk.gradient_blocks import DenseBlock, GradientBlock
from dntk.models.base import Cotangents, Model, check_placement, require_model
from dntk.models.nests import mapped
from dntk.models.state import state_of, structure_of
from dntk.types import Array, Batch, Namespace


def bridge(model: Model, like: Any) -> Model:
    """``model`` for arrays of another library.

    Inputs, cotangents and tangents are handed over by DLPack, outputs, gradients and parameters handed back. Memory is
    shared, not copied, wherever both libraries can use it: PyTorch, CuPy and NumPy do, JAX copies what it cannot
    take. Arrays that come from JAX are read-only in NumPy, as they are in JAX.

    Parameters
    ----------
    model
        Any model.
    like
        Name of a registered backend, such as ``"cupy"``, or an array of the library that is wanted.

    Raises
    ------
    ValueError
        The model is on a device that the other library cannot use, or no backend has that name.
    TypeError
        ``model`` is no model, or the other library has not its dtype.
    ImportError
        The other library is not installed.

    Examples
    --------
    >>> import torch
    >>> rng = np.random.default_rng(0)
    >>> model = dntk.MLP(weights=(rng.normal(size=(2, 3)),), biases=(None,))  # of NumPy arrays
    >>> bridged = dntk.bridge(model, "torch")
    >>> type(dntk.ntk(bridged, torch.ones(4, 3, dtype=torch.float64)))
    <class 'torch.Tensor'>
    """
    require_model(model)
    target = get_backend(like) if isinstance(like, str) else backend_of(like)
    if target.namespace() is model.namespace:
        return model
    _check_reachable(model, target, like)
    return BridgedModel(model=model, target=target)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class BridgedModel(Model):
    """``model``, with arrays of the backend ``target`` outside; make it with :func:`bridge`."""

    model: Model
    target: Backend

    @property
    def n_parameters(self) -> int:
        """Number P of selected parameters."""
        return self.model.n_parameters

    @property
    def n_outputs(self) -> int:
        """Number C of outputs."""
        return self.model.n_outputs

    @property
    def namespace(self) -> Namespace:
        """Array namespace outside."""
        return self.target.namespace()

    @property
    def device(self) -> Any:
        """Device of the parameters, as the library outside calls it."""
        return arrays.device_of(self._first())

    @property
    def dtype(self) -> Any:
        """Floating-point type of the parameters, as the library outside calls it."""
        return self._first().dtype

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Selected parameters by name: views of the model's own."""
        return {name: self._out(value) for name, value in self.model.parameters.items()}

    @property
    def state(self) -> Mapping[str, Array]:
        """All arrays of the model inside, as they are there."""
        return state_of(self.model)

    @property
    def structure(self) -> Hashable:
        """That of the model inside."""
        return structure_of(self.model)

    def __call__(self, x: Batch) -> Float[Array, "n c"]:
        """Outputs at the inputs ``x``."""
        self.check_inputs(x)
        return self._out(self.model(self._in(x)))

    def check_inputs(self, x: Batch, name: str = "x") -> None:
        """Raise a clear error unless ``x`` can be an input, as the model inside checks it."""
        check_placement(x, self, name)
        self.model.check_inputs(self._in(x), name)

    def subset(self, pattern: str) -> "BridgedModel":
        """The same network, differentiated only in parameters whose whole name matches ``pattern``."""
        return dataclasses.replace(self, model=self.model.subset(pattern))

    def gradient_blocks(self, x: Batch, cotangents: Cotangents) -> Iterator[GradientBlock]:
        """The blocks of the model inside, their arrays handed over."""
        check_placement(x, self, "x")
        for block in self.model.gradient_blocks(self._in(x), self._in(cotangents)):
            yield self._block(block)

    def jvp(self, x: Batch, tangents: Float[Array, "q p"]) -> Float[Array, "q n c"]:
        """Directional derivatives of all outputs along q parameter vectors."""
        check_placement(x, self, "x")
        return self._out(self.model.jvp(self._in(x), self._in(tangents)))

    def vjp(self, x: Batch, cotangents: Float[Array, "n c"]) -> Float[Array, " p"]:
        """Gradient of Σ_i ⟨cotangents[i], f(x_i)⟩ in the parameters."""
        check_placement(x, self, "x")
        return self._out(self.model.vjp(self._in(x), self._in(cotangents)))

    def _in(self, x: Batch) -> Batch:
        inside = backend_of(_first_parameter(self.model))
        return mapped(lambda part: _handed(part, inside), x)

    def _out(self, x: Array) -> Array:
        return _handed(x, self.target)

    def _first(self) -> Array:
        return self._out(_first_parameter(self.model))

    def _block(self, block: GradientBlock) -> GradientBlock:
        if dataclasses.is_dataclass(block):
            return self._handed_back(block)
        # Of such a block only the protocol is known.
        values = self._out(block.dense())
        return DenseBlock(name=block.name, offset=block.offset, values=values)

    def _handed_back(self, value: Any) -> Any:
        """``value`` with all arrays in it handed over."""
        if array_api_compat.is_array_api_obj(value):
            return self._out(value)
        if isinstance(value, tuple):
            return tuple(self._handed_back(item) for item in value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
            return dataclasses.replace(value, **{name: self._handed_back(item) for name, item in fields.items()})
        return value


def _handed(x: Array, to: Backend) -> Array:
    """``x`` in another library. NumPy 2.0 and PyTorch 2.5 cannot hand read-only memory over: it is copied there."""
    try:
        return to.from_dlpack(x)
    except BufferError:
        return to.from_dlpack(arrays.namespace(x).asarray(x, copy=True))


def _first_parameter(model: Model) -> Array:
    return next(iter(model.parameters.values()))


def _check_reachable(model: Model, target: Backend, like: Any) -> None:
    """Raise unless the target sees the model's parameters as what they are, and where ``like`` is."""
    parameter = _first_parameter(model)
    ours, theirs, place = backend_of(parameter).name, target.name, arrays.device_of(parameter)
    kind = str(parameter.dtype).rpartition(".")[2]
    try:
        seen = _handed(parameter, target)
    except Exception as error:  # libraries raise what they like
        if getattr(target.namespace(), kind, None) is None:
            msg = f"`model` has dtype {kind}, which {theirs} does not have: convert the network, say to float32."
            raise TypeError(msg) from error
        msg = (
            f"{theirs} cannot use the memory of `model`, whose parameters are {ours} arrays on device {place} "
            f"({error}): move the network to a device of {theirs} ({', '.join(target.devices())}), as a bridge "
            "never copies from device to device."
        )
        raise ValueError(msg) from error
    if _bits(seen) != _bits(parameter):
        msg = (
            f"`model` has dtype {kind}, of which {theirs} makes {seen.dtype}: convert the network, or let {theirs} "
            "have that precision (in JAX: jax_enable_x64)."
        )
        raise TypeError(msg)
    if not isinstance(like, str) and arrays.device_of(like) != arrays.device_of(seen):
        msg = (
            f"`like` is on device {arrays.device_of(like)}, but {theirs} sees the model's parameters on "
            f"{arrays.device_of(seen)}: move the array or the network, as a bridge never copies from device to device."
        )
        raise ValueError(msg)


def _bits(x: Array) -> int:
    return int(arrays.namespace(x).finfo(x.dtype).bits)
