"""What is refused of JAX, and what the message says."""

import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import dntk
from tests.jax_networks import LinenMLP, case, compiled_quickly, normal

pytestmark = pytest.mark.usefixtures("unchecked")

W, X = normal(0, 3, 2), normal(1, 5, 3)


@pytest.fixture(autouse=True, scope="module")
def _compiled_quickly():
    with compiled_quickly():
        yield


def product(params, x):
    return x @ params["w"]


class Model(eqx.Module):
    w: jax.Array


class Forgetful(nnx.Module):
    """Three ways to be no fixed function."""

    def __init__(self, layer):
        self.part = layer

    def __call__(self, x):
        return self.part(x)


def with_statistics():
    return Forgetful(nnx.BatchNorm(3, rngs=nnx.Rngs(0)))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: dntk.as_model(jax.jit(product)), TypeError, r"carries no parameters.*dntk\.as_model\(fn, params\)"),
        (lambda: dntk.as_model(product), TypeError, "`net` is a function, and its parameters are not known"),
        (lambda: dntk.as_model(3, {"w": W}), TypeError, r"expected a function net\(params, x\).*got a int"),
        (lambda: dntk.as_model(product, {"w": [], "z": 3.0}), TypeError, r"`params` \(dict\) holds no array"),
        (lambda: dntk.as_model(product, {"w": jnp.arange(3)}), ValueError, r"`params` has no parameters \(no floating"),
        (lambda: dntk.as_model(product, {"w": {"a": W}, "w.a": W}), ValueError, r"several leaves.*'w\.a': rename one"),
        (lambda: dntk.as_model(product, {"w": W.at[1, 0].set(jnp.nan)}), ValueError, "parameter w` has NaN or inf"),
        (lambda: dntk.as_model(product, {"w": W, "v": W.astype(jnp.float16)}), ValueError, "several dtypes.*astype"),
        (lambda: dntk.as_model(product, {"w": W.astype(jnp.complex64)}), TypeError, "parameter w` has dtype complex64"),
        (lambda: dntk.as_model(product, {"w": W}, parameters="v"), ValueError, "matches none of the 1 parameter names"),
        (lambda: dntk.as_model(LinenMLP()), TypeError, r"flax\.linen module, which carries no.*module\.init"),
        (lambda: dntk.as_model(LinenMLP(), {"w": W}), TypeError, r"flax\.linen module, which carries no parameters"),
        (lambda: dntk.as_model(with_statistics()), ValueError, r"training mode \('part', BatchNorm\).*model\.eval\(\)"),
        (
            lambda: dntk.as_model(nnx.Sequential(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), nnx.Dropout(0.1))),
            ValueError,
            r"training mode \('layers\.1', Dropout\)",
        ),
        (lambda: dntk.as_model(with_statistics(), {"w": W}), TypeError, "carries its parameters: leave `params` out"),
        (lambda: dntk.as_model(product, with_statistics()), TypeError, "`params` is an NNX module: pass it alone"),
        (lambda: dntk.as_model(product, nnx.state(with_statistics())), ValueError, "holds a BatchStat.*nnx.Param"),
        (lambda: dntk.as_model(nnx.Dropout(0.0)), ValueError, "the module Dropout has no parameters"),
        (lambda: dntk.as_model(nnx.Param(W)), TypeError, "expected a flax module.*got a Param"),
        (
            lambda: dntk.as_model(product, {"params": {"w": W}, "batch_stats": {"m": W}}),
            ValueError,
            r"statistics are no parameters.*parameters=r\"params",
        ),
        (
            lambda: dntk.as_model(eqx.nn.Sequential([eqx.nn.Dropout(0.5)])),
            ValueError,
            r"Dropout has inference=False.*equinox\.nn\.inference_mode",
        ),
        (
            lambda: dntk.as_model(product, eqx.nn.Sequential([eqx.nn.Dropout(0.5)])),
            ValueError,
            r"Dropout has inference=False",
        ),
        (lambda: dntk.as_model(Model(W)), TypeError, "Model has no __call__"),
    ],
)
def test_networks_without_a_kernel_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_what_only_looks_like_training_is_accepted():
    nothing_dropped = nnx.Sequential(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), nnx.Dropout(0.0))
    assert dntk.as_model(nothing_dropped)(X).shape == (5, 2)
    quiet = eqx.nn.Sequential([eqx.nn.Linear(3, 2, key=jax.random.key(0)), eqx.nn.Dropout(0.0)])
    assert dntk.as_model(quiet)(X).shape == (5, 2)
    variables = {"params": {"w": W}, "batch_stats": {"m": W}}
    chosen = dntk.as_model(lambda v, x: product(v["params"], x), variables, parameters=r"params\..*")
    assert list(chosen.parameters) == ["params.w"]


def changed(change):
    return lambda params, x: change(product(params, x))


