"""JAX networks as models, against the Jacobian of jax.jacrev over the whole batch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dntk
import dntk_jax.factors
from dntk.models import GradientForms
from tests.jacobians import points, random_network
from tests.jax_networks import CASES, case, compiled_quickly, normal
from tests.libraries import host

IN_FLOAT64 = ("mlp", "tied-transformer", "nonlinear", "own-rule")
"""Networks whose products with the Jacobian are tested too, to the last digits; all others in float32."""


@pytest.fixture(autouse=True, scope="module")
def _compiled_quickly():
    with compiled_quickly():
        yield


def jacobian(function, params, x):
    """(C, n, P) by reverse mode through the batched function, in the order of the leaves; no block is used."""
    leaves, structure = jax.tree_util.tree_flatten(params)
    chosen = [i for i, leaf in enumerate(leaves) if jnp.issubdtype(jnp.asarray(leaf).dtype, jnp.floating)]

    def outputs(some):
        filled = dict(enumerate(leaves)) | dict(zip(chosen, some, strict=True))
        return function(jax.tree_util.tree_unflatten(structure, [filled[i] for i in range(len(leaves))]), x)

    with jax.default_matmul_precision("highest"):
        rows = jax.jit(jax.jacrev(outputs))([jnp.asarray(leaves[i]) for i in chosen])
    flat = [np.asarray(row).reshape(*row.shape[:2], -1) for row in rows]
    return np.concatenate(flat, axis=2).transpose(1, 0, 2)


def relative(found, expected):
    return np.linalg.norm(np.asarray(found, np.float64) - expected) / np.linalg.norm(expected)


def pieces(model, x, cotangents):
    """All blocks' gradients at their offsets (q, n, P), and the kind of every block."""
    whole, kinds = np.full((cotangents.shape[0], x.shape[0], model.n_parameters), np.nan), {}
    for block in model.gradient_blocks(x, cotangents):
        assert block.dense().dtype == model.dtype
        whole[:, :, block.offset : block.offset + block.size] = host(block.dense())
        kinds[block.name] = type(block).__name__
    return whole, kinds


@pytest.mark.parametrize("name", [name for name in CASES if name not in IN_FLOAT64])
def test_blocks_are_the_jacobian_in_the_form_of_their_layer(name):
    network = case(name)
    model, x = dntk.as_model(*network.arguments), network.x
    expected = jacobian(network.function, network.params, x).astype(np.float64)
    c, n, p = expected.shape
    assert model(x).shape == (n, c)
    assert (model.n_parameters, model.n_outputs, model.dtype) == (p, c, jnp.float32)
    found, kinds = pieces(model, x, jnp.eye(c))
    # Rounding to bfloat16 has no exact reference: a batch of another size may round elsewhere.
    assert relative(found, expected) < (1e-2 if "half-precision" in name else 1e-5)
    assert kinds == dict.fromkeys(model.parameters, "DenseBlock") | network.kinds


@pytest.mark.parametrize("name", IN_FLOAT64)
def test_blocks_kernel_jvp_and_vjp_are_the_jacobian_in_float64(name):
    with jax.enable_x64(True):
        function, params, x = case(name).doubled()
        model = dntk.as_model(function, params)
        expected = jacobian(function, params, x)
        c, n, p = expected.shape
        assert model(x).dtype == model.dtype == jnp.float64
        rng = np.random.default_rng(0)
        own, tangents, weights = (jnp.asarray(rng.normal(size=shape)) for shape in ((c, n, c), (2, p), (n, c)))
        # Each input's own functionals; those that all inputs share are the kernel's.
        found, kinds = pieces(model, x, own)
        assert relative(found, np.einsum("qnc,cnp->qnp", host(own), expected)) < 1e-12
        assert kinds == dict.fromkeys(model.parameters, "DenseBlock") | case(name).kinds
        kernel = np.einsum("cip,cjp->ij", expected, expected) / c
        assert relative(dntk.ntk(model, x, batch_size=n), kernel) < 1e-12
        assert relative(model.jvp(x, tangents), np.einsum("qp,cnp->qnc", host(tangents), expected)) < 1e-12
        assert relative(model.vjp(x, weights), np.einsum("nc,cnp->p", host(weights), expected)) < 1e-12


