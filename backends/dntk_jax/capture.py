"""Per-sample gradients from what enters the uses of parameters and the cotangents of what leaves them.

A zero is added to the result of every operation that reads a parameter. The derivative in that zero is the
cotangent of the result; the gradient in the parameter is the sum over its uses of the operation's own transposed
derivative at that cotangent, by the chain rule. One forward pass and q backward passes, batched over inputs, serve
all parameters.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from dntk_jax.factors import Factored, Form, Rule, Stored, rule_of
from dntk_jax.network import Network, Values
from dntk_jax.trace import Environment, Program, Step, traced
from dntk_jax.views import View, extended

Factors = tuple[Any, ...]
"""Arrays of one parameter's block: both factors, or the gradients."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Use:
    """An operation that reads views of parameters, and its number in the program."""

    number: int
    step: Step
    views: Mapping[int, View]

    def floating(self) -> list[int]:
        """Its results that have derivatives."""
        kinds = [variable.aval.dtype for variable in self.step.equation.outvars]
        return [place for place, kind in enumerate(kinds) if jnp.issubdtype(kind, jnp.floating)]

    def zeros(self) -> dict[int, Any]:
        """What is added to them."""
        results = self.step.equation.outvars
        return {place: jnp.zeros(results[place].aval.shape, results[place].aval.dtype) for place in self.floating()}

    def needs(self) -> set[int]:
        """Slots whose values its gradients depend on."""
        numbers = {slot for view in self.views.values() for slot in view.needs()}
        return numbers | {slot for slot in self.step.inputs if slot not in self.views}


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Capture:
    """A network's program for one input, the uses of selected parameters, and the form of each one's gradients.

    ``rules`` has, for parameters whose gradients are factored, every use with its rule.
    """

    program: Program
    every: tuple[str, ...]
    uses: tuple[Use, ...]
    rules: Mapping[str, tuple[tuple[Use, Rule], ...]]
    forms: Mapping[str, Form]

    def gradients(self, values: Values, x: Any, cotangents: Any) -> tuple[Any, dict[str, Factors]]:
        """Outputs, and arrays of every parameter's block, for inputs (n, ...) and cotangents (q, n, C)."""
        axes = {name: (1,) if isinstance(form, Stored) else (0, 1) for name, form in self.forms.items()}

        def one(point: Any, functionals: Any) -> tuple[Any, dict[str, Factors]]:
            zeros = {use.number: use.zeros() for use in self.uses}
            outputs, pull, saved = jax.vjp(lambda z: self._run(values, point, z), zeros, has_aux=True)
            pulled = jax.vmap(lambda functional: pull(functional)[0])(functionals.astype(outputs.dtype))
            stored = self._stored(values, saved, pulled, functionals.shape[0])
            return outputs, {**self._factored(values, saved, pulled), **stored}

        return jax.vmap(one, (0, 1), (0, axes))(x, cotangents)

    def _run(self, values: Values, point: Any, zeros: Mapping[int, Any]) -> tuple[Any, Environment]:
        """Outputs (C,) for one input, and what the uses' gradients depend on."""
        slots = self.program.run(*(values[name] for name in self.every), *jax.tree_util.tree_leaves(point), added=zeros)
        needed = {slot for use in self.uses for slot in use.needs()}
        return slots[self.program.result], {slot: slots[slot] for slot in needed}

    def _factored(self, values: Values, saved: Environment, pulled: Mapping[int, Any]) -> dict[str, Factors]:
        """Both factors, the uses of a parameter side by side along the axis of positions."""
        found: dict[str, Factors] = {}
        for name, uses in self.rules.items():
            kind = values[name].dtype
            left, right = [], []
            for use, rule in uses:
                (view,) = use.views.values()
                cotangent = (pulled[use.number][0] * view.scale(saved)).astype(kind)
                right.append(jax.vmap(rule.right)(cotangent))
                operand = rule.left(use.step.operand(rule.other, saved))
                left.append(operand.astype(kind) if isinstance(rule.form, Factored) else operand)
            found[name] = (jnp.concatenate(left, axis=0), jnp.concatenate(right, axis=1))
        return found

    def _stored(self, values: Values, saved: Environment, pulled: Mapping[int, Any], q: int) -> dict[str, Factors]:
        """Gradients (q, p), by the transposed derivatives of the operations."""
        names = [name for name, form in self.forms.items() if isinstance(form, Stored)]
        total = {name: jnp.zeros((q, values[name].size), values[name].dtype) for name in names}
        for use in self.uses:
            chosen = {view.parameter: values[view.parameter] for view in use.views.values()}
            chosen = {name: value for name, value in chosen.items() if name in total}
            if chosen and use.floating():
                gradients = _transposed(use, chosen, saved, pulled[use.number])
                total.update({name: total[name] + gradients[name].reshape(q, -1) for name in chosen})
        return {name: (value,) for name, value in total.items()}


def _transposed(use: Use, chosen: Values, saved: Environment, cotangents: Any) -> dict[str, Any]:
    """Gradients (q, *shape) in parameters of one operation, whose other operands are fixed."""

    def results(some: Values) -> dict[int, Any]:
        views = {slot: view.replay(some[view.parameter], saved) for slot, view in use.views.items()}
        every = use.step({**saved, **views})
        return {place: every[place] for place in use.floating()}

    _, pull = jax.vjp(results, chosen)
    return jax.vmap(lambda cotangent: pull(cotangent)[0])(cotangents)


def find_capture(network: Network, names: tuple[str, ...], x: Any) -> Capture:
    """Uses of the parameters in ``names``, in a network's program for one input like those in ``x``."""
    program, slots = traced(network, x)
    uses = _uses(network, names, program, slots)
    rules = {name: _rules(name, uses) for name in names}
    known = {name: found for name, found in rules.items() if found}
    forms = {name: known[name][0][1].form if name in known else Stored() for name in names}
    return Capture(program=program, every=tuple(slots), uses=tuple(uses), rules=known, forms=forms)


def _uses(network: Network, names: tuple[str, ...], program: Program, slots: Mapping[str, int]) -> list[Use]:
    views = {slots[name]: View(parameter=name, shape=tuple(network.parameters[name].shape)) for name in names}
    uses = []
    for number, step in enumerate(program.steps):
        touched = {slot: views[slot] for slot in step.inputs if slot in views}
        if not touched:
            continue
        view = extended(step, touched)
        if view is None:
            uses.append(Use(number=number, step=step, views=touched))
        else:
            views[step.outputs[0]] = view
    return uses


def _rules(name: str, uses: list[Use]) -> tuple[tuple[Use, Rule], ...]:
    """Every use of a parameter with its rule; empty where one has none or their forms differ."""
    found: list[tuple[Use, Rule]] = []
    for use in uses:
        if name not in {view.parameter for view in use.views.values()}:
            continue
        slot, view = next(iter(use.views.items()))
        alone = len(use.views) == 1 and use.step.operands.count(slot) == 1
        rule = rule_of(use.step, view, use.step.operands.index(slot)) if alone else None
        if rule is None or (found and found[0][1].form != rule.form):
            return ()
        found.append((use, rule))
    return tuple(found)
