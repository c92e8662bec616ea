"""JAX: what finding closed forms costs, and the kernel by them beside that by jax.jacrev; seconds of CPU time.

Both sides are called once before they are timed, as they compile then; repetitions alternate, and medians are shown.

Run: python benchmarks/jax_forms.py [--points 32] [--repeats 5]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import dntk

N_OUTPUTS = 10
Network = tuple[Callable[[Any, Any], Any], Any, tuple[int, ...]]
"""A function of parameters and inputs, its parameters, and the shape of one input."""


def main() -> None:
    """One line a network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print(f"{'network':12} {'parameters':>10} {'forms':>8} {'dntk':>8} {'jacrev':>8} {'ratio':>6} {'error':>8}")
    for name, make in NETWORKS.items():
        found = measured(make(), arguments.points, arguments.repeats)
        print(
            f"{name:12} {found['parameters']:10,} {found['forms']:8.2f} {found['dntk']:8.3f} {found['jacrev']:8.3f} "
            f"{found['dntk'] / found['jacrev']:6.2f} {found['error']:8.0e}"
        )


def measured(network: Network, points: int, repeats: int) -> dict[str, Any]:
    """Seconds of both, of the first look at the network, and how far the kernels are apart."""
    fn, params, shape = network
    x = jax.random.normal(jax.random.key(1), (points, *shape))
    model = dntk.as_model(fn, params)
    forms, _ = _timed(lambda: model.gradient_forms(x))
    exact = by_jacrev(fn, params)
    ways = {"dntk": lambda: dntk.ntk(model, x), "jacrev": lambda: exact(x)}
    kernels = {name: way() for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            seconds[name].append(_timed(way)[0])
    error = jnp.linalg.norm(kernels["dntk"] - kernels["jacrev"]) / jnp.linalg.norm(kernels["jacrev"])
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    return {"parameters": model.n_parameters, "forms": forms, "error": float(error), **medians}


def by_jacrev(fn: Callable[[Any, Any], Any], params: Any) -> Callable[[Any], Any]:
    """The mean kernel from whole Jacobians, compiled."""

    @jax.jit
    def kernel(x: Any) -> Any:
        jacobian = jax.vmap(jax.jacrev(lambda p, point: fn(p, point[None])[0]), (None, 0))(params, x)
        rows = [leaf.reshape(x.shape[0], -1) for leaf in jax.tree_util.tree_leaves(jacobian)]
        return sum(row @ row.T for row in rows) / N_OUTPUTS

    return kernel


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    found = jax.block_until_ready(work())
    return time.process_time() - start, found


def _normal(seed: int, *shape: int) -> Any:
    return jax.random.normal(jax.random.key(seed), shape) / shape[0] ** 0.5


def perceptron(width: int = 256) -> Network:
    """Three layers."""
    params = [_normal(0, 64, width), _normal(1, width, width), _normal(2, width, N_OUTPUTS)]

    def fn(p: Any, x: Any) -> Any:
        return jnp.tanh(jnp.tanh(x @ p[0]) @ p[1]) @ p[2]

    return fn, params, (64,)


def convolutional(width: int = 32) -> Network:
    """Two convolutions and a mean."""
    params = [_normal(0, 3, 3, 3, width), _normal(1, 3, 3, width, width), _normal(2, width, N_OUTPUTS)]

    def fn(p: Any, x: Any) -> Any:
        for kernel in p[:2]:
            form = ("NHWC", "HWIO", "NHWC")
            x = jax.nn.relu(jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=form))
        return x.mean((1, 2)) @ p[2]

    return fn, params, (32, 32, 3)


def attention(width: int = 64) -> Network:
    """One block of attention."""
    params = {name: _normal(i, width, width) for i, name in enumerate("qkvo")} | {"h": _normal(9, width, N_OUTPUTS)}

    def fn(p: Any, x: Any) -> Any:
        q, k, v = (x @ p[name] for name in "qkv")
        mixed = jax.nn.softmax(q @ k.swapaxes(-1, -2) / width**0.5) @ v
        return (x + mixed @ p["o"]).mean(1) @ p["h"]

    return fn, params, (16, width)


NETWORKS: dict[str, Callable[[], Network]] = {
    "perceptron": perceptron,
    "convolution": convolutional,
    "attention": attention,
}


if __name__ == "__main__":
    main()