def counted(function):
    """The function, and a list that grows with every trace of it."""
    traces = []

    def traced(params, x):
        traces.append(x.shape)
        return function(params, x)

    return traced, traces


def test_a_second_call_traces_nothing_again():
    network = case("two-layers")
    function, traces = counted(network.function)
    model = dntk.as_model(function, network.params)
    tangents, weights = jnp.ones((1, model.n_parameters)), jnp.ones((4, 2))
    seen = []
    for _ in range(2):
        dntk.ntk(model, network.x)
        model.jvp(network.x, tangents)
        model.vjp(network.x, weights)
        seen.append(len(traces))
    assert seen[0] == seen[1] > 0


def test_features_and_kernel_are_those_of_the_same_network_in_numpy():
    weights, biases = random_network()
    x = points(5)
    plain = dntk.MLP(weights=tuple(weights), biases=tuple(biases), activation="tanh")
    params = [
        {"w": jnp.asarray(w, jnp.float32), "z": jnp.asarray(b, jnp.float32)}
        for w, b in zip(weights, biases, strict=True)
    ]

    def function(params, x):
        for layer in params[:-1]:
            x = jnp.tanh(x @ layer["w"].T + layer["z"])
        return x @ params[-1]["w"].T + params[-1]["z"]

    model, points32 = dntk.as_model(function, params), jnp.asarray(x, jnp.float32)
    assert model.n_parameters == plain.n_parameters
    assert relative(dntk.ntk(model, points32), dntk.ntk(plain, x)) < 1e-5
    for sketch in (dntk.sketch.SparseSign, dntk.sketch.Gaussian):
        ours = dntk.tangent_features(model, points32, sketch=sketch(16, seed=3), outputs="each")
        theirs = dntk.tangent_features(plain, x, sketch=sketch(16, seed=3), outputs="each")
        assert relative(ours.values, theirs.values) < 1e-5


def test_parameters_are_chosen_by_their_paths():
    network = case("mlp")
    every = dntk.as_model(*network.arguments)
    assert list(every.parameters) == ["first.b", "first.w", "gain", "second.0.b", "second.0.w", "third.0", "third.1"]
    chosen = dntk.as_model(*network.arguments, parameters=r"second\..*|gain")
    assert list(chosen.parameters) == list(every.subset(r"second\..*|gain").parameters)
    assert list(chosen.parameters) == ["gain", "second.0.b", "second.0.w"]
    assert every(network.x).shape == chosen(network.x).shape
    (whole, _), (part, _) = (pieces(model, network.x, jnp.eye(2)) for model in (every, chosen))
    start = sum(every.parameters[name].size for name in ("first.b", "first.w"))
    np.testing.assert_allclose(part, whole[:, :, start : start + chosen.n_parameters], rtol=1e-5, atol=1e-6)
    alone = dntk.as_model(lambda w, x: x @ w, normal(0, 3, 2))
    assert list(alone.parameters) == ["params"]


def test_a_form_that_is_wrong_is_left_for_that_parameter_alone(monkeypatch):
    network = case("mlp")
    right = dntk_jax.factors._product

    def wrong(step, places, position):
        rule = right(step, places, position)
        if places.shape != (3, 5):
            return rule
        return dataclasses.replace(rule, left=lambda value: 2 * rule.left(value))

    monkeypatch.setitem(dntk_jax.factors._RULES, "dot_general", wrong)
    model = dntk.as_model(*network.arguments)
    model(network.x)
    found, kinds = pieces(model, network.x, jnp.eye(2))
    assert relative(found, jacobian(network.function, network.params, network.x)) < 1e-5
    assert kinds == dict.fromkeys(model.parameters, "DenseBlock") | network.kinds | {"first.w": "DenseBlock"}


@pytest.mark.parametrize("mode", ["clip", "fill"])
def test_ids_out_of_bounds_get_gradients_only_where_the_look_up_clips_them(mode):
    """They come after the inputs that the form is tried on, where nothing but the rule tells what they mean."""
    params = {"table": normal(0, 4, 3), "out": normal(1, 3, 2)}
    tokens = jnp.asarray([[0, 1], [1, 2], [2, 3], [3, 0], [1, 4], [-9, 2], [7, 7]], jnp.int32)

    def function(p, ids):
        rows = jnp.take(p["table"], ids, axis=0, mode=mode, fill_value=0)
        return jnp.tanh(rows.sum(1)) @ p["out"]

    found, kinds = pieces(dntk.as_model(function, params), tokens, jnp.eye(2))
    expected = jacobian(function, params, tokens)
    assert kinds["table"] == "IndexedBlock"
    assert np.any(found[:, -1]) == (mode == "clip")  # the last input has no id in bounds
    assert relative(found, expected) < 1e-5


