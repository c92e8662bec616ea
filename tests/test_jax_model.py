"""JAX networks as models, against the Jacobian of jax.jacrev over the whole batch."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import dntk
import dntk_jax.factors
from tests.jacobians import points, random_network
from tests.jax_networks import CASES, case, compiled_quickly, mlp, normal
from tests.libraries import host


@pytest.fixture(autouse=True, scope="module")
def _compiled_quickly():
    with compiled_quickly():
        yield


@pytest.fixture(params=CASES)
def network(request):
    return case(request.param)


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


def assembled(model, x, cotangents):
    """All blocks' gradients at their offsets (q, n, P)."""
    whole = np.full((cotangents.shape[0], x.shape[0], model.n_parameters), np.nan)
    for block in model.gradient_blocks(x, cotangents):
        whole[:, :, block.offset : block.offset + block.size] = host(block.dense())
    return whole


def check_against(model, function, params, x, bound):
    expected = jacobian(function, params, x).astype(np.float64)
    c, n, p = expected.shape
    assert model(x).shape == (n, c)
    assert model.n_parameters == p
    assert model.n_outputs == c
    rng = np.random.default_rng(0)

    def draw(*shape):
        return jnp.asarray(rng.normal(size=shape), model.dtype)

    assert relative(assembled(model, x, jnp.eye(c, dtype=model.dtype)), expected) < bound
    own = draw(2, n, c)  # each input's own functionals
    assert relative(assembled(model, x, own), np.einsum("qnc,cnp->qnp", host(own), expected)) < bound
    kernel = np.einsum("cip,cjp->ij", expected, expected) / c
    assert relative(dntk.ntk(model, x), kernel) < bound
    tangents, weights = draw(2, p), draw(n, c)
    assert relative(model.jvp(x, tangents), np.einsum("qp,cnp->qnc", host(tangents), expected)) < bound
    assert relative(model.vjp(x, weights), np.einsum("nc,cnp->p", host(weights), expected)) < bound


@pytest.mark.parametrize("name", ["mlp", "tied-transformer", "tables", "nonlinear", "own-rule", "equinox-mlp"])
def test_blocks_kernel_jvp_and_vjp_are_the_jacobian_in_float64(name):
    with jax.enable_x64(True):
        function, params, x = case(name).doubled()
        model = dntk.as_model(function, params)
        assert model.dtype == jnp.float64
        expected = jacobian(function, params, x)
        c, n, p = expected.shape
        assert model(x).shape == (n, c)
        assert (model.n_parameters, model.n_outputs) == (p, c)
        rng = np.random.default_rng(0)
        own, tangents, weights = (jnp.asarray(rng.normal(size=shape)) for shape in ((c, n, c), (2, p), (n, c)))
        # Each input's own functionals; those that all inputs share are the kernel's.
        rows = np.einsum("qnc,cnp->qnp", host(own), expected)
        assert relative(assembled(model, x, own), rows) < 1e-12
        kernel = np.einsum("cip,cjp->ij", expected, expected) / c
        assert relative(dntk.ntk(model, x, batch_size=n), kernel) < 1e-12
        assert relative(model.jvp(x, tangents), np.einsum("qp,cnp->qnc", host(tangents), expected)) < 1e-12
        assert relative(model.vjp(x, weights), np.einsum("nc,cnp->p", host(weights), expected)) < 1e-12


def test_blocks_are_the_jacobian_in_the_form_of_their_layer(network, request):
    model, x = dntk.as_model(*network.arguments), network.x
    expected = jacobian(network.function, network.params, x).astype(np.float64)
    kinds, whole = {}, np.full(expected.shape, np.nan)
    model(x)
    for block in model.gradient_blocks(x, jnp.eye(expected.shape[0])):
        kinds[block.name] = type(block).__name__
        assert block.dense().dtype == model.dtype == jnp.float32
        whole[:, :, block.offset : block.offset + block.size] = host(block.dense())
    # Rounding to bfloat16 has no exact reference: a batch of another size may round elsewhere.
    assert relative(whole, expected) < (1e-2 if "half-precision" in request.node.name else 1e-5)
    assert kinds == dict.fromkeys(model.parameters, "DenseBlock") | network.kinds
