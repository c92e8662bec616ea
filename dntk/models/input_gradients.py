"""Derivatives of a network in its inputs: what the distillation of inputs asks of a backend.

A loss of outputs and of layers' inputs is differentiated in two halves. Its own derivative in them is written in array
API where the loss is; the other half, from there to the network's inputs, is one backward pass of the framework
(:attr:`Observed.pull`). Losses of tangent features need a second derivative of the network as well, in parameters and
inputs (:meth:`InputDifferentiable.input_gradient`).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from jaxtyping import Float

from dntk import arrays
from dntk._foreign import require_plain_array
from dntk.models.base import Model, require_model
from dntk.models.nests import is_nest
from dntk.types import Array

Pull = Callable[[Float[Array, "n c"], Mapping[str, Float[Array, "n t d"]]], Array]
"""Cotangents of the outputs, and of some layers' inputs by name, to the gradient in the network's inputs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observed:
    """Outputs (n, C), what entered some layers as (n, positions, channels), and the way back to the inputs.

    ``pull`` may be called once.
    """

    outputs: Float[Array, "n c"]
    inputs: Mapping[str, Float[Array, "n t d"]]
    pull: Pull


@runtime_checkable
class InputDifferentiable(Model, Protocol):
    """A model that can be differentiated in its inputs; offered by PyTorch, JAX and :class:`dntk.MLP`."""

    def head(self, x: Array) -> str:
        """Name of the last linear layer, whose inputs are the penultimate features.

        Raises ``ValueError`` where there is none.
        """

    def batch_norms(self) -> tuple[str, ...]:
        """Names of batch normalisations, in the order of the forward pass as far as is known."""

    def observe(self, x: Array, layers: tuple[str, ...]) -> Observed:
        """Outputs and inputs of layers, by one forward pass that can be pulled back.

        A layer is named by its module or by one of its parameters. ``ValueError`` names those that there are where
        one is unknown.
        """

    def input_gradient(self, x: Array, cotangents: Float[Array, "q c"], directions: Float[Array, "n q p"]) -> Array:
        """Gradient in x_i of Σ_q ⟨directions[i, q], ∇_θ ⟨cotangents[q], f(x_i)⟩⟩.

        One Jacobian-vector product per point and functional, differentiated in the input.
        """


def require_input_gradients(model: Model, x: Array, name: str = "x") -> InputDifferentiable:
    """The model, once inputs like ``x`` prove differentiable.

    Raises
    ------
    TypeError
        The model's backend does not differentiate in inputs, or the inputs are integers.
    """
    require_model(model)
    if not isinstance(model, InputDifferentiable):
        msg = (
            f"`model` is a {type(model).__name__}, which is not differentiable in its inputs: inputs can be optimised "
            "for PyTorch and JAX networks and for dntk.MLP. For others choose real points, for example with "
            "dntk.distill.data.RPCholesky."
        )
        raise TypeError(msg)
    if is_nest(x):
        msg = (
            f"`{name}` is a {type(x).__name__} of arrays, and objectives make one: choose points instead, for "
            f"example with dntk.distill.data.RPCholesky, or pass the one that is to be distilled and let forward= add "
            "the rest, of a data set with labels dntk.points(data, collate=...) without them."
        )
        raise TypeError(msg)
    require_plain_array(name, x)
    if not arrays.is_floating(x):
        msg = (
            f"`{name}` has dtype {x.dtype}: integers such as token ids have no gradient and cannot be distilled, but "
            "their embeddings can. Pass the network from the embeddings on, and the embeddings as inputs; images of "
            "integers need floating point, scaled as in training."
        )
        raise TypeError(msg)
    return model
