"""What calls of a network have shown, and the programs that they compiled."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from dntk.ledger import count, recording
from dntk.models import batches
from dntk.models.adapter import Memo, OutputCount, Passes
from dntk.types import Array
from dntk_jax._counting import operations_of
from dntk_jax._evidence import inputs_showing, mixed_gradients
from dntk_jax.capture import Factors
from dntk_jax.inputs import Layers
from dntk_jax.network import Network, exact_products
from dntk_jax.per_sample import by_loop
from dntk_jax.plan import Plan, make_plan, plan_at


@dataclasses.dataclass
class Findings:
    """Of one model, shared by its calls; ``forward_mode`` until an operation proves to lack it."""

    outputs: OutputCount = dataclasses.field(default_factory=OutputCount)
    plans: Memo[Plan] = dataclasses.field(default_factory=Memo)
    layers: Memo[Layers] = dataclasses.field(default_factory=Memo)
    compiled: dict[Any, Callable[..., Any]] = dataclasses.field(default_factory=dict)
    passes: Passes = dataclasses.field(default_factory=Passes)
    forward_mode: bool = True

    def program(self, key: Any, function: Callable[..., Any]) -> Callable[..., Any]:
        """The compiled function that was first stored under ``key``, so that it is traced once per shape."""
        return self.compiled.setdefault(key, jax.jit(function))

    def plan(self, network: Network, names: tuple[str, ...], x: Any) -> Plan:
        """The way for every parameter, as inputs so far have shown it."""
        return self.plans(x, lambda: self._counted(network, x, make_plan(network, names, x)))

    def awake(self, network: Network, names: tuple[str, ...], x: Any, cotangents: Any) -> tuple[Plan, frozenset[str]]:
        """The plan, and parameters that have a gradient at ``x`` though none was found where their forms were compared.

        Where others wake, a plan is made that is verified at inputs which show their gradients, too.
        """
        plan = self.plan(network, names, x)
        alive = self._alive(network, plan.untold, x, cotangents)
        if new := alive - plan.tried:
            shown = inputs_showing(network, x, tuple(sorted(new)), plan.shown)
            better = self._counted(network, x, plan_at(network, names, shown))
            plan = dataclasses.replace(better, tried=plan.tried | new)
            self.plans.replace(x, plan)
        return plan, alive & plan.untold

    def _counted(self, network: Network, x: Any, plan: Plan) -> Plan:
        """The plan, with the operations of its comparison in the ledger: the gradient, and that for two functionals."""
        if recording():
            point, seen = batches.first(x), batches.count(plan.shown)
            compared = operations_of(plan.compute, network.parameters, point, jnp.ones((2, 1, self.outputs.known())))
            count(flops=seen * (3 * operations_of(network.function, network.parameters, point) + compared))
        return plan

    def _alive(self, network: Network, names: frozenset[str], x: Any, cotangents: Any) -> frozenset[str]:
        """Which of some parameters have a gradient of some functional (q, n, C) at ``x``."""
        if not names:
            return names
        every = tuple(sorted(names))

        def told(values: Any, points: Any, functionals: Any) -> Any:
            return mixed_gradients(network, every, values, points, functionals)

        if recording():
            one = operations_of(told, network.parameters, batches.first(x), cotangents[:, :1, :])
            count(flops=batches.count(x) * one)
        with exact_products():
            found = self.program(("alive", every), told)(network.parameters, x, cotangents)
        return frozenset(name for name in every if bool(found[name]))

    def one_by_one(self, network: Network, names: frozenset[str], x: Any, cotangents: Any) -> dict[str, Factors]:
        """Gradients (q, n, p) of parameters of which no form was compared with anything."""
        if not names:
            return {}
        every = tuple(sorted(names))

        def gradients(values: Any, points: Any, functionals: Any) -> Any:
            return by_loop(network, every, values, points, functionals)

        with exact_products():
            found = self.program(("loop", every), gradients)(network.parameters, x, cotangents)
        return {name: (found[name],) for name in every}

    def forward_first(self, compute: Callable[..., Array], forward: Any, backward: Any, *data: Array) -> Array:
        """``compute`` by forward mode, or by the other way once an operation proves to lack it."""
        if self.forward_mode:
            try:
                return compute(forward, *data)
            except TypeError as error:
                if "custom_vjp" not in str(error):
                    raise
                self.forward_mode = False
        return compute(backward, *data)
