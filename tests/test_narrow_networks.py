"""Networks and features of 16-bit numbers: what is made of them is float32, and what is said of it holds."""

import numpy as np
import pytest

import dntk
from dntk import arrays
from dntk.distill.data import DistilledData, TangentResidual
from dntk.distill.gradients import Solution
from tests.libraries import Library, host

SIZES = (6, 12, 2)
POINTS = 24
NETWORKS = ("torch", "jax", "mlp torch", "mlp jax")


def numbers():
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(b, a)) / a**0.5 for a, b in zip(SIZES[:-1], SIZES[1:], strict=True)]
    return weights, rng.normal(size=(POINTS, SIZES[0]))


def narrow(kind, dtype="bfloat16"):
    """A network of 16-bit numbers and its inputs."""
    xp = pytest.importorskip("torch" if kind.endswith("torch") else "jax.numpy")
    (first, last), x = numbers()
    first, last, x = (xp.asarray(value, dtype=getattr(xp, dtype)) for value in (first, last, x))
    if kind.startswith("mlp"):
        return dntk.MLP(weights=(first, last), biases=(None, None), activation="tanh"), x
    if kind == "jax":
        return dntk.as_model(lambda p, at: xp.tanh(at @ p["a"].T) @ p["b"].T, {"a": first, "b": last}), x
    net = xp.nn.Sequential(
        xp.nn.Linear(6, 12, bias=False, dtype=x.dtype), xp.nn.Tanh(), xp.nn.Linear(12, 2, bias=False, dtype=x.dtype)
    ).eval()
    net[0].weight.data, net[2].weight.data = first, last
    return dntk.as_model(net), x


def dense(phi):
    return host(phi.values).astype(np.float64)


def exact(phi, y, ridge):
    """Fitted values (n, C) of the ridge regression, in float64."""
    values = dense(phi)
    gram = values @ np.swapaxes(values, 1, 2)
    targets = host(y).astype(np.float64).T[:, :, None]
    return (gram @ np.linalg.solve(gram + ridge * np.eye(gram.shape[1]), targets))[:, :, 0].T


def is_of(value, name):
    return str(value.dtype).rpartition(".")[2] == name


@pytest.mark.parametrize("kind", NETWORKS)
def test_predictions_of_narrow_networks_keep_the_bound_and_are_read_back_bit_for_bit(kind, tmp_path):
    model, x = narrow(kind)
    fit = dntk.DistilledNTK(model, data=None, sketch=None, gradients=Solution(6), ridge=0.5).fit(x)
    phi, found, weights = dntk.tangent_features(model, x, sketch=None), fit.predict(x), host(fit.weights).astype("f8")
    for value in (model(x), phi.values, fit.weights, found):
        assert is_of(value, "float32")
    # A sum of P products of three factors, in any order: the certificate is of the weights, this of their products.
    terms = np.sum(np.abs(dense(phi) * weights[:, None, :]), axis=2).T
    rounding = (phi.dim + 2) * 2.0**-24 * terms
    assert np.all(np.abs(host(found) - (dense(phi) @ weights[:, :, None])[:, :, 0].T) <= rounding)
    distance = np.abs(host(found) - exact(phi, model(x), 0.5)) - rounding
    rms = np.sqrt(np.mean(np.clip(distance, 0, None) ** 2, axis=0))
    assert np.max(rms) <= float(fit.certificate.prediction_error)
    fit.save(tmp_path / "fit")
    back = dntk.load(tmp_path / "fit", model=None if kind.startswith("mlp") else model)
    assert back.model.dtype == model.dtype
    assert bool((back.predict(x) == found).all())
    assert str(back.certificate) == str(fit.certificate)


@pytest.mark.parametrize("kind", NETWORKS)
def test_inputs_that_narrow_networks_are_distilled_to_keep_their_type_in_files(kind, tmp_path):
    model, x = narrow(kind)
    data = TangentResidual(5, steps=2, sketch=None, batch_size=None).distill(model, x)
    assert is_of(data.x, "bfloat16")
    assert not bool((data.x == x[:5]).all())
    data.save(tmp_path / "data")
    back = DistilledData.load(tmp_path / "data")
    assert back.x.dtype == data.x.dtype
    assert bool((back.x == data.x).all())
    assert bool((back.y == data.y).all())


@pytest.mark.parametrize("kind", NETWORKS)
def test_derivatives_of_narrow_networks_agree_with_each_other_in_float32(kind):
    model, x = narrow(kind)
    values = dense(dntk.tangent_features(model, x, sketch=None))
    xp = model.namespace
    rng = np.random.default_rng(1)
    tangents, cotangents = rng.normal(size=(1, model.n_parameters)), rng.normal(size=(POINTS, 2))
    pushed = model.jvp(x, xp.asarray(tangents, dtype=xp.float32))
    pulled = model.vjp(x, xp.asarray(cotangents, dtype=xp.float32))
    assert is_of(pushed, "float32")
    assert is_of(pulled, "float32")
    # Frameworks round after every operation to eight bits; some six follow each other.
    for found, expected in (
        (host(pushed)[0], np.einsum("cnp,p->nc", values, tangents[0])),
        (host(pulled), np.einsum("cnp,nc->p", values, cotangents)),
    ):
        assert np.linalg.norm(found - expected) <= 6 * 2.0**-8 * np.linalg.norm(expected)


def test_what_enters_a_layer_of_a_narrow_network_is_shown_in_float32():
    model, x = narrow("jax")
    seen = model.observe(x, ("b",))
    assert is_of(seen.outputs, "float32")
    assert is_of(seen.inputs["b"], "float32")


def test_a_narrow_perceptron_computes_in_float32():
    (first, last), x = numbers()
    (first, last, x) = (value.astype(np.float16) for value in (first, last, x))
    narrow_one = dntk.MLP(weights=(first, last), biases=(None, None), activation="tanh")
    wide = dntk.MLP(weights=(first.astype("f4"), last.astype("f4")), biases=(None, None), activation="tanh")
    np.testing.assert_array_equal(narrow_one(x), wide(x.astype("f4")))
    np.testing.assert_array_equal(dntk.ntk(narrow_one, x), dntk.ntk(wide, x.astype("f4")))


@pytest.mark.parametrize("kind", ["torch", "jax"])
def test_features_that_are_given_in_16_bits_are_widened(kind):
    xp = pytest.importorskip("torch" if kind == "torch" else "jax.numpy")
    rng = np.random.default_rng(2)
    values, targets = (xp.asarray(rng.normal(size=size), dtype=xp.bfloat16) for size in ((2, 30, 50), (30, 2)))
    phi = dntk.TangentFeatures(values)
    assert is_of(phi.values, "float32")
    np.testing.assert_array_equal(host(phi.values), host(arrays.widened(values)))
    fit = dntk.solve.ridge(phi, targets, ridge=0.5)
    distance = np.abs(host(fit.predict(phi)) - exact(phi, arrays.widened(targets), 0.5))
    # The weights are rounded to 24 bits, and a sum of 50 products.
    terms = np.sum(np.abs(dense(phi) * host(fit.weights)[:, None, :]), axis=2).T
    assert np.all(distance <= 1e-5 * terms)


def test_wide_features_are_taken_as_they_are(library: Library):
    values = library.array(np.ones((1, 2, 3), dtype="f4"))
    assert dntk.TangentFeatures(values).values is values
