"""Checks on a few inputs, before any number is believed.

The cheap form of a parameter's per-sample gradients G_i is used only where Σ_i w_i G_i agrees with JAX's own gradient
of Σ_i w_i ⟨u, f(x_i)⟩ over the batch, for random w and u. Agreement for random weights w is agreement of every G_i,
with probability one.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax

from dntk_jax._testing import Test
from dntk_jax.capture import Capture, Factors, find_capture
from dntk_jax.factors import Form, Stored
from dntk_jax.network import Network
from dntk_jax.per_sample import PerSample, by_loop, by_vmap
from dntk_jax.requirements import FRAMEWORK


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """How each selected parameter is differentiated, as the probe found it.

    ``compute``, compiled per shape, takes all parameters by name, inputs (n, ...) and cotangents (q, n, C) to the
    outputs (n, C) and the arrays of every block. ``why_not``: why some parameters take passes for every input.
    ``untold``: parameters without a gradient at the inputs by which the forms were verified, ``shown``, so that their
    forms were compared with nothing; ``tried``: those for which other inputs were looked for.
    """

    forms: Mapping[str, Form]
    why_not: Mapping[str, str]
    compute: Callable[[Any, Any, Any], tuple[Any, dict[str, Factors]]]
    untold: frozenset[str]
    shown: Any
    tried: frozenset[str] = frozenset()


def make_plan(network: Network, names: tuple[str, ...], x: Any) -> Plan:
    """The cheapest exact way for every parameter in ``names``, verified on the first few of ``x``.

    Raises
    ------
    ValueError
        No way reproduces JAX's gradient, or JAX cannot differentiate the network.
    """
    return _plan_by(Test.first(network, names, x), names)


def plan_at(network: Network, names: tuple[str, ...], shown: Any) -> Plan:
    """As :func:`make_plan`, verified on all of the inputs ``shown``."""
    return _plan_by(Test.draw(network, names, shown, vanishing=True), names)


def _plan_by(test: Test, names: tuple[str, ...]) -> Plan:
    """The cheapest exact way for every parameter in ``names``, verified by a test at a few inputs."""
    network = test.network
    capture = _verified_capture(test, names)
    captured = () if capture is None else tuple(capture.forms)
    others = _verified_methods(test, tuple(name for name in names if name not in captured))

    def compute(values: Any, points: Any, cotangents: Any) -> tuple[Any, dict[str, Factors]]:
        found: dict[str, Factors] = {}
        if capture is None:
            outputs = network.function(values, points)
        else:
            outputs, found = capture.gradients(values, points, cotangents)
        for method in dict.fromkeys(others.values()):
            mine = tuple(name for name, chosen in others.items() if chosen is method)
            gradients = method(network, mine, values, points, cotangents)
            found.update({name: (gradients[name],) for name in mine})
        return outputs, found

    forms = {name: capture.forms[name] if capture and name in captured else Stored() for name in names}
    return Plan(
        forms=forms,
        why_not={name: _WHY[method] for name, method in others.items()},
        compute=jax.jit(compute),
        untold=test.untold,
        shown=test.x,
    )


_WHY: Mapping[PerSample, str] = {
    by_vmap: "the operations that read it do not give its gradients, or the network's program cannot be taken apart",
    by_loop: "its gradients for several inputs at once are not those of one after the other",
}
"""Why a parameter is differentiated by a general method."""


def _verified_capture(test: Test, names: tuple[str, ...]) -> Capture | None:
    """The capture of all parameters for which it holds, ``None`` where there is none."""
    while names:
        try:
            capture = find_capture(test.network, names, test.x)
            failures = test.failures(capture.forms, capture.gradients)
        except FRAMEWORK.not_its_fault:
            raise
        except Exception:
            # Operations without a batching rule, programs that cannot be taken apart: the general ways know more.
            return None
        if not failures:
            return capture
        names = tuple(name for name in names if name not in failures)
    return None


def _verified_methods(test: Test, names: tuple[str, ...]) -> dict[str, PerSample]:
    """For each parameter, the general method that reproduces JAX's gradient."""
    methods: dict[str, PerSample] = {}
    for method in (by_vmap, by_loop):
        left = tuple(name for name in names if name not in methods)
        if left:
            failures = _failures(method, test, left)
            methods.update({name: method for name in left if name not in failures})
    wrong = [name for name in names if name not in methods]
    if wrong:
        msg = (
            f"per-sample gradients in {', '.join(wrong[:4])} do not add up to JAX's gradient for the batch: the "
            "derivative of an operation depends on the batch. Leave them out with `parameters`."
        )
        raise ValueError(msg)
    return methods


def _failures(method: PerSample, test: Test, names: tuple[str, ...]) -> set[str]:
    def compute(values: Any, x: Any, cotangents: Any) -> tuple[Any, dict[str, Factors]]:
        gradients = method(test.network, names, values, x, cotangents)
        return None, {name: (gradients[name],) for name in names}

    try:
        return test.failures(dict.fromkeys(names, Stored()), compute)
    except FRAMEWORK.not_its_fault:
        raise
    except Exception:
        # An operation without a batching rule; the loop needs none.
        if method is by_loop:
            raise
        return set(names)