@jax.custom_vjp
def batch_scaled(x):
    return x


# A backward pass that divides by the size of the batch's cotangents.
batch_scaled.defvjp(lambda x: (x, None), lambda _, g: (g / (1e-3 + jnp.abs(g).sum()),))


def noisy(y):
    return y + np.random.default_rng().normal(size=y.shape).astype(y.dtype)


def looped(y):
    return jax.lax.while_loop(lambda state: state[1] < 3, lambda state: (state[0] * 2, state[1] + 1), (y, 0))[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda y: (y, y), "returns a tuple, not an array"),
        (lambda y: y[:, None], r"shape \(4, 1, 2\) for 4 inputs"),
        (lambda y: y.sum(0, keepdims=True), r"shape \(1, 2\) for 4 inputs"),
        (lambda y: jnp.round(y).astype(int), "dtype int32.*logits, not labels"),
        (lambda y: y / 0.0, r"network's outputs` has NaN or infinite"),
        (lambda y: y @ jnp.ones((7, 2)), r"fails on inputs of shape \(4, 3\) and dtype float32.*dot_general"),
        (lambda y: y if y[0, 0] > 0 else -y, "fails on inputs of shape"),
        (lambda y: y - y.mean(0), r"depends on the rest of the batch \(batch dependence\)"),
        (
            lambda y: y * jax.random.bernoulli(jax.random.key(0), 0.5, y.shape),
            r"depends on the rest of the batch",
        ),
        (lambda y: y + np.random.default_rng().normal(), "other outputs at a second call"),
        (lambda y: y + np.random.default_rng().normal(size=2), "other outputs at a second call"),
        (
            lambda y: jax.pure_callback(
                lambda v: v + np.random.default_rng().normal(size=v.shape).astype(v.dtype), y, y
            ),
            "other outputs at a second call",
        ),
        (batch_scaled, r"per-sample gradients in w do not add up to JAX's gradient.*depends on the batch"),
        (looped, "JAX cannot differentiate the network.*[Rr]everse-mode"),
    ],
)
def test_functions_that_are_no_networks_are_refused(change, message):
    model = dntk.as_model(changed(change), {"w": W})
    with pytest.raises(ValueError, match=message):
        dntk.ntk(model, X)


def test_failures_of_modules_say_what_to_do():
    stateful = eqx.nn.inference_mode(eqx.nn.BatchNorm(3, axis_name="batch", mode="batch"))
    with pytest.raises(ValueError, match="fails on inputs.*one input without batch axis"):
        dntk.as_model(stateful)(X)
    noisy = linen.Sequential([linen.Dense(2), linen.Dropout(0.5, deterministic=False)])
    with pytest.raises(ValueError, match=r"fails on inputs(.|\n)*build it with deterministic=True"):
        dntk.as_model(noisy, {"params": {"layers_0": {"kernel": W, "bias": W[0]}}})(X)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (np.ones((5, 3), np.float32), TypeError, "is a numpy array, but the model computes with jax.numpy"),
        ([[1.0]], TypeError, "`x` is a list: convert it to one array first"),
        (X.astype(jnp.float16), TypeError, r"has dtype float16, but the parameters have float32.*x\.astype\(float32\)"),
        (X.astype(jnp.complex64), TypeError, "dtype complex64"),
        (X[:0], ValueError, "is empty"),
        (X.at[2, 1].set(jnp.inf), ValueError, r"`x` has NaN or infinite values in 1 of its 5 rows \(first: row 2\)"),
        (X[:, :2], ValueError, r"fails on inputs of shape \(4, 2\)"),
    ],
)
def test_wrong_inputs_are_refused(x, error, message):
    with pytest.raises(error, match=message):
        dntk.as_model(product, {"w": W})(x)


def test_wrong_functionals_and_tangents_are_refused():
    model = dntk.as_model(product, {"w": W})
    with pytest.raises(AttributeError, match="before the network has seen an input"):
        _ = model.n_outputs
    assert isinstance(model, dntk.Model)
    for shape in ((2, 3), (1, 4, 2)):
        with pytest.raises(ValueError, match=r"`cotangents` has shape .* expected \(q, 2\) or \(q, 5, 2\)"):
            list(model.gradient_blocks(X, jnp.ones(shape)))
    with pytest.raises(ValueError, match=r"`tangents` has shape \(1, 5\), expected \(q, 6\)"):
        model.jvp(X, jnp.ones((1, 5)))
    with pytest.raises(ValueError, match=r"`cotangents` has shape \(4, 2\), expected \(5, 2\)"):
        model.vjp(X, jnp.ones((4, 2)))


