"""JAX networks as models: exact per-sample gradients in their cheapest form."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dntk import arrays
from dntk.gradient_blocks import GradientBlock
from dntk.ledger import count, recording
from dntk.models import batches
from dntk.models.adapter import (
    PROBES,
    After,
    in_order,
    require_input,
    require_shape,
    split,
    total_size,
)
from dntk.models.base import Cotangents, per_input
from dntk.models.forms import GradientForms, forms_of
from dntk.models.input_gradients import InputDifferentiable, Observed
from dntk.models.nests import is_array
from dntk.types import Array, Batch, Namespace
from dntk_jax import inputs, requirements
from dntk_jax._blocks import block_of, emptied
from dntk_jax._counting import operations_of
from dntk_jax.behaviour import evaluated, examined, require_own_outputs
from dntk_jax.factors import Stored
from dntk_jax.findings import Findings
from dntk_jax.network import Network, exact_products
from dntk_jax.per_sample import gradient, push_forward, push_forward_twice_backward
from dntk_jax.requirements import FRAMEWORK


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class JaxModel(InputDifferentiable):
    """A JAX network at fixed parameters, differentiable in those called ``selected``.

    Made by :func:`dntk.as_model`. Every computation is compiled, once per number of inputs, shape and dtype. Products
    with parameters, convolutions and look-ups give their gradients in factored form wherever a check on a few inputs
    confirms it; all other parameters as they are.
    """

    network: Network
    selected: tuple[str, ...]
    _findings: Findings = dataclasses.field(default_factory=Findings, repr=False)

    @classmethod
    def of(cls, network: Network, parameters: str | None = None) -> "JaxModel":
        """Model of a network, differentiated in parameters whose whole name matches ``parameters`` (all by default).

        Raises
        ------
        TypeError
            A selected parameter is not real floating point.
        ValueError
            No parameter matches, parameters are not finite, or they have several dtypes or devices.
        """
        return cls(network=network, selected=requirements.selected_names(network, parameters))

    def subset(self, pattern: str) -> "JaxModel":
        """The same network in the parameters whose whole name matches ``pattern``."""
        return JaxModel.of(self.network, pattern)

    def followed_by(self, after: After) -> "JaxModel":
        """The network and then a function of its answer, in the same parameters."""
        return JaxModel(network=self.network.followed_by(after), selected=self.selected)

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Selected parameters by name, in the order of the pytree's leaves."""
        return {name: self.network.parameters[name] for name in self.selected}

    @property
    def state(self) -> Mapping[str, Array]:
        """All arrays by name, running statistics included."""
        return self.network.state

    @property
    def structure(self) -> Callable[..., Any]:
        """The function."""
        return self.network.function

    @property
    def n_parameters(self) -> int:
        """Number P of selected parameters."""
        return total_size(self.parameters)

    @property
    def n_outputs(self) -> int:
        """Number C of outputs.

        Raises
        ------
        AttributeError
            The model has not been called, so that no input has told.
        """
        return self._findings.outputs.known()

    @property
    def namespace(self) -> Namespace:
        """``jax.numpy``."""
        return jnp

    @property
    def device(self) -> Any:
        """Device of the parameters."""
        return arrays.device_of(self._first())

    @property
    def dtype(self) -> Any:
        """Floating-point type of the selected parameters."""
        return self._first().dtype

    def __call__(self, x: Batch) -> Float[Array, "n c"]:
        """Outputs at the inputs ``x``; those of 16-bit networks as float32, like their kernels."""
        x = self._checked(x)
        self._findings.passes.forward(x, lambda: self._forward_operations(x))
        outputs = evaluated(self.network, x)
        self._findings.outputs.look_again(x, lambda: require_own_outputs(self.network, x, outputs))
        return arrays.widened(outputs)

    def check_inputs(self, x: Batch, name: str = "x") -> None:
        """Raise a clear error unless ``x`` can be an input: floating point of the parameters' dtype, integer or bool.

        The first inputs of a new shape or dtype are run, as in :func:`dntk.models.adapter.examine`.
        """
        require_input(x, self, name, convert=FRAMEWORK.convert, kinds=("integral", "bool"))
        if is_array(x):
            requirements.require_no_bytes(x, name, self.dtype)
        self._findings.outputs.look(x, lambda: self._examined(batches.plain(x)))

    def gradient_blocks(self, x: Batch, cotangents: Cotangents) -> Iterator[GradientBlock]:
        """Per-sample gradients of the q functionals ⟨cotangents[q], f(x)⟩, one block per parameter.

        Cost: one forward pass and q backward passes to the operations that read parameters, plus, where that is not
        confirmed, q per-sample backward passes. The factors of all parameters are alive until consumed.
        """
        x = self._checked(x)
        functionals = per_input(cotangents, batches.count(x), self.n_outputs)
        plan, alive = self._findings.awake(self.network, self.selected, x, functionals)
        passes, shape = self._findings.passes, (1, self.n_outputs)
        passes.backward(
            x, functionals.shape[0], lambda q: self._of(plan.compute, batches.first(x), jnp.ones((q, *shape))), of=plan
        )
        with exact_products():
            # Placed, as numbers without a place would be another case to compile.
            placed = jax.device_put(functionals, self.device)
            outputs, factors = plan.compute(self.network.parameters, x, placed)
        requirements.require_finite("the network's outputs", outputs)
        factors.update({name: emptied(factors[name]) for name in plan.untold - alive})
        factors.update(self._findings.one_by_one(self.network, alive, x, placed))
        forms = {**plan.forms, **dict.fromkeys(alive, Stored())}
        yield from in_order(block_of(forms[name], factors.pop(name), name) for name in self.selected)

    def gradient_forms(self, x: Batch) -> GradientForms:
        """Which parameters have closed-form gradients at inputs like ``x``, which have not, and why."""
        x = self._checked(x)
        why_not = self._findings.plan(self.network, self.selected, x).why_not
        return forms_of(self.parameters, why_not)

    def jvp(self, x: Batch, tangents: Float[Array, "q p"]) -> Float[Array, "q n c"]:
        """Directional derivatives of all outputs along q parameter vectors.

        By forward mode where the network has it, by the transpose of the gradient elsewhere (``custom_vjp``).
        """
        x = self._checked(x)
        require_shape("tangents", tangents, self.n_parameters, "parameter")
        return arrays.widened(
            self._findings.forward_first(self._push, push_forward, push_forward_twice_backward, x, tangents)
        )

    def vjp(self, x: Batch, cotangents: Float[Array, "n c"]) -> Float[Array, " p"]:
        """Gradient of Σ_i ⟨cotangents[i], f(x_i)⟩ in the parameters, by one backward pass."""
        x = self._checked(x)
        require_shape("cotangents", cotangents, self.n_outputs, "output", rows=batches.count(x))

        def pull(values: Any, points: Any, weights: Any) -> Array:
            found = gradient(self.network, self.selected, values, points, weights)
            return jnp.concatenate([found[name].reshape(-1) for name in self.selected])

        def find(q: int) -> int:
            forward = self._forward_operations(x)
            return forward + q * (self._of(pull, batches.first(x), cotangents[:1, ...]) - forward)

        self._findings.passes.backward(x, 1, find, of="vjp")
        with exact_products():
            return arrays.widened(self._findings.program(gradient, pull)(self.network.parameters, x, cotangents))

    def head(self, x: Batch) -> str:
        """Name of the parameter that the last product of data with a matrix reads."""
        x = self._checked(x)
        return inputs.head_of(self.network, x)

    def batch_norms(self) -> tuple[str, ...]:
        """None: programs do not tell norms from other operations. Name them by their parameters' owners."""
        return ()

    def observe(self, x: Batch, layers: tuple[str, ...]) -> Observed:
        """Outputs and what enters layers, named by the owner of their parameters, with the way back to ``x``."""
        x = self._checked(x)
        self._findings.passes.forward(x, lambda: self._forward_operations(x))
        found = self._findings.layers(x, lambda: inputs.find_layers(self.network, layers, x), of=layers, enough=1)

        def forward(values: Any, points: Any) -> Any:
            return jax.vjp(lambda at: found.run(values, at), points)

        with exact_products():
            (outputs, entering), back = self._findings.program(("observe", found), forward)(self.network.parameters, x)

        def pull(out: Array, wanted: Mapping[str, Array]) -> Array:
            cotangents = {
                name: jnp.reshape(wanted[name], value.shape).astype(value.dtype)
                if name in wanted
                else jnp.zeros_like(value)
                for name, value in entering.items()
            }
            ends = (jnp.asarray(out, outputs.dtype), cotangents)
            self._findings.passes.back(x, lambda: operations_of(_pulled, back, ends) // batches.count(x), of=layers)
            with exact_products():
                return self._findings.program("pull", _pulled)(back, ends)

        shown = {name: arrays.widened(inputs.positions(value)) for name, value in entering.items()}
        return Observed(outputs=arrays.widened(outputs), inputs=shown, pull=pull)

    def input_gradient(self, x: Batch, cotangents: Float[Array, "q c"], directions: Float[Array, "n q p"]) -> Array:
        """Gradient in x_i of Σ_q ⟨directions[i, q], ∇_θ ⟨cotangents[q], f(x_i)⟩⟩.

        By forward mode, differentiated backward, where the network has it; by differentiating twice backward elsewhere.
        """
        x = self._checked(x)
        modes = inputs.by_forward_mode, inputs.by_backward_mode
        return self._findings.forward_first(self._second, *modes, x, cotangents, directions)

    def _second(self, method: inputs.InputGradient, x: Batch, cotangents: Array, directions: Array) -> Array:
        def every(values: Any, points: Any, functionals: Any, rows: Any) -> Any:
            def one(point: Any, row: Any) -> Any:
                return method(self.network, values, point, functionals, split(row, self.parameters))

            return jax.vmap(one)(points, rows)

        def find(q: int) -> int:
            copies = jnp.repeat(directions[:1, :1, :], q, axis=1)
            return self._of(every, batches.first(x), jnp.repeat(cotangents[:1, :], q, axis=0), copies)

        self._findings.passes.backward(x, cotangents.shape[0], find, of=method)
        with exact_products():
            return self._findings.program(method, every)(self.network.parameters, x, cotangents, directions)

    def _push(self, method: Callable[..., Any], x: Batch, tangents: Array) -> Array:
        def push(values: Any, points: Any, directions: Any) -> Any:
            return method(self.network, split(directions, self.parameters), values, points)

        self._findings.passes.backward(
            x,
            tangents.shape[0],
            lambda q: self._of(push, batches.first(x), jnp.repeat(tangents[:1, :], q, axis=0)),
            of=method,
        )
        with exact_products():
            return self._findings.program(method, push)(self.network.parameters, x, tangents)

    def _examined(self, x: Any) -> int:
        outputs = examined(self.network, x)
        if recording():  # three times those that are looked at, and two of them alone
            count(flops=(3 * min(PROBES, batches.count(x)) + 2) * self._forward_operations(x))
        return outputs

    def _of(self, function: Callable[..., Any], *arguments: Any) -> int:
        """Operations of a function of all parameters and of ``arguments``."""
        return operations_of(function, self.network.parameters, *arguments)

    def _forward_operations(self, x: Any) -> int:
        return self._of(self.network.function, batches.first(x))

    def _checked(self, x: Batch) -> Batch:
        self.check_inputs(x)
        return batches.plain(x)

    def _first(self) -> Any:
        return self.network.parameters[self.selected[0]]


def _pulled(back: Any, cotangents: Any) -> Any:
    return back(cotangents)[0]