def test_operations_without_a_batching_rule_are_differentiated_one_input_at_a_time():
    def on_host(x, w):
        return jax.pure_callback(np.matmul, jax.ShapeDtypeStruct((*x.shape[:-1], w.shape[-1]), x.dtype), x, w)

    product = jax.custom_vjp(on_host)
    product.defvjp(lambda x, w: (on_host(x, w), (x, w)), lambda saved, g: (on_host(g, saved[1].T), saved[0].T @ g))
    params, x = {"w": normal(0, 3, 4), "v": normal(1, 4, 2)}, normal(2, 5, 3)

    def function(p, x):
        return jnp.tanh(product(x, p["w"])) @ p["v"]

    def plain(p, x):
        return jnp.tanh(x @ p["w"]) @ p["v"]

    model = dntk.as_model(function, params)
    model(x)
    assert relative(pieces(model, x, jnp.eye(2))[0], jacobian(plain, params, x)) < 1e-5
    forms = model.gradient_forms(x)
    assert [found.name for found in forms.per_input] == ["v", "w"]
    assert "for several inputs at once are not those of one after the other: v, w" in str(forms)


def test_a_model_tells_which_gradients_are_in_closed_form():
    network = case("mlp")
    forms = dntk.as_model(*network.arguments).gradient_forms(network.x)
    assert isinstance(forms, GradientForms)
    assert forms.share == 1
    assert [found.name for found in forms.parameters] == list(dntk.as_model(*network.arguments).parameters)


def sorted_by_comparisons(p, x):
    rank = (x[:, None, 0] > x[:, 0]).sum(1)
    order = (jnp.arange(x.shape[0])[:, None] == rank).astype(x.dtype)
    return order.T @ (jnp.tanh(order @ x @ p["w"]) @ p["v"])


def sorted_by_places(p, x):
    order = jnp.argsort(x[:, 0])
    return (jnp.tanh(x[order] @ p["w"]) @ p["v"])[jnp.argsort(order)]


def to_experts(p, x):
    best = jnp.argmax(x @ p["r"], -1)
    return jnp.tanh(jnp.einsum("ni,nio->no", x, p["e"][best])) @ p["v"]


@pytest.mark.parametrize("function", [sorted_by_comparisons, sorted_by_places, to_experts])
def test_gradients_are_exact_wherever_data_move_rows(function):
    # Every input is differentiated as a batch of its own: there are no rows of others, also after a batch in order.
    every = {"w": normal(0, 5, 6), "v": normal(1, 6, 2), "r": normal(2, 5, 3), "e": normal(3, 3, 5, 6)}
    used = ("r", "e", "v") if function is to_experts else ("w", "v")
    params, x = {name: every[name] for name in used}, normal(4, 8, 5)
    model = dntk.as_model(function, params)
    model(x[jnp.argsort(x[:, 0])])
    list(model.gradient_blocks(x[jnp.argsort(x[:, 0])], jnp.eye(2)))
    assert relative(pieces(model, x, jnp.eye(2))[0], jacobian(function, params, x)) < 1e-5


class Counting(nnx.Module):
    """A network that writes into its own state."""

    def __init__(self, rngs):
        self.layer = nnx.Linear(3, 2, rngs=rngs)
        self.calls = nnx.Variable(jnp.asarray(0))

    def __call__(self, x):
        self.calls[...] += 1
        return self.layer(x)


def test_modules_are_after_every_call_what_they_were_before():
    module = Counting(nnx.Rngs(0))
    before = jax.tree_util.tree_leaves(nnx.state(module))
    dntk.ntk(dntk.as_model(module), normal(0, 4, 3))
    after = jax.tree_util.tree_leaves(nnx.state(module))
    assert all(a is b for a, b in zip(before, after, strict=True))