def test_outputs_that_overflow_after_the_probe_are_refused():
    model = dntk.as_model(lambda p, x: jnp.exp(product(p, x)), {"w": W})
    x = jnp.concatenate([X, 1e4 * jnp.sign(W[:, 0])[None]])
    with pytest.raises(ValueError, match="network's outputs` has NaN or infinite values in 1 of its 6 rows"):
        list(model.gradient_blocks(x, jnp.ones((1, 2))))


ON_TWO_DEVICES = """
import jax, jax.numpy as jnp, dntk
first, second = jax.devices()
w, v = (jax.device_put(jnp.ones((3, 2)), device) for device in (first, second))
def attempt(call):
    try:
        call()
    except ValueError as error:
        print(error)
fn = lambda p, x: x @ p["w"]
attempt(lambda: dntk.as_model(fn, {"w": w, "v": v}))
model = dntk.as_model(fn, {"w": v})
attempt(lambda: model(jax.device_put(jnp.ones((4, 3)), first)))
x = jax.device_put(jnp.ones((4, 3)), second)
print(model.device == second, dntk.ntk(model, x).device == second, model(x).device == second)
"""


def test_arrays_on_several_devices_are_refused_and_the_second_device_works(tmp_path):
    environment = {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": ":".join(sys.path),
        "PATH": "",
    }
    command = [sys.executable, "-c", ON_TWO_DEVICES]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, check=True)
    lines = done.stdout.splitlines()
    assert "parameters lie on several devices" in lines[0]
    assert "`x` is on device" in lines[1]
    assert lines[2] == "True True True"


def test_integers_are_inputs_where_the_network_takes_them():
    table = case("tables")
    assert dntk.as_model(*table.arguments)(table.x).shape == (5, 2)
    with pytest.raises(ValueError, match="fails on inputs"):
        dntk.as_model(*table.arguments)(table.x.astype(jnp.float32))


@pytest.mark.parametrize("cut", [jax.lax.stop_gradient, jnp.round])
def test_outputs_without_any_gradient_are_refused(cut):
    model = dntk.as_model(lambda params, x: cut(x @ params["w"]), {"w": jnp.ones((5, 3))})
    with pytest.raises(ValueError, match="carry no gradient of any parameter"):
        dntk.ntk(model, jnp.ones((4, 5)))


@pytest.mark.parametrize("first", [4, 20, 40])
def test_dependence_of_batches_of_any_size_is_told(first):
    def function(params, x):
        y = x @ params["w"]
        return jnp.concatenate([y[:4], y[4:] + y[4:].sum(0)]) if y.shape[0] > first else y

    x = jnp.asarray(np.random.default_rng(0).normal(size=(48, 5)), jnp.float32)
    with pytest.raises(ValueError, match="batch dependence"):
        dntk.as_model(function, {"w": jnp.ones((5, 3))})(x)


def test_gradients_are_of_the_program_for_one_input_whatever_the_batch():
    def function(params, x):
        y = x @ params["w"]
        return y - y.mean(0) if y.shape[0] > 40 else y

    x = jnp.asarray(np.random.default_rng(0).normal(size=(48, 5)), jnp.float32)
    kernel = dntk.ntk(dntk.as_model(function, {"w": jnp.ones((5, 3))}), x, batch_size=48)
    np.testing.assert_allclose(np.asarray(kernel), np.asarray(x) @ np.asarray(x).T, atol=1e-5)


@pytest.mark.parametrize("blank", [1, 4, 6])
def test_inputs_at_which_every_gradient_is_zero_are_taken(blank):
    drawn = np.random.default_rng(0)
    params = {name: jnp.asarray(drawn.normal(size=size), jnp.float32) for name, size in (("a", (5, 8)), ("b", (8, 3)))}
    x = jnp.asarray(drawn.normal(size=(6, 5)), jnp.float32).at[:blank].set(0)

    def function(p, x):
        return jnp.tanh(x @ p["a"]) @ p["b"]

    kernel = dntk.ntk(dntk.as_model(function, params), x)
    rows = jnp.concatenate([part.reshape(6, 3, -1) for part in jax.jacrev(function)(params, x).values()], axis=2)
    np.testing.assert_allclose(kernel, jnp.einsum("icp,jcp->ij", rows, rows) / 3, rtol=1e-5, atol=1e-5)


def test_bytes_are_refused():
    model = dntk.as_model(lambda params, x: x @ params["w"], {"w": jnp.ones((5, 3))})
    with pytest.raises(TypeError, match=r"dtype uint8, .*astype\('float32'\) / 255"):
        model(jnp.ones((4, 5), jnp.uint8))


def test_a_network_whose_units_are_all_dead_has_a_kernel_of_zeros():
    params = {"w": jnp.ones((3, 4)), "b": jnp.full(4, -100.0), "v": jnp.ones((4, 2))}
    model = dntk.as_model(lambda p, x: jax.nn.relu(x @ p["w"] + p["b"]) @ p["v"], params)
    assert not dntk.ntk(model, jnp.ones((5, 3))).any()
