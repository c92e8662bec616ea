"""Gradients whose products leave the range of numbers are refused: they are never silently infinite or NaN."""

import dataclasses

import numpy as np
import pytest

import dntk
from dntk.arrays import accumulation_dtype
from dntk.certificates import tangent_residual
from dntk.distill.data import FarthestPoint, Herding, KMeans, Leverage, RPCholesky
from dntk.distill.gradients import Krylov, LocalGlobal, Principal, Solution
from dntk.features import require_kernel_of
from tests.libraries import LIBRARIES, host, interpreted
from tests.networks import features, inputs, mlp

NUMPY = LIBRARIES[0]
OVERFLOW = "products overflow .*: scale the network's outputs down, or convert network and inputs to float64"
UNDERFLOW = "underflow .*: scale the network's outputs up, or convert network and inputs to float64"
WARNED = pytest.mark.filterwarnings("error::RuntimeWarning")


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


@WARNED
@pytest.mark.parametrize("data", [None, RPCholesky(8)])
def test_a_fit_of_a_network_whose_gradients_overflow_is_refused(data):
    model, x = times(mlp(NUMPY), 2.0**66).subset("weights.0"), inputs(NUMPY, n=20)
    with pytest.raises(ValueError, match=OVERFLOW):
        dntk.DistilledNTK(model, data, None, ridge=1e-3).fit(x)


@WARNED
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


USES = {
    "kernel": lambda phi, _: phi.kernel(),
    "cross kernel": lambda phi, _: phi.kernel(phi[:3]),
    **{f"{s}": lambda phi, _, s=s: s.select(phi) for s in (RPCholesky(3), FarthestPoint(3), KMeans(3), Leverage(3))},
    "herding": lambda phi, _: Herding(3).select(phi),
    **{f"{g}": lambda phi, y, g=g: g.distill(phi, y) for g in (Krylov(3), Principal(3), Solution(3), LocalGlobal())},
    "ridge": lambda phi, y: dntk.solve.ridge(phi, y, ridge=1e-3),
    "ridge by leave-one-out": lambda phi, y: dntk.solve.ridge(phi, y, ridge="loo"),
    "process": dntk.solve.gaussian_process,
    "certificate": lambda phi, _: dntk.certify(reference=phi, approximation=phi),
}


@WARNED
@pytest.mark.parametrize("use", USES)
def test_features_whose_products_underflow_are_refused_where_a_kernel_is_made_of_them(library, use):
    """Zeros took the place of the kernel, ties of the choice of points, and weights were infinite."""
    phi = features(library, n=12, k=20)
    y = library.array(np.random.default_rng(0).normal(size=(12, phi.n_outputs)), "f4")
    for scale in (2.0**-60, 2.0**-100):
        with pytest.raises(ValueError, match=UNDERFLOW):
            USES[use](dntk.TangentFeatures(phi.values * scale), y)


@WARNED
@pytest.mark.parametrize("scale", [2.0**-48, 2.0**-36, 2.0**50])
def test_what_is_not_refused_near_the_limits_is_that_of_plain_features(library, scale):
    """A regression, its choice of ridge, a certificate and a choice of points depend on the scale by homogeneity."""
    phi = features(library, n=12, k=20)
    scaled = dntk.TangentFeatures(phi.values * scale)
    y = library.array(np.random.default_rng(0).normal(size=(12, phi.n_outputs)), "f4")
    if scale == 2.0**-48 and accumulation_dtype(phi.values) == phi.values.dtype:
        with pytest.raises(ValueError, match=UNDERFLOW):  # no float64 there: ridges of eps times the kernel are zero
            dntk.solve.ridge(scaled, y, ridge="loo")
        return
    fits = [dntk.solve.ridge(p, y, ridge="loo") for p in (phi, scaled)]
    np.testing.assert_allclose(fits[1].ridge / scale / scale, fits[0].ridge, rtol=1e-4)
    processes = [
        dntk.solve.gaussian_process(p, y, noise=1e-3 * f).predict(p) for p, f in ((phi, 1), (scaled, scale**2))
    ]
    np.testing.assert_allclose(host(processes[1].mean), host(processes[0].mean), rtol=1e-3, atol=1e-4)
    interpreted(library)
    chosen = [host(RPCholesky(5).select(p).indices).tolist() for p in (phi, scaled)]
    assert chosen[0] == chosen[1]
    grads = [Principal(4).distill(p, y) for p in (phi, scaled)]
    certs = [dntk.certify(reference=p, approximation=g) for p, g in zip((phi, scaled), grads, strict=True)]
    np.testing.assert_allclose(float(certs[1].trace_error) / scale / scale, float(certs[0].trace_error), rtol=1e-3)


