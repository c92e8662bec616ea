"""A function of a network's outputs as a model, by the chain rule."""

import dataclasses
from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float

from dntk.gradient_blocks import GradientBlock
from dntk.models.base import Cotangents, Model, outputs_of, per_input, require_model
from dntk.models.state import state_of, structure_of
from dntk.outputs.inputs import split
from dntk.outputs.labels import LabelSource
from dntk.types import Array, Namespace


@runtime_checkable
class OutputFunction(Protocol):
    """A function h of one input's C outputs and its label, with C' values and derivatives in the outputs."""

    def n_outputs(self, base: int) -> int:
        """Number C' of values for a network of ``base`` outputs."""

    def value(self, outputs: Float[Array, "n c"], labels: Any) -> Float[Array, "n v"]:
        """Values h(f, y)."""

    def push(self, outputs: Float[Array, "n c"], labels: Any, tangents: Float[Array, "q n c"]) -> Float[Array, "q n v"]:
        """Directional derivatives J_h t."""

    def pull(
        self, outputs: Float[Array, "n c"], labels: Any, cotangents: Float[Array, "q n v"]
    ) -> Float[Array, "q n c"]:
        """Gradients J_hᵀ u."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TransformedModel(Model):
    """Model x ↦ h(f(x), y) of a network f; parameters, device and dtype are the network's.

    A functional u of h is at every input the functional J_h(f(x), y)ᵀ u of f, so that gradients keep the network's
    factored form. Inputs are the network's, with labels where ``labels`` takes them from there.

    Cost: a forward pass more than the network's own derivatives.
    """

    base: Model
    function: OutputFunction
    labels: LabelSource

    @property
    def n_parameters(self) -> int:
        """Number P of selected parameters."""
        return self.base.n_parameters

    @property
    def n_outputs(self) -> int:
        """Number C' of values of h."""
        return self.function.n_outputs(self.base.n_outputs)

    @property
    def namespace(self) -> Namespace:
        """The network's array namespace."""
        return self.base.namespace

    @property
    def device(self) -> Any:
        """Device of the parameters."""
        return self.base.device

    @property
    def dtype(self) -> Any:
        """Floating-point type of the parameters."""
        return self.base.dtype

    @property
    def parameters(self) -> Mapping[str, Array]:
        """The network's selected parameters."""
        return self.base.parameters

    @property
    def state(self) -> Mapping[str, Array]:
        """All arrays of the network."""
        return state_of(self.base)

    @property
    def structure(self) -> Hashable:
        """That of the network, and the function of its outputs."""
        return structure_of(self.base), type(self.function)

    def subset(self, pattern: str) -> "TransformedModel":
        """The same function, differentiated only in parameters whose whole name matches ``pattern``."""
        return dataclasses.replace(self, base=self.base.subset(pattern))

    def check_inputs(self, x: Array, name: str = "x") -> None:
        """Raise a clear error unless the network takes the inputs and they have the labels that h needs."""
        inputs, given = split(x)
        self.base.check_inputs(inputs, name)
        self.labels.check(given, self.base.n_outputs, name)

    def __call__(self, x: Array) -> Float[Array, "n c"]:
        """Values h(f(x), y)."""
        inputs, given = split(x)
        outputs = self.base(inputs)
        return self.function.value(outputs, self.labels.labels(given, outputs, "x"))

    def gradient_blocks(self, x: Array, cotangents: Cotangents) -> Iterator[GradientBlock]:
        """Per-sample gradients of ⟨cotangents, h(f(x), y)⟩: the network's blocks for functionals of every input."""
        yield from self.base.gradient_blocks(split(x)[0], self._pulled(x, cotangents))

    def jvp(self, x: Array, tangents: Float[Array, "q p"]) -> Float[Array, "q n c"]:
        """Directional derivatives of h along q parameter vectors."""
        inputs, given = split(x)
        outputs = outputs_of(self.base, inputs)
        labels = self.labels.labels(given, outputs, "x")
        return self.function.push(outputs, labels, self.base.jvp(inputs, tangents))

    def vjp(self, x: Array, cotangents: Float[Array, "n c"]) -> Float[Array, " p"]:
        """Gradient of Σ_i ⟨cotangents[i], h(f(x_i), y_i)⟩ in the parameters."""
        return self.base.vjp(split(x)[0], self._pulled(x, cotangents[None, ...])[0, :, :])

    def _pulled(self, x: Array, cotangents: Cotangents) -> Float[Array, "q n base"]:
        """Functionals of the network's outputs that have the same gradients."""
        inputs, given = split(x)
        outputs = outputs_of(self.base, inputs)
        labels = self.labels.labels(given, outputs, "x")
        width = self.function.n_outputs(outputs.shape[1])
        return self.function.pull(outputs, labels, per_input(cotangents, outputs.shape[0], width))


def transformed(model: Any, function: OutputFunction, labels: LabelSource) -> TransformedModel:
    """Model of ``function`` after ``model``; ``TypeError`` where that is none."""
    return TransformedModel(base=require_model(model), function=function, labels=labels)
