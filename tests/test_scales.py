"""Far from one, what is computed either scales with the gradients, or is refused: it is never silently lost."""

import dataclasses

import numpy as np
import pytest

import dntk
from dntk.certificates import tangent_residual
from dntk.distill.data import FarthestPoint, Herding, KMeans, LastLayer, Random, RPCholesky
from dntk.distill.gradients import Principal, Solution
from tests.libraries import LIBRARIES, host, interpreted
from tests.networks import features, inputs, mlp, targets

NUMPY = LIBRARIES[0]
OVERFLOW = "products overflow .*: scale the network's outputs down, or convert network and inputs to float64"
UNDERFLOW = "products underflow .*: scale the network's outputs up, or convert network and inputs to float64"
SINGLE = [1e-30, 1e-25, 1e-18, 1e-12, 1e-4, 1e4, 1e12, 1e18, 1e25, 1e30]
DOUBLE = [1e-200, 1e-150, 1e-100, 1e100, 1e150, 1e200]
SCALES = [("f4", scale) for scale in SINGLE] + [("f8", scale) for scale in DOUBLE]


def power_of_two(scale):
    return 2.0 ** round(np.log2(scale))


def plain(x):
    return x if isinstance(x, float) else host(x)


def refused(dtype, scale):
    """What is refused: gradients of about one, times this, squared, outside the numbers with all their digits."""
    info = np.finfo(dtype)
    low, high = (float(info.smallest_normal) / float(info.eps)) ** 0.5, float(info.max) ** 0.5
    return UNDERFLOW if scale < low else OVERFLOW if scale > high / 1e3 else None