@WARNED
@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_float64_has_room_where_float32_has_none(scale):
    phi = features(NUMPY, n=12, k=20, dtype="f8")
    y = np.random.default_rng(0).normal(size=(12, phi.n_outputs))
    plain, scaled = dntk.solve.gaussian_process(phi, y), dntk.solve.gaussian_process(p := scaled_by(phi, scale), y)
    np.testing.assert_allclose(scaled.predict(p).mean, plain.predict(phi).mean, rtol=1e-6)
    for far in (1e-200, 1e200):
        with pytest.raises(ValueError, match=r"products (over|under)flow float64: scale the network's outputs \w+\.$"):
            scaled_by(phi, far).kernel()


def scaled_by(phi, scale):
    return dntk.TangentFeatures(phi.values * scale)


@WARNED
@pytest.mark.parametrize("data", [None, RPCholesky(8)])
def test_a_network_whose_gradients_underflow_is_refused_and_one_whose_gradients_are_zero_is_not(data):
    x = inputs(NUMPY, n=20)
    small, dead = (times(mlp(NUMPY), scale).subset("weights.0") for scale in (1e-30, 0))
    vector = np.ones(20, dtype="f4")
    operator = dntk.NTKOperator(small, x)
    fit = dntk.DistilledNTK(small, data, None, ridge="loo").fit
    ways = [lambda: dntk.ntk(small, x), lambda: dntk.ntk(small, x[:5], x[5:]), operator.diagonal, lambda: fit(x)]
    for compute in (*ways, lambda: operator @ vector):
        with pytest.raises(ValueError, match=UNDERFLOW):
            compute()
    for zero in (dntk.ntk(dead, x), dntk.NTKOperator(dead, x).diagonal(), dntk.NTKOperator(dead, x) @ vector):
        assert not np.any(zero)
    assert not np.any(operator @ (0 * vector))


@WARNED
@pytest.mark.parametrize(("inner", "outer"), [(1e-18, 1.0), (1e-23, 1.0), (1e-25, 1e15), (1e-20, 1e-30)])
def test_kernels_of_small_factors_are_refused_wherever_they_are_lost(library, inner, outer):
    """Activations times cotangents: their squares underflow one by one, also where the gradient itself does not."""
    model, x = times(mlp(library), outer).subset("weights.0"), inputs(library, n=20)
    x = x * inner
    with pytest.raises(ValueError, match=UNDERFLOW):
        dntk.ntk(model, x)


def test_queries_may_have_gradients_as_small_as_they_like():
    phi = features(NUMPY, n=12, k=20)
    fit = dntk.solve.ridge(phi, np.ones((12, phi.n_outputs), dtype="f4"), ridge=1e-3)
    small = dntk.TangentFeatures(phi.values * np.float32(2.0**-100))
    np.testing.assert_allclose(fit.predict(small) * np.float32(2.0**100), fit.predict(phi), rtol=1e-5)
    assert np.all(np.isfinite(tangent_residual(small, np.eye(20, dtype="f4")[None, :4].repeat(phi.n_outputs, axis=0))))


def test_features_of_zero_are_not_small():
    phi = dntk.TangentFeatures(np.zeros((2, 6, 3), dtype="f4"))
    assert not np.any(phi.kernel())
    assert require_kernel_of("phi", phi) is phi
    assert RPCholesky(2).select(phi).trace == 0
    assert not np.any(dntk.solve.ridge(phi, np.ones((6, 2), dtype="f4"), ridge=1.0).weights)
