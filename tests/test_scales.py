"""Gradients whose products leave the range of numbers are refused: they are never silently infinite or NaN."""

import dataclasses

import numpy as np
import pytest

import dntk
from dntk.certificates import tangent_residual
from dntk.distill.data import RPCholesky
from tests.libraries import LIBRARIES, host
from tests.networks import features, inputs, mlp

NUMPY = LIBRARIES[0]
OVERFLOW = "products overflow .*: scale the network's outputs down, or convert network and inputs to float64"
QUIET = pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")


def times(model, scale):
    """The network with its outputs multiplied."""
    weights, biases = list(model.weights), list(model.biases)
    weights[-1], biases[-1] = weights[-1] * scale, biases[-1] * scale
    return dataclasses.replace(model, weights=tuple(weights), biases=tuple(biases))


def test_features_whose_kernel_overflows_are_refused(library):
    values = features(library, n=12, k=20).values
    for scale in (2.0**62, 2.0**66, 2.0**100):
        with pytest.raises(ValueError, match=OVERFLOW):
            dntk.TangentFeatures(values * scale)


def test_features_below_the_limit_have_finite_kernels_and_selections():
    phi = features(NUMPY, n=12, k=20)
    large = dntk.TangentFeatures(phi.values * np.float32(2.0**40))
    np.testing.assert_allclose(large.kernel(), phi.kernel() * 2.0**80, rtol=1e-5)
    assert RPCholesky(5).select(large).indices.tolist() == RPCholesky(5).select(phi).indices.tolist()


@QUIET
@pytest.mark.parametrize("data", [None, RPCholesky(8)])
def test_a_fit_of_a_network_whose_gradients_overflow_is_refused(data):
    model, x = times(mlp(NUMPY), 2.0**66).subset("weights.0"), inputs(NUMPY, n=20)
    with pytest.raises(ValueError, match=OVERFLOW):
        dntk.DistilledNTK(model, data, None, ridge=1e-3).fit(x)


@QUIET
def test_the_operator_refuses_what_the_kernel_refuses():
    model, x = times(mlp(NUMPY), 2.0**66).subset("weights.0"), inputs(NUMPY, n=8)
    operator = dntk.NTKOperator(model, x)
    for compute in (lambda: dntk.ntk(model, x), lambda: operator @ x[:, 0], operator.diagonal):
        with pytest.raises(ValueError, match=OVERFLOW):
            compute()


def test_trust_is_that_of_the_direction_of_a_gradient_whatever_its_length():
    values = features(NUMPY, c=2, n=6, k=10).values
    lengths = np.asarray([1e-30, 1e-20, 1e-10, 1, 1e5, 1e10], dtype="f4")[None, :, None]
    basis = np.eye(10, dtype="f4")[None, :4].repeat(2, axis=0)
    plain, stretched = (tangent_residual(dntk.TangentFeatures(v), basis) for v in (values, values * lengths))
    np.testing.assert_allclose(host(stretched), plain, rtol=1e-5)


def test_features_of_16_bits_are_judged_by_the_products_that_float32_holds():
    phi = dntk.TangentFeatures(np.full((2, 10, 20), 8, dtype=np.float16))
    np.testing.assert_allclose(phi.kernel(), np.full((10, 10), 20 * 64.0), rtol=1e-6)
