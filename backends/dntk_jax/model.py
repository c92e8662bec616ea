"""JAX networks as models: exact per-sample gradients in their cheapest form."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dntk import arrays
from dntk.gradient_blocks import GradientBlock
from dntk.ledger import count
from dntk.models.base import Cotangents, per_input
from dntk.models.input_gradients import InputDifferentiable, Observed
from dntk.types import Array, Namespace
from dntk_jax import inputs, requirements
from dntk_jax.behaviour import PROBES, evaluate, examine
from dntk_jax.network import Network, exact_products
from dntk_jax.per_sample import gradient, push_forward, push_forward_twice_backward
from dntk_jax.plan import Plan, block_of, make_plan
from dntk_jax.requirements import require_shape


@dataclasses.dataclass
class _Findings:
    """What calls have shown, by shape and dtype of one input, and how many inputs showed it."""

    n_outputs: int | None = None
    examined: dict[Any, tuple[int, int]] = dataclasses.field(default_factory=dict)
    plans: dict[Any, tuple[int, Plan]] = dataclasses.field(default_factory=dict)
    compiled: dict[Any, Callable[..., Any]] = dataclasses.field(default_factory=dict)
    layers: dict[Any, inputs.Layers] = dataclasses.field(default_factory=dict)
    forward_mode: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class JaxModel(InputDifferentiable):
    """A JAX network at fixed parameters, differentiable in those called ``selected``.

    Made by :func:`dntk.as_model`. Every computation is compiled, once per number of inputs, shape and dtype. Products
    with parameters, convolutions and look-ups give their gradients in factored form wherever a check on a few inputs
    confirms it; all other parameters as they are.
    """

    network: Network
    selected: tuple[str, ...]
    _findings: _Findings = dataclasses.field(default_factory=_Findings, repr=False)

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

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Selected parameters by name, in the order of the pytree's leaves."""
        return {name: self.network.parameters[name] for name in self.selected}

    @property
    def n_parameters(self) -> int:
        """Number P of selected parameters."""
        return sum(math.prod(value.shape) for value in self.parameters.values())

    @property
    def n_outputs(self) -> int:
        """Number C of outputs.

        Raises
        ------
        AttributeError
            The model has not been called, so that no input has told.
        """
        if self._findings.n_outputs is None:
            msg = "the number of outputs is not known before the network has seen an input: call model(x) once."
            raise AttributeError(msg)
        return self._findings.n_outputs

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

    def __call__(self, x: Array) -> Float[Array, "n c"]:
        """Outputs at the inputs ``x``."""
        self.check_inputs(x)
        outputs: Array = evaluate(self.network, x)
        return outputs

    def check_inputs(self, x: Array, name: str = "x") -> None:
        """Raise a clear error unless ``x`` can be an input.

        The first inputs of a new shape or dtype are run, to see that the network accepts them, is deterministic, and
        treats every input by itself.

        Raises
        ------
        TypeError
            ``x`` is no JAX array, or of another floating-point dtype than the parameters.
        ValueError
            It is empty, not finite, on another device, or of a shape that the network rejects; or the network depends
            on the batch, varies between calls, or returns no array (n, C).
        """
        requirements.require_input(x, self, name)
        key, probes = _key(x), min(x.shape[0], PROBES)
        found = self._findings.examined.get(key)
        # One input alone cannot show batch dependence: look again when more come.
        if found is None or found[0] < min(probes, 2):
            found = self._findings.examined[key] = (probes, examine(self.network, x))
        self._findings.n_outputs = found[1]

    def gradient_blocks(self, x: Array, cotangents: Cotangents) -> Iterator[GradientBlock]:
        """Per-sample gradients of the q functionals ⟨cotangents[q], f(x)⟩, one block per parameter.

        Cost: one forward pass and q backward passes to the operations that read parameters, plus, where that is not
        confirmed, q per-sample backward passes. The factors of all parameters are alive until consumed.
        """
        self.check_inputs(x)
        functionals = per_input(cotangents, x.shape[0], self.n_outputs)
        plan = self._plan(x)
        with exact_products():
            # Placed, as numbers without a place would be another case to compile.
            placed = jax.device_put(functionals, self.device)
            outputs, factors = plan.compute(self.network.parameters, x, placed)
        requirements.require_finite("the network's outputs", outputs)
        computed = dict(factors)
        offset = 0
        for name, value in self.parameters.items():
            block = block_of(plan.forms[name], computed.pop(name), name=name, offset=offset)
            count(flops=block.backprop_flops)
            yield block
            offset += math.prod(value.shape)

    def jvp(self, x: Array, tangents: Float[Array, "q p"]) -> Float[Array, "q n c"]:
        """Directional derivatives of all outputs along q parameter vectors.

        By forward mode where the network has it, by the transpose of the gradient elsewhere (``custom_vjp``).
        """
        self.check_inputs(x)
        require_shape("tangents", tangents, None, self.n_parameters, "parameter")
        if self._findings.forward_mode:
            try:
                return self._push(push_forward, x, tangents)
            except TypeError as error:
                if "custom_vjp" not in str(error):
                    raise
                self._findings.forward_mode = False
        return self._push(push_forward_twice_backward, x, tangents)

    def vjp(self, x: Array, cotangents: Float[Array, "n c"]) -> Float[Array, " p"]:
        """Gradient of Σ_i ⟨cotangents[i], f(x_i)⟩ in the parameters, by one backward pass."""
        self.check_inputs(x)
        require_shape("cotangents", cotangents, x.shape[0], self.n_outputs, "output")

        def pull(values: Any, points: Any, weights: Any) -> Array:
            found = gradient(self.network, self.selected, values, points, weights)
            joined: Array = jnp.concatenate([found[name].reshape(-1) for name in self.selected])
            return joined

        with exact_products():
            return self._compiled(gradient, pull)(self.network.parameters, x, cotangents)

    def head(self, x: Array) -> str:
        """Name of the parameter that the last product of data with a matrix reads."""
        self.check_inputs(x)
        return inputs.head_of(self.network, x)

    def batch_norms(self) -> tuple[str, ...]:
        """None: programs do not tell norms from other operations. Name them by their parameters' owners."""
        return ()

    def observe(self, x: Array, layers: tuple[str, ...]) -> Observed:
        """Outputs and what enters layers, named by the owner of their parameters, with the way back to ``x``."""
        self.check_inputs(x)
        key = (layers, _key(x))
        if key not in self._findings.layers:
            self._findings.layers[key] = inputs.find_layers(self.network, layers, x)
        run = self._findings.layers[key].run

        def forward(values: Any, points: Any) -> Any:
            return jax.vjp(lambda at: run(values, at), points)

        with exact_products():
            (outputs, entering), back = self._compiled(("observe", key), forward)(self.network.parameters, x)

        def pull(out: Array, wanted: Mapping[str, Array]) -> Array:
            cotangents = {
                name: jnp.reshape(wanted[name], value.shape).astype(value.dtype)
                if name in wanted
                else jnp.zeros_like(value)
                for name, value in entering.items()
            }
            with exact_products():
                return self._compiled("pull", _pulled)(back, (jnp.asarray(out, outputs.dtype), cotangents))

        return Observed(
            outputs=outputs, inputs={name: inputs.positions(value) for name, value in entering.items()}, pull=pull
        )

    def input_gradient(self, x: Array, cotangents: Float[Array, "q c"], directions: Float[Array, "n q p"]) -> Array:
        """Gradient in x_i of Σ_q ⟨directions[i, q], ∇_θ ⟨cotangents[q], f(x_i)⟩⟩.

        By forward mode, differentiated backward, where the network has it; by differentiating twice backward elsewhere.
        """
        self.check_inputs(x)
        if self._findings.forward_mode:
            try:
                return self._second(inputs.by_forward_mode, x, cotangents, directions)
            except TypeError as error:
                if "custom_vjp" not in str(error):
                    raise
                self._findings.forward_mode = False
        return self._second(inputs.by_backward_mode, x, cotangents, directions)

    def _second(self, method: inputs.InputGradient, x: Array, cotangents: Array, directions: Array) -> Array:
        def every(values: Any, points: Any, functionals: Any, rows: Any) -> Any:
            def one(point: Any, row: Any) -> Any:
                return method(self.network, values, point, functionals, self._unflattened(row))

            return jax.vmap(one)(points, rows)

        with exact_products():
            found: Array = self._compiled(method, every)(self.network.parameters, x, cotangents, directions)
        return found

    def _push(self, method: Callable[..., Any], x: Array, tangents: Array) -> Array:
        def push(values: Any, points: Any, directions: Any) -> Any:
            return method(self.network, self._unflattened(directions), values, points)

        with exact_products():
            pushed: Array = self._compiled(method, push)(self.network.parameters, x, tangents)
        return pushed

    def _unflattened(self, tangents: Any) -> dict[str, Any]:
        pieces, offset = {}, 0
        for name, value in self.parameters.items():
            size = math.prod(value.shape)
            piece = tangents[:, offset : offset + size].astype(value.dtype)
            pieces[name] = piece.reshape(-1, *value.shape)
            offset += size
        return pieces

    def _compiled(self, key: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        """The compiled function that was first stored under ``key``, so that it is traced once per shape."""
        return self._findings.compiled.setdefault(key, jax.jit(function))

    def _plan(self, x: Any) -> Plan:
        key, probes = _key(x), min(x.shape[0], PROBES)
        found = self._findings.plans.get(key)
        if found is None or found[0] < min(probes, 2):
            found = self._findings.plans[key] = (probes, make_plan(self.network, self.selected, x))
        return found[1]

    def _first(self) -> Any:
        return self.network.parameters[self.selected[0]]


def _pulled(back: Any, cotangents: Any) -> Any:
    return back(cotangents)[0]


def _key(x: Any) -> Any:
    return tuple(x.shape[1:]), str(x.dtype)
