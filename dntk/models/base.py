"""The one abstraction between networks and algorithms: a network at fixed parameters, with derivatives in them."""

import re
from collections.abc import Callable, Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any, Protocol, TypeAlias, runtime_checkable

from jaxtyping import Float

from dntk import arrays
from dntk._checks import kind_of
from dntk._foreign import converted, require_one_split, require_plain_array
from dntk._progress import task
from dntk.backend import backend_for_network
from dntk.gradient_blocks import GradientBlock
from dntk.models import batches
from dntk.models._forward import require_forward
from dntk.models._halved import in_batches
from dntk.models._padding import require_padding_unseen
from dntk.models._parameters import backend_for_parameters
from dntk.models.nests import leaves
from dntk.types import Array, Batch, Inputs, Namespace

Cotangents: TypeAlias = Float[Array, "q c"] | Float[Array, "q n c"]
"""q linear functionals of the outputs: the same for every input, or each input's own."""


_LOOKED_AT = 4
"""Points of a source that are checked before it is used."""

POINTS = 256
"""Inputs that are evaluated at once where only outputs, or what enters a layer, are wanted."""


@runtime_checkable
class Model(Protocol):
    """A network with C outputs and P selected parameters, in evaluation mode, differentiable in its parameters.

    The flattened parameter vector concatenates the selected parameters in the order of :attr:`parameters`, each
    flattened row by row.
    """

    @property
    def n_parameters(self) -> int:
        """Number P of selected parameters."""

    @property
    def n_outputs(self) -> int:
        """Number C of outputs."""

    @property
    def namespace(self) -> Namespace:
        """Array namespace of inputs and outputs."""

    @property
    def device(self) -> Any:
        """Device of the parameters."""

    @property
    def dtype(self) -> Any:
        """Floating-point type of the parameters."""

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Selected parameters by name, in the order of the flattened vector."""

    def __call__(self, x: Batch) -> Float[Array, "n c"]:
        """Outputs at the inputs ``x``."""

    def check_inputs(self, x: Batch, name: str = "x") -> None:
        """Raise a clear error unless ``x`` can be an input: namespace, device, dtype, shape, finite values.

        Afterwards :attr:`n_outputs` is known, also of networks that tell it only by running.
        """

    def subset(self, pattern: str) -> "Model":
        """The same network, differentiated only in parameters whose whole name matches ``pattern``."""

    def gradient_blocks(self, x: Batch, cotangents: Cotangents) -> Iterator[GradientBlock]:
        """Per-sample gradients of the q functionals ⟨cotangents[q], f(x)⟩, one block per parameter.

        Cotangents (q, n, C) give each input functionals of its own, ⟨cotangents[q, i], f(x_i)⟩. Raises
        ``ValueError`` where outputs are not finite, as their gradients then mean nothing.
        """

    def jvp(self, x: Batch, tangents: Float[Array, "q p"]) -> Float[Array, "q n c"]:
        """Directional derivatives of all outputs along q parameter vectors."""

    def vjp(self, x: Batch, cotangents: Float[Array, "n c"]) -> Float[Array, " p"]:
        """Gradient of Σ_i ⟨cotangents[i], f(x_i)⟩ in the parameters."""


def as_model(
    net: Any, params: Any = None, *, parameters: str | None = None, forward: Callable[[Any, Batch], Any] | None = None
) -> Model:
    """Model of a trained network.

    Parameters
    ----------
    net
        ``torch.nn.Module`` in evaluation mode, fitted scikit-learn ``MLPClassifier`` or ``MLPRegressor``,
        flax NNX or equinox module, :class:`dntk.MLP`, a function ``net(params, x)`` of JAX arrays or written with
        ``autograd.numpy``, or any object whose framework has a registered backend. A model is returned unchanged.
    params
        For a function ``net(params, x)``: its parameters, any nest of arrays.
    parameters
        Regular expression that the whole name of a parameter must match to be differentiated; default: all
        trainable ones.
    forward
        How a module is called, ``forward(net, batch)`` to its outputs, for example ``lambda net, batch:
        net(batch["pixels"]).logits``; default: ``net(x)`` for an array, ``net(*x)`` for a tuple or list, ``net(**x)``
        for a mapping. Of answers with ``logits`` these are the outputs; (n,) counts as one output.

    Raises
    ------
    TypeError
        No installed backend understands ``net``; ``forward`` for what is no module.
    ValueError
        The network is in training mode, not fitted, or no parameter matches ``parameters``.
    ImportError
        Its framework's backend needs a package that is not installed.

    Examples
    --------
    >>> import torch
    >>> layers = torch.nn.Linear(3, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2)
    >>> net = torch.nn.Sequential(*layers).eval()
    >>> model = dntk.as_model(net)
    >>> model.n_parameters, model.n_outputs
    (98, 2)
    >>> dntk.as_model(net, parameters="2.*").n_parameters  # the last layer alone
    34
    """
    if isinstance(net, Model):
        return net if parameters is None else net.subset(parameters)
    require_forward(forward)
    if params is None and isinstance(net, FunctionType | MethodType):
        msg = (
            f"`net` is {kind_of(net)}, and its parameters are not known: pass them beside a function of them, "
            "dntk.as_model(fn, params) for fn(params, x), of JAX arrays or written with autograd.numpy."
        )
        raise TypeError(msg)
    backend = backend_for_network(net) if params is None else backend_for_parameters(params)
    return backend.as_model(net, params, parameters, forward)


def require_model(model: Any, name: str = "model") -> Model:
    """The model; ``TypeError`` where it is none, with what makes one of it."""
    if isinstance(model, type) or not isinstance(model, Model):
        call = "fn, params" if isinstance(model, FunctionType | BuiltinFunctionType | MethodType) else "net"
        msg = f"`{name}` is {kind_of(model)}: wrap the network first, {name} = dntk.as_model({call})."
        raise TypeError(msg)
    return model


def select_names(names: list[str], pattern: str | None) -> list[str]:
    """Names that ``pattern`` matches in full (all without a pattern); ``ValueError`` where none does."""
    if pattern is None:
        return names
    try:
        expression = re.compile(pattern)
    except re.error as error:
        msg = f"`parameters` is not a regular expression ({error}): {pattern!r}."
        raise ValueError(msg) from error
    chosen = [name for name in names if expression.fullmatch(name)]
    if not chosen:
        shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        msg = f"`parameters`={pattern!r} matches none of the {len(names)} parameter names ({shown})."
        raise ValueError(msg)
    return chosen


def check_placement(x: Batch, model: Model, name: str) -> None:
    """Raise unless ``x`` is an array of the model's namespace and device, has points, and is finite, or a nest of such.

    Raises
    ------
    TypeError
        ``x`` is not an array of the model's namespace.
    ValueError
        ``x`` is on another device, empty, or not finite.
    """
    parts = list(leaves(x, name))
    if not parts:
        msg = f"`{name}` holds no array: pass the inputs of the network."
        raise ValueError(msg)
    for part_name, part in parts:
        require_plain_array(part_name, part, _root(model))
        _check_part(part, model, part_name)
    for part_name, part in parts[1:]:
        if part.shape[0] != parts[0][1].shape[0]:
            msg = (
                f"`{part_name}` has {part.shape[0]} entries along its first axis, but `{parts[0][0]}` has "
                f"{parts[0][1].shape[0]}: every part of a batch has one entry per input."
            )
            raise ValueError(msg)


def _check_part(x: Any, model: Model, name: str) -> None:
    xp = arrays.namespace(x)
    if xp is not model.namespace:
        ours, theirs = (space.__name__.removeprefix("array_api_compat.") for space in (model.namespace, xp))
        remedy = f"convert it, {converted(name, _root(model))}"
        if type(x).__name__ == "memmap":
            remedy = f"pass dntk.points({name}), which is read batch by batch"
        msg = f"`{name}` is a {theirs} array, but the model computes with {ours}: {remedy}."
        raise TypeError(msg)
    if arrays.device_of(x) != model.device:
        msg = (
            f"`{name}` is on device {arrays.device_of(x)}, but the model is on {model.device}: "
            f"move it, {arrays.moved(name, x, model.device)}."
        )
        raise ValueError(msg)
    arrays.require_points(name, x)
    arrays.require_finite(name, x)


def _root(model: Model) -> str:
    """Name of the library that the model computes with."""
    return str(model.namespace.__name__.removeprefix("array_api_compat.").partition(".")[0])


def checked_inputs(model: Model, x: Any, name: str = "x") -> Inputs:
    """Inputs as every algorithm takes them: sources bound to the model's library and device, all else unchanged.

    Of what is read from a source the first points are checked here, the others when they are read.

    Raises
    ------
    TypeError, ValueError
        The model does not take them; see :meth:`Model.check_inputs`.
    """
    require_model(model)
    require_one_split(name, x)
    inputs = batches.bound(x, like=next(iter(model.parameters.values())))
    if not batches.is_read(inputs):
        model.check_inputs(inputs, name)
        return inputs
    batches.require_parts(name, inputs)
    few = batches.first(inputs, _LOOKED_AT)
    model.check_inputs(few, name)
    require_padding_unseen(model, inputs, few, name)
    return inputs


def outputs_of(model: Model, x: Inputs) -> Float[Array, "n c"]:
    """Outputs of the model, checked to be finite; :data:`POINTS` inputs at a time."""
    n = batches.count(x)
    with task("outputs", total=n, unit="points") as bar:
        pieces = in_batches(n, POINTS, lambda start, stop: model(batches.span(x, start, stop)), bar)
    outputs = pieces[0] if len(pieces) == 1 else model.namespace.concat(pieces, axis=0)
    arrays.require_finite("the network's outputs", outputs)
    return outputs


def per_input(cotangents: Cotangents, points: int, n_outputs: int) -> Float[Array, "q n c"]:
    """Functionals of every input, a view where all inputs share them.

    Raises
    ------
    ValueError
        ``cotangents`` has another shape than (q, C) or (q, n, C).
    """
    shape = tuple(cotangents.shape)
    if shape[1:] not in ((n_outputs,), (points, n_outputs)):
        msg = (
            f"`cotangents` has shape {shape}, expected (q, {n_outputs}) or (q, {points}, {n_outputs}): one column per "
            "output, for all inputs or for each."
        )
        raise ValueError(msg)
    xp = arrays.namespace(cotangents)
    wide = cotangents[:, None, :] if len(shape) == 2 else cotangents
    return xp.broadcast_to(wide, (shape[0], points, n_outputs))
