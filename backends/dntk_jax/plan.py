"""Checks on a few inputs, before any number is believed.

The cheap form of a parameter's per-sample gradients G_i is used only where Σ_i w_i G_i agrees with JAX's own gradient
of Σ_i w_i ⟨u, f(x_i)⟩ over the batch, for random w and u. Agreement for random weights w is agreement of every G_i,
with probability one.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dntk import arrays
from dntk.gradient_blocks import FactoredBlock, GradientBlock, IndexedBlock
from dntk.models import batches
from dntk.models.adapter import PROBES, stored_block
from dntk_jax.behaviour import coarsest, evaluated, tolerance, trace
from dntk_jax.capture import Capture, Factors, find_capture
from dntk_jax.factors import Factored, Form, Indexed, Stored
from dntk_jax.network import Network, exact_products
from dntk_jax.per_sample import PerSample, by_loop, by_vmap, gradient
from dntk_jax.requirements import FRAMEWORK


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """How each selected parameter is differentiated, as the probe found it.

    ``compute``, compiled per shape, takes all parameters by name, inputs (n, ...) and cotangents (q, n, C) to the
    outputs (n, C) and the arrays of every block. ``why_not``: why some parameters take passes for every input.
    """

    forms: Mapping[str, Form]
    why_not: Mapping[str, str]
    compute: Callable[[Any, Any, Any], tuple[Any, dict[str, Factors]]]


def block_of(form: Form, factors: Factors, name: str) -> GradientBlock:
    """Block of one parameter, at offset 0; what 16-bit networks make of it as float32."""
    factors = tuple(arrays.widened(factor) for factor in factors)
    if isinstance(form, Factored):
        a, g = factors
        return FactoredBlock(name=name, offset=0, inputs=a, cotangents=g, transposed=form.transposed)
    if isinstance(form, Indexed):
        ids, g = factors
        return IndexedBlock(name=name, offset=0, ids=ids, cotangents=g, rows=form.rows)
    return stored_block(name, *factors)


def make_plan(network: Network, names: tuple[str, ...], x: Any) -> Plan:
    """The cheapest exact way for every parameter in ``names``, verified on the first few of ``x``.

    Raises
    ------
    ValueError
        No way reproduces JAX's gradient, or JAX cannot differentiate the network.
    """
    test = _Test.draw(network, names, batches.first(x, PROBES))
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
    return Plan(forms=forms, why_not={name: _WHY[method] for name, method in others.items()}, compute=jax.jit(compute))


_WHY: Mapping[PerSample, str] = {
    by_vmap: "the operations that read it do not give its gradients, or the network's program cannot be taken apart",
    by_loop: "its gradients for several inputs at once are not those of one after the other",
}
"""Why a parameter is differentiated by a general method."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Test:
    """A random functional Σ_i w_i ⟨u, f(x_i)⟩ with JAX's gradient of it.

    ``rounding`` is the network's unit of rounding, ``smallest`` the size of what rounding leaves of zero gradients.
    """

    network: Network
    x: Any
    weights: Any
    functional: Any
    gradients: Mapping[str, Any]
    rounding: float
    smallest: float

    @classmethod
    def draw(cls, network: Network, names: tuple[str, ...], x: Any) -> "_Test":
        """Test for a network at some inputs; the random numbers are fixed and not the caller's."""
        outputs = evaluated(network, x)
        rounding = coarsest(trace(network, batches.first(x)), outputs)
        generator = np.random.default_rng(20)
        weights, functional = (jnp.asarray(generator.normal(size=size), outputs.dtype) for size in outputs.shape)
        every = tuple(network.parameters)
        try:
            with exact_products():
                differentiate = jax.jit(functools.partial(gradient, network, every))
                found = differentiate(network.parameters, x, weights[:, None] * functional)
        except FRAMEWORK.not_its_fault:
            raise
        except Exception as error:
            msg = f"JAX cannot differentiate the network in its parameters: {error}"
            raise ValueError(msg) from error
        # Where a gradient vanishes in exact arithmetic (a bias before a normalisation), what remains is rounding of
        # the size of the other parameters' gradients.
        scale = math.hypot(*(_norm(value) for value in found.values()))
        if scale == 0:
            _require_some_gradient(differentiate, network, x, weights[:, None] * functional)
        return cls(
            network=network,
            x=x,
            weights=weights,
            functional=functional,
            gradients={name: found[name] for name in names},
            rounding=rounding,
            smallest=100 * rounding * scale,
        )

    def failures(self, forms: Mapping[str, Form], compute: Callable[[Any, Any, Any], Any]) -> set[str]:
        """Names of blocks whose Σ_i w_i G_i is not the gradient, to rounding."""
        # Two cotangents, as a way that works for one alone may fail for more.
        cotangents = jnp.broadcast_to(self.functional, (2, batches.count(self.x), self.functional.shape[0]))

        def totals(values: Any, x: Any, weights: Any) -> dict[str, Any]:
            _, computed = compute(values, x, cotangents)
            blocks = {name: block_of(form, computed[name], name) for name, form in forms.items()}
            return {
                name: jnp.einsum("n,np->p", arrays.widened(weights), block.dense()[1]) for name, block in blocks.items()
            }

        with exact_products():
            found = jax.jit(totals)(self.network.parameters, self.x, self.weights)
        return {name for name, total in found.items() if not self._agrees(name, total)}

    def _agrees(self, name: str, total: Any) -> bool:
        expected = self.gradients[name].reshape(-1)
        if total.shape != expected.shape:
            return False
        error = _norm(np.asarray(total) - np.asarray(expected))
        return error <= tolerance(self.rounding) * _norm(expected) + self.smallest


def _require_some_gradient(differentiate: Any, network: Network, x: Any, cotangents: Any) -> None:
    """Raise ``ValueError`` where gradients vanish at random parameters and inputs, too.

    A network of dead units has some there, and one without biases, which has none at blank inputs.
    """
    generator = np.random.default_rng(21)

    def moved(value: Any, share: float = 1.0) -> Any:
        if not jnp.issubdtype(value.dtype, jnp.floating):
            return value
        return share * value + jnp.asarray(generator.normal(size=value.shape), value.dtype)

    others = {name: moved(value, 0.0) for name, value in network.parameters.items()}
    found = differentiate(others, jax.tree_util.tree_map(moved, x), cotangents)
    if not any(_norm(value) for value in found.values()):
        msg = (
            "the network's outputs carry no gradient of any parameter: does it stop gradients "
            "(jax.lax.stop_gradient), take an argmax, or round?"
        )
        raise ValueError(msg)


def _norm(values: Any) -> float:
    """Euclidean norm, in float64 as it may be small or large."""
    return float(np.linalg.norm(np.asarray(values).astype(np.complex128)))


def _verified_capture(test: _Test, names: tuple[str, ...]) -> Capture | None:
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


def _verified_methods(test: _Test, names: tuple[str, ...]) -> dict[str, PerSample]:
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


def _failures(method: PerSample, test: _Test, names: tuple[str, ...]) -> set[str]:
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
