"""JAX networks of many kinds, each with what its parameters' gradients should look like."""

import contextlib
import dataclasses
import functools
import typing

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx


@contextlib.contextmanager
def compiled_quickly():
    """Without most of XLA's optimisations: small networks spend all their time in the compiler."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


@dataclasses.dataclass(frozen=True)
class Case:
    """Arguments of ``dntk.as_model``, the same network as ``function(params, x)``, and forms of some parameters.

    ``kinds`` gives the block of every parameter that is not dense.
    """

    arguments: tuple
    function: typing.Callable
    params: typing.Any
    x: jax.Array
    kinds: dict

    def doubled(self):
        """The network in float64, as a function; needs x64."""
        params = jax.tree_util.tree_map(_to_float64, self.params)
        return self.function, params, _to_float64(self.x)


def _to_float64(leaf):
    floating = isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating)
    return leaf.astype(jnp.float64) if floating else leaf


def normal(seed, *shape):
    scale = shape[0] ** -0.5 if len(shape) > 1 else 1.0
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape) * scale, jnp.float32)


def ids(seed, low, high, *shape):
    return jnp.asarray(np.random.default_rng(seed).integers(low, high, size=shape), jnp.int32)


def of_function(function, params, x, **kinds):
    return Case(arguments=(function, params), function=function, params=params, x=x, kinds=kinds)


def factored(*names):
    return dict.fromkeys(names, "FactoredBlock")


def mlp():
    params = {
        "first": {"w": normal(0, 3, 5), "b": normal(1, 5)},
        "second": [{"w": normal(2, 4, 5), "b": normal(3, 4)}],
        "third": (normal(4, 2, 4), normal(5, 2)),
        "gain": normal(6, 4),
        "steps": jnp.arange(3),
    }

    def function(p, x):
        x = jnp.tanh(x @ p["first"]["w"] + p["first"]["b"])
        x = p["gain"] * jax.nn.gelu(x @ p["second"][0]["w"].T + p["second"][0]["b"])
        return jnp.einsum("nd,cd->nc", x, p["third"][0]) + p["third"][1]

    return of_function(function, params, normal(7, 6, 3), **factored("first.w", "second.0.w", "third.0"))


def two_layers():
    params = {"v": normal(0, 3, 4), "w": normal(1, 4, 2)}
    return of_function(lambda p, x: jnp.tanh(x @ p["v"]) @ p["w"], params, normal(2, 4, 3), **factored("v", "w"))


def scaled_mlp():
    """The parametrisation of NTK theory: weights divided by the root of their width."""
    params = {"v": normal(0, 4, 3), "w": normal(1, 3, 2), "temperature": 2.0}

    def function(p, x):
        x = jnp.sin(x @ (p["v"] / jnp.sqrt(4.0))) / p["temperature"]
        return x @ (-0.5 * p["w"])

    return of_function(function, params, normal(2, 5, 4), **factored("v", "w"))


def tensors():
    """Weights with more than two axes, in head-split projections, and one that is no matrix."""
    params = {"q": normal(0, 4, 2, 3), "o": normal(1, 2, 3, 4), "mixed": normal(2, 2, 4, 3), "rows": normal(3, 5, 4)}

    def function(p, x):
        heads = jnp.einsum("nti,ihk->nhtk", x, p["q"])
        heads = heads + jnp.einsum("nti,hik->nhtk", x, p["mixed"])
        x = jnp.tanh(jnp.einsum("nhtk,hko->nto", heads, p["o"]))
        x = jnp.einsum("ti,nti->nti", p["rows"], x)
        return x.sum(axis=1)

    return of_function(function, params, normal(4, 3, 5, 4), **factored("q", "o"))


def convolutions():
    """Both layouts of kernels, dilation, strides, uneven padding, groups, and a transposed one with flipped axes."""
    params = {
        "a": normal(0, 3, 2, 2, 4),
        "b": normal(1, 6, 4, 2, 2),
        "depthwise": normal(2, 3, 3, 1, 6),
        "c": normal(3, 2, 2, 6, 3),
        "head": normal(4, 3, 2),
    }

    def function(p, x):
        conv = jax.lax.conv_general_dilated
        x = jnp.tanh(conv(x, p["a"], (2, 1), ((1, 0), (2, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")))
        x = conv(
            x.transpose(0, 3, 1, 2),
            p["b"],
            (1, 1),
            "SAME",
            rhs_dilation=(2, 1),
            dimension_numbers=("NCHW", "OIHW", "NHWC"),
        )
        x = conv(
            jnp.tanh(x),
            p["depthwise"],
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=6,
        )
        flipped, numbers = jnp.flip(p["c"], (0, 1)), ("NHWC", "HWIO", "NHWC")
        x = conv(jnp.sin(x), flipped, (1, 1), ((1, 0), (0, 1)), lhs_dilation=(2, 2), dimension_numbers=numbers)
        return x.mean((1, 2)) @ p["head"]

    return of_function(function, params, normal(5, 3, 6, 5, 2), **factored("a", "b", "c", "head"))


def layer_norm(p, x):
    centred = x - x.mean(-1, keepdims=True)
    return p["scale"] * centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) + p["shift"]


def block(p, x):
    h = layer_norm(p["norm"], x)
    q, k, v = jnp.split(h @ p["qkv"], 3, axis=-1)
    scores = jax.nn.softmax(q @ k.mT / q.shape[-1] ** 0.5, axis=-1)
    return x + (scores @ v) @ p["out"]


def transformer():
    """Attention over ids, with the table of words again as the read-out."""
    width, words = 4, 7
    params = {
        "table": normal(0, words, width),
        "places": normal(1, 5, width),
        "block": {
            "norm": {"scale": 1 + 0.1 * normal(2, width), "shift": 0.1 * normal(3, width)},
            "qkv": normal(4, width, 3 * width),
            "out": normal(5, width, width),
        },
    }

    def function(p, ids):
        x = p["table"][ids] + p["places"]
        return jax.checkpoint(block)(p["block"], x).mean(axis=1) @ p["table"].T

    return of_function(function, params, ids(7, -words, words, 4, 5), **factored("block.qkv", "block.out"))


def tables():
    """One table looked up twice, and one looked up with ids clipped at the border."""
    params = {"twice": normal(0, 6, 3), "clipped": normal(1, 4, 3), "out": normal(2, 3, 2)}

    def function(p, ids):
        x = jnp.take(p["twice"], ids, axis=0).sum(1) * p["twice"][ids[:, 0]]
        return jnp.tanh(x + jnp.take(p["clipped"], ids[:, 1], axis=0, mode="clip")) @ p["out"]

    tokens = ids(3, 0, 6, 5, 3)
    kinds = {"twice": "IndexedBlock", "clipped": "IndexedBlock", "out": "FactoredBlock"}
    return of_function(function, params, tokens, **kinds)


def shared():
    """One weight used twice the same way, one used both ways round, one used and squared."""
    params = {"same": normal(0, 3, 3), "both": normal(1, 3, 3), "squared": normal(2, 3, 2), "idle": normal(3, 2)}

    def function(p, x):
        x = jnp.tanh(jnp.tanh(x @ p["same"]) @ p["same"])
        x = jnp.sin(x @ p["both"]) @ p["both"].T
        return x @ p["squared"] + (p["squared"] ** 2).sum(0)

    return of_function(function, params, normal(4, 5, 3), **factored("same"))


def nonlinear():
    """Parameters inside functions, products of parameters, slices, and control flow."""
    params = {
        "softmax": normal(0, 4, 3),
        "direction": normal(1, 3, 3),
        "length": normal(2, 3),
        "low": normal(3, 3, 1),
        "rank": normal(4, 1, 3),
        "scan": normal(5, 3, 3),
        "stack": normal(6, 2, 3, 3),
        "cond": normal(7, 3),
        "slope": jnp.asarray([0.3], jnp.float32),
    }

    def function(p, x):
        x = x @ jax.nn.softmax(p["softmax"], axis=0)
        norms = jnp.linalg.norm(p["direction"], axis=0)
        x = jnp.tanh(x @ (p["length"] * p["direction"] / norms))
        x = x + x @ (p["low"] @ p["rank"])
        x, _ = jax.lax.scan(lambda c, _: (jnp.tanh(c @ p["scan"]), None), x, None, length=3)
        x, _ = jax.lax.scan(lambda c, w: (jnp.sin(c @ w), None), x, p["stack"])
        x = x @ p["stack"][0]
        x = jax.vmap(lambda row: jax.lax.cond(row[0] > 0, lambda r: r * p["cond"], lambda r: r, row))(x)
        return jnp.where(x > 0, x, p["slope"] * x)

    return of_function(function, params, normal(8, 6, 4))


@jax.custom_vjp
def clipped_gradient(w, x):
    return x @ w


def _forward(w, x):
    return x @ w, (w, x)


def _backward(saved, g):
    w, x = saved
    return 2.0 * x.T @ g, g @ w.T  # twice the derivative: a rule of its own


clipped_gradient.defvjp(_forward, _backward)


def own_rule():
    """A backward rule that is no derivative, which is what JAX and the kernel must both follow."""
    params = {"w": normal(0, 3, 4), "v": normal(1, 4, 2)}
    return of_function(
        lambda p, x: jnp.tanh(clipped_gradient(p["w"], x)) @ p["v"], params, normal(2, 5, 3), **factored("v")
    )


def half_precision_inside():
    """Products in bfloat16 of parameters in float32."""
    params = {"w": normal(0, 3, 4), "v": normal(1, 4, 2)}

    def function(p, x):
        half = jnp.bfloat16
        return jnp.tanh((x.astype(half) @ p["w"].astype(half)).astype(x.dtype)) @ p["v"]

    return of_function(function, params, normal(2, 5, 3), **factored("w", "v"))


class Pair(typing.NamedTuple):
    w: jax.Array
    b: jax.Array


@functools.partial(jax.tree_util.register_dataclass, data_fields=["pair", "gain"], meta_fields=["name"])
@dataclasses.dataclass
class Record:
    pair: Pair
    gain: jax.Array
    name: str


@jax.tree_util.register_pytree_node_class
class Unnamed:
    """A container that JAX knows without the names of its parts."""

    __slots__ = ("record",)

    def __init__(self, record):
        self.record = record

    def tree_flatten(self):
        return (self.record,), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


def containers():
    params = Unnamed(Record(pair=Pair(w=normal(0, 3, 2), b=normal(1, 2)), gain=normal(2, 2), name="record"))

    def function(p, x):
        return p.record.gain * (x @ p.record.pair.w + p.record.pair.b)

    return of_function(function, params, normal(3, 4, 3), **factored("0.pair.w"))


class NNXConv(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Conv(2, 3, (3, 3), strides=2, rngs=rngs)
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.layers = nnx.List([nnx.ConvTranspose(3, 2, (2, 2), rngs=rngs), nnx.Conv(2, 2, (1, 1), rngs=rngs)])
        self.head = nnx.Linear(2, 3, rngs=rngs)

    def __call__(self, x):
        x = self.drop(nnx.relu(self.norm(self.first(x))))
        for layer in self.layers:
            x = nnx.tanh(layer(x))
        return self.head(x.mean((1, 2)))


class NNXAttention(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(6, 4, rngs=rngs)
        self.norm = nnx.LayerNorm(4, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 4, dropout_rate=0.1, decode=False, rngs=rngs)
        self.head = nnx.Linear(4, 2, rngs=rngs)

    def __call__(self, ids):
        x = self.embed(ids)
        return self.head((x + self.attention(self.norm(x))).mean(axis=1))


def of_nnx(module, x, **kinds):
    module.eval()
    graph, params, rest = nnx.split(module, nnx.Param, ...)
    return Case(
        arguments=(module,),
        function=lambda p, x: nnx.merge(graph, p, _cast_like(rest, x), copy=True)(x),
        params=params,
        x=x,
        kinds=kinds,
    )


def _cast_like(rest, x):
    """State in the precision of the inputs, as if the whole module had been converted."""
    return jax.tree_util.tree_map(_to_float64, rest) if x.dtype == jnp.float64 else rest


def nnx_conv():
    module = NNXConv(nnx.Rngs(0))
    module.norm.mean[...] = normal(1, 3)
    module.norm.var[...] = 1 + normal(2, 3) ** 2
    names = ("first.kernel", "layers.0.kernel", "layers.1.kernel", "head.kernel")
    return of_nnx(module, normal(3, 4, 6, 6, 2), **factored(*names))


def nnx_attention():
    tokens = ids(1, 0, 6, 3, 5)
    names = [f"attention.{part}.kernel" for part in ("query", "key", "value", "out")]
    return of_nnx(
        NNXAttention(nnx.Rngs(0)), tokens, **factored(*names, "head.kernel"), **{"embed.embedding": "IndexedBlock"}
    )


class LinenMLP(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.BatchNorm(use_running_average=True)(linen.Dense(4)(x))
        return linen.Dense(2)(linen.relu(x))


def linen_mlp():
    module, x = LinenMLP(), normal(0, 5, 3)
    variables = module.init(jax.random.key(0), x)
    rest = {name: value for name, value in variables.items() if name != "params"}
    return Case(
        arguments=(module, variables),
        function=lambda p, x: module.apply({"params": p, **rest}, x),
        params=variables["params"],
        x=x,
        kinds=factored("Dense_0.kernel", "Dense_1.kernel"),
    )


class EquinoxConv(eqx.Module):
    layers: list
    activation: typing.Callable
    drop: eqx.nn.Dropout
    width: jax.Array

    def __init__(self, key):
        keys = jax.random.split(key, 3)
        self.layers = [
            eqx.nn.Conv2d(2, 3, 3, padding=1, key=keys[0]),
            eqx.nn.Conv2d(3, 3, 2, groups=3, key=keys[1]),
            eqx.nn.Linear(3, 2, key=keys[2]),
        ]
        self.activation = jax.nn.silu
        self.drop = eqx.nn.Dropout(0.5)
        self.width = jnp.asarray(3)

    def __call__(self, x):
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](self.drop(x.mean((1, 2)) * self.width))


def of_equinox(module, x, **kinds):
    module = eqx.nn.inference_mode(module)
    params, rest = eqx.partition(module, eqx.is_inexact_array)
    return Case(
        arguments=(module,),
        function=lambda p, x: jax.vmap(eqx.combine(p, rest))(x),
        params=params,
        x=x,
        kinds=kinds,
    )


def equinox_mlp():
    module = eqx.nn.MLP(3, 2, 5, 2, key=jax.random.key(0))
    return of_equinox(module, normal(0, 5, 3), **factored(*(f"layers.{i}.weight" for i in range(3))))


def equinox_conv():
    module = EquinoxConv(jax.random.key(1))
    return of_equinox(module, normal(0, 4, 2, 5, 5), **factored("layers.0.weight", "layers.2.weight"))


CASES = {
    "mlp": mlp,
    "two-layers": two_layers,
    "scaled-mlp": scaled_mlp,
    "tensors": tensors,
    "convolutions": convolutions,
    "tied-transformer": transformer,
    "tables": tables,
    "shared": shared,
    "nonlinear": nonlinear,
    "own-rule": own_rule,
    "half-precision-inside": half_precision_inside,
    "containers": containers,
    "nnx-conv": nnx_conv,
    "nnx-attention": nnx_attention,
    "linen-mlp": linen_mlp,
    "equinox-mlp": equinox_mlp,
    "equinox-conv": equinox_conv,
}


@functools.cache
def case(name):
    with jax.enable_x64(False):
        return CASES[name]()
