"""Derivatives of JAX networks in their inputs, against JAX's own of the whole."""

import numpy as np
import pytest

import dntk

jax = pytest.importorskip("jax")

import equinox as eqx  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from flax import nnx  # noqa: E402

from dntk.distill.data.pulling import pull_features  # noqa: E402
from dntk.models.input_gradients import InputDifferentiable  # noqa: E402
from tests import jax_networks  # noqa: E402

EPS = 2.0**-23


@pytest.fixture(autouse=True)
def _compiled_quickly():
    with jax_networks.compiled_quickly():
        yield


class Convolutional(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(1, 3, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(3, rngs=rngs)
        self.head = nnx.Linear(48, 3, rngs=rngs)

    def __call__(self, x):
        x = jnp.tanh(self.norm(self.conv(x)))
        return self.head(x.reshape(x.shape[0], -1))


def close(found, expected, factor=2000):
    assert abs(np.asarray(found) - np.asarray(expected)).max() <= factor * EPS * abs(np.asarray(expected)).max()


def test_input_gradients_are_those_of_the_whole_dense_objective():
    case = jax_networks.mlp()
    model = dntk.as_model(*case.arguments)
    assert isinstance(model, InputDifferentiable)
    x, n_outputs = case.x, model(case.x).shape[1]
    u = jax_networks.normal(1, 2, n_outputs)
    v = jax_networks.normal(2, len(x), 2, model.n_parameters)

    def dense(at):
        def rows(values):
            return jnp.einsum("qc,nc->nq", u, model.network.function(values, at))

        jacobian = jax.jacrev(rows)(dict(model.network.parameters))
        flat = jnp.concatenate([jacobian[name].reshape(len(x), 2, -1) for name in model.selected], axis=2)
        return jnp.sum(flat * v)

    close(model.input_gradient(x, u, v), jax.grad(dense)(x))
    model._findings.forward_mode = False
    close(model.input_gradient(x, u, v), jax.grad(dense)(x))


def test_operations_with_a_backward_rule_alone_are_differentiated_twice_backward():
    @jax.custom_vjp
    def square(x):
        return x * x

    square.defvjp(lambda x: (x * x, x), lambda x, g: (2 * x * g,))
    params = {"v": jax_networks.normal(0, 4, 3), "w": jax_networks.normal(1, 3, 2)}
    model = dntk.as_model(lambda p, x: square(x @ p["v"]) @ p["w"], params)
    plain = dntk.as_model(lambda p, x: (x @ p["v"]) ** 2 @ p["w"], params)
    x, u = jax_networks.normal(2, 3, 4), jnp.eye(2)
    v = jax_networks.normal(3, 3, 2, model.n_parameters)
    close(model.input_gradient(x, u, v), plain.input_gradient(x, u, v))
    assert not model._findings.forward_mode


def test_layers_of_a_flax_module_are_found_in_its_program():
    net = Convolutional()
    net.norm.mean = nnx.BatchStat(jnp.asarray([0.1, -0.2, 0.3]))
    net.eval()
    model, x = dntk.as_model(net), jax_networks.normal(0, 4, 4, 4, 1)
    seen = model.observe(x, ("conv", "norm", "head"))

    def parts(at):
        entering = net.conv(at)
        return entering, jnp.tanh(net.norm(entering)).reshape(len(at), -1), net(at)

    entering, last, outputs = parts(x)
    close(seen.outputs, outputs)
    close(seen.inputs["conv"], x.reshape(4, 16, 1))
    # The first operation with the norm's own parameters reads the centred input.
    close(seen.inputs["norm"], (entering - net.norm.mean[...]).reshape(4, 16, 3))
    close(seen.inputs["head"][:, 0], last)
    assert model.head(x) == "head.kernel"
    a, b = jax_networks.normal(1, 4, 3), jax_networks.normal(2, 4, 16, 3)
    c = jax_networks.normal(3, 4, 1, 48)

    def value(at):
        entering, last, outputs = parts(at)
        return (outputs * a).sum() + (entering.reshape(4, 16, 3) * b).sum() + (last * c[:, 0]).sum()

    close(seen.pull(a, {"norm": b, "head": c}), jax.grad(value)(x))


def test_layers_of_an_equinox_module_and_of_a_function_are_found():
    net = eqx.nn.MLP(3, 2, 5, 2, key=jax.random.key(0))
    model, x = dntk.as_model(net), jax_networks.normal(0, 4, 3)
    hidden = jax.vmap(lambda p: jax.nn.relu(net.layers[1](jax.nn.relu(net.layers[0](p)))))(x)
    close(model.observe(x, ("layers.2",)).inputs["layers.2"][:, 0], hidden)
    assert model.head(x) == "layers.2.weight"
    case = jax_networks.two_layers()
    function = dntk.as_model(*case.arguments)
    assert function.head(case.x) == "w"
    close(function.observe(case.x, ("w",)).inputs["w"][:, 0], jnp.tanh(case.x @ case.params["v"]))


def test_features_of_a_function_are_differentiated_through_their_sketch():
    case = jax_networks.two_layers()
    model, x = dntk.as_model(*case.arguments), case.x
    phi = dntk.tangent_features(model, x, sketch=dntk.sketch.SparseSign(16))
    weights = jax_networks.normal(1, 2, len(x), 16)
    rows = phi.sketch.adjoint(jnp.permute_dims(weights, (1, 0, 2)))
    expected = model.input_gradient(x, jnp.eye(2), rows)
    close(pull_features(model, x, phi, jnp.eye(2), weights), expected)


@pytest.mark.usefixtures("unchecked")
def test_unknown_layers_are_named():
    case = jax_networks.two_layers()
    model = dntk.as_model(*case.arguments)
    with pytest.raises(ValueError, match="no parameter belongs to a layer 'head'; the parameters are v, w"):
        model.observe(case.x, ("head",))
