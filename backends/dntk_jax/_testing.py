"""A random functional of a network, with which forms of gradients are compared."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dntk import arrays
from dntk.models import batches
from dntk.models.adapter import PROBES
from dntk_jax._blocks import block_of
from dntk_jax._evidence import inputs_showing
from dntk_jax.behaviour import coarsest, evaluated, tolerance, trace
from dntk_jax.factors import Form
from dntk_jax.network import Network, exact_products
from dntk_jax.per_sample import gradient
from dntk_jax.requirements import FRAMEWORK
from dntk_jax.trace import reaches_parameters


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Test:
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

    @property
    def untold(self) -> frozenset[str]:
        """Parameters without a gradient at these inputs, of which every form would pass."""
        return frozenset(name for name, grad in self.gradients.items() if not np.asarray(grad).any())

    @classmethod
    def first(cls, network: Network, names: tuple[str, ...], x: Any) -> "Test":
        """Test at the first few inputs of a batch, and at others that have a gradient where these have none.

        Texts that are masked throughout have none, whatever the network is.
        """
        few = batches.first(x, PROBES)
        with contextlib.suppress(_VanishingError):
            return cls.draw(network, names, few)
        return cls.draw(network, names, inputs_showing(network, x, tuple(network.parameters), few), vanishing=True)

    @classmethod
    def draw(cls, network: Network, names: tuple[str, ...], x: Any, *, vanishing: bool = False) -> "Test":
        """Test for a network at some inputs; the random numbers are fixed and not the caller's.

        Where all gradients vanish the test says nothing, and is made only if asked for.
        """
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
            if not vanishing:
                raise _VanishingError
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


class _VanishingError(Exception):
    """No parameter has a gradient at some inputs."""


def _require_some_gradient(differentiate: Any, network: Network, x: Any, cotangents: Any) -> None:
    """Raise ``ValueError`` where gradients vanish at random parameters and inputs, too.

    A network of dead units has some there, and one without biases, which has none at blank inputs. One that takes whole
    numbers is refused only where no derivative leads from its outputs to a parameter.
    """
    generator = np.random.default_rng(21)

    def moved(value: Any, share: float = 1.0) -> Any:
        if not jnp.issubdtype(value.dtype, jnp.floating):
            return value
        return share * value + jnp.asarray(generator.normal(size=value.shape), value.dtype)

    others = {name: moved(value, 0.0) for name, value in network.parameters.items()}
    for change in (moved, lambda part: _shown(moved(part))):
        found = differentiate(others, jax.tree_util.tree_map(change, x), cotangents)
        if any(_norm(value) for value in found.values()):
            return
    gates = any(not jnp.issubdtype(part.dtype, jnp.floating) for part in jax.tree_util.tree_leaves(x))
    if gates and reaches_parameters(network, x, cotangents):  # nobody knows which whole number opens one
        return
    msg = (
        "the network's outputs carry no gradient of any parameter: does it stop gradients "
        "(jax.lax.stop_gradient), take an argmax, or round?"
    )
    raise ValueError(msg)


def _shown(part: Any) -> Any:
    """What may be a mask that hides everything, as one that hides nothing; a position that is none does no harm."""
    if part.dtype == jnp.bool_:
        return ~part if bool(jnp.all(part == part.reshape(-1)[0])) else part
    hides = not jnp.issubdtype(part.dtype, jnp.floating) and not bool(jnp.any(part))
    return jnp.ones_like(part) if hides else part


def _norm(values: Any) -> float:
    """Euclidean norm, in float64 as it may be small or large."""
    return float(np.linalg.norm(np.asarray(values).astype(np.complex128)))