QUANTITIES = {
    "kernel": (2, lambda phi, _y, _ridge: phi.kernel()),
    "each": (2, lambda phi, _y, _ridge: phi.kernel(outputs="each")),
    "RPCholesky": (2, lambda phi, _y, _ridge: RPCholesky(5).select(phi).residual_trace),
    "picks": (0, lambda phi, _y, _ridge: RPCholesky(5).select(phi).indices),
    "FarthestPoint": (2, lambda phi, _y, _ridge: FarthestPoint(5).select(phi).residual_trace),
    "KMeans": (2, lambda phi, _y, _ridge: KMeans(5).select(phi).residual_trace),
    "Herding": (2, lambda phi, _y, _ridge: Herding(5).select(phi).residual_trace),
    "Random": (2, lambda phi, _y, _ridge: Random(5).select(phi).residual_trace),
    "eigenvalues": (2, lambda phi, _y, _ridge: dntk.spectrum.eigenvalues(phi, 5)),
    "Principal": (0, lambda phi, y, _ridge: Principal(3).distill(phi, y).trace_residual),
    "Solution": (0, lambda phi, y, ridge: Solution(3, ridge=ridge).distill(phi, y).trace_residual),
    "ridge": (-1, lambda phi, y, ridge: dntk.solve.ridge(phi, y, ridge=ridge).weights),
    "loo": (0, lambda phi, y, _ridge: dntk.solve.ridge(phi, y).loo_error),
    "certificate": (
        0,
        lambda phi, y, ridge: float(dntk.certify(phi, Principal(3).distill(phi, y), y, ridge=ridge).prediction_error),
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("dtype", "scale"), SCALES)
def test_features_scale_or_are_refused(library, dtype, scale):
    interpreted(library)
    if dtype == "f8" and not library.has_float64:
        pytest.skip("JAX has no float64 unless it is told to")
    scale, expected = power_of_two(scale), refused(dtype, scale)
    phi, y = features(library, n=12, k=20, dtype=dtype), targets(library, n=12, dtype=dtype)
    if expected == OVERFLOW:
        with pytest.raises(ValueError, match=OVERFLOW):
            dntk.TangentFeatures(phi.values * scale)
        return
    scaled = dntk.TangentFeatures(phi.values * scale)
    tolerance = 1e-9 if dtype == "f8" else 1e-2  # algorithms that stop early do so by float32's rounding
    for name, (power, quantity) in QUANTITIES.items():
        if expected:
            with pytest.raises(ValueError, match=UNDERFLOW):
                quantity(scaled, y, 1e-3 * scale**2)
            continue
        one, other = (plain(quantity(p, y, r)) for p, r in ((phi, 1e-3), (scaled, 1e-3 * scale**2)))
        wanted = np.asarray(one, dtype="f8") * scale**power
        np.testing.assert_allclose(
            np.asarray(other, dtype="f8"), wanted, rtol=tolerance, atol=tolerance * np.max(np.abs(wanted)), err_msg=name
        )


def times(model, scale):
    """The network with its outputs multiplied."""
    weights, biases = list(model.weights), list(model.biases)
    weights[-1], biases[-1] = weights[-1] * scale, biases[-1] * scale
    return dataclasses.replace(model, weights=tuple(weights), biases=tuple(biases))


CALLS = {
    "ntk": (2, lambda model, x: dntk.ntk(model, x)),
    "ntk between": (2, lambda model, x: dntk.ntk(model, x, x[:3, ...])),
    "operator": (2, lambda model, x: dntk.NTKOperator(model, x) @ x[:, 0]),
    "diagonal": (2, lambda model, x: dntk.NTKOperator(model, x).diagonal()),
    "features": (2, lambda model, x: dntk.tangent_features(model, x, sketch=dntk.sketch.Gaussian(16)).kernel()),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("dtype", "scale"), SCALES)
@pytest.mark.parametrize("call", CALLS)
def test_calls_on_networks_scale_or_are_refused(library, call, dtype, scale):
    interpreted(library)
    if dtype == "f8" and not library.has_float64:
        pytest.skip("JAX has no float64 unless it is told to")
    scale, expected = power_of_two(scale), refused(dtype, scale)
    power, compute = CALLS[call]
    # The gradients in the first layer are in proportion to the last.
    model, x = mlp(library, dtype=dtype).subset("weights.0"), inputs(library, n=8, dtype=dtype)
    if expected:
        with pytest.raises(ValueError, match="overflow|underflow"):
            compute(times(model, scale), x)
        return
    one, other = (np.asarray(host(compute(m, x)), dtype="f8") for m in (model, times(model, scale)))
    np.testing.assert_allclose(other, one * scale**power, rtol=1e-4, atol=1e-4 * np.max(np.abs(one)) * scale**power)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("data", [None, RPCholesky(8), LastLayer(KMeans(8))])
@pytest.mark.parametrize(("dtype", "scale"), [("f4", 1e10), ("f4", 1e18), ("f4", 1e30), ("f8", 1e100), ("f8", 1e200)])
def test_a_fit_scales_with_its_network_or_is_refused(data, dtype, scale):
    scale, expected = power_of_two(scale), refused(dtype, scale)
    model, x = mlp(NUMPY, dtype=dtype).subset("weights.0"), inputs(NUMPY, n=20, dtype=dtype)
    spec = dntk.DistilledNTK(model, data, None, ridge=1e-3)
    loud = dataclasses.replace(spec, model=times(model, scale), ridge=1e-3 * scale**2)
    if expected:
        with pytest.raises(ValueError, match=OVERFLOW):
            loud.fit(x)
        return
    one, other, query = spec.fit(x), loud.fit(x), inputs(NUMPY, n=5, seed=9, dtype=dtype)
    for name, power in (("predict", 1), ("trust", 0), ("uncertainty", 1), ("kernel", 2)):
        wanted = getattr(one, name)(query).astype("f8") * scale**power
        found = getattr(other, name)(query).astype("f8")
        np.testing.assert_allclose(found, wanted, rtol=1e-2, atol=1e-3 * np.max(np.abs(wanted)), err_msg=name)
    lost = [float(fit.certificate.trace_error) / fit.certificate.trace for fit in (one, other)]
    assert lost[1] == pytest.approx(lost[0], rel=1e-2, abs=1e-3)


def test_trust_is_that_of_the_direction_of_a_gradient_whatever_its_length():
    values = features(NUMPY, c=2, n=6, k=10).values
    lengths = np.asarray([1e-30, 1e-20, 1e-10, 1, 1e5, 1e10], dtype="f4")[None, :, None]
    basis = np.eye(10, dtype="f4")[None, :4].repeat(2, axis=0)
    plain, stretched = (tangent_residual(dntk.TangentFeatures(v), basis) for v in (values, values * lengths))
    np.testing.assert_allclose(stretched, plain, rtol=1e-5)


def test_a_kernel_of_gradients_that_are_zero_or_orthogonal_is_no_underflow():
    model, x = mlp(NUMPY), inputs(NUMPY, n=6)
    dead = times(model, 0.0).subset("weights.0")
    assert not np.any(dntk.ntk(dead, x))
    assert not np.any(dntk.NTKOperator(model, x) @ np.zeros(6, dtype="f4"))
    small = dntk.NTKOperator(model, x) @ np.full(6, 1e-35, dtype="f4")
    assert np.all(np.isfinite(small))


@pytest.mark.usefixtures("unchecked")
def test_targets_whose_squares_leave_the_range_of_numbers_are_refused():
    phi, y = features(NUMPY, dtype="f8"), targets(NUMPY, dtype="f8")
    for scale, message in ((1e200, "`targets` has entries up to"), (1e-200, "`targets` has no entry above")):
        with pytest.raises(ValueError, match=message):
            dntk.solve.ridge(phi, y * scale, ridge=1e-3)
    assert not np.any(dntk.solve.ridge(phi, 0 * y, ridge=1e-3).weights)
