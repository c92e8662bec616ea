import math

import numpy as np
import pytest
import scipy.stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct

import dntk
from dntk.solve import (
    MarginalLikelihood,
    Posterior,
    expected_calibration_error,
    gaussian_process,
    interval_coverage,
    negative_log_likelihood,
)
from tests.libraries import LIBRARIES, host
from tests.networks import features, targets

NUMPY = LIBRARIES[0]
SHAPES = pytest.mark.parametrize(("n", "k"), [(20, 40), (40, 12)], ids=["dual", "primal"])


def scikit_learn(x, y, queries, *, noise, signal):
    """Mean, variance and log marginal likelihood of a process with a linear kernel, one output."""
    kernel = ConstantKernel(signal, "fixed") * DotProduct(0.0, "fixed")
    process = GaussianProcessRegressor(kernel, alpha=noise * signal, optimizer=None).fit(x, y)
    mean, deviation = process.predict(queries, return_std=True)
    return mean, deviation**2, process.log_marginal_likelihood_value_


@SHAPES
def test_posterior_and_likelihood_are_those_of_scikit_learn(library, n, k):
    phi, y, query = features(library, n=n, k=k), targets(library, n=n), features(library, n=7, k=k, seed=9)
    process = gaussian_process(phi, y, noise=0.1, signal=2.5)
    found = process.predict(query)
    for c in range(3):
        x, q = host(phi.values)[c].astype("f8"), host(query.values)[c].astype("f8")
        mean, variance, likelihood = scikit_learn(x, host(y)[:, c].astype("f8"), q, noise=0.1, signal=2.5)
        close = {"atol": 400 * np.finfo("f4").eps * 2.5}  # κ = 11, norms of order one
        np.testing.assert_allclose(host(found.mean)[:, c], mean, **close)
        np.testing.assert_allclose(host(found.variance)[:, c], variance, **close)
        assert float(process.log_marginal_likelihood[c]) == pytest.approx(likelihood, rel=1e-4)
    np.testing.assert_allclose(host(found.noise), 0.25, rtol=1e-6)
    np.testing.assert_allclose(host(found.predictive_variance), host(found.variance) + 0.25, rtol=1e-5)


def log_density(phi, y, lam, signal):
    covariance = signal * (phi @ phi.T + lam * np.eye(len(phi)))
    return scipy.stats.multivariate_normal(np.zeros(len(phi)), covariance).logpdf(y)


@SHAPES
def test_the_signal_at_a_given_noise_has_the_largest_likelihood(n, k):
    phi, y = features(NUMPY, c=2, n=n, k=k, dtype="f8"), targets(NUMPY, n=n, c=2, dtype="f8")
    process = gaussian_process(phi, y, noise=0.2)
    for c in range(2):
        best = log_density(phi.values[c], y[:, c], 0.2, process.signal[c])
        assert process.log_marginal_likelihood[c] == pytest.approx(best, rel=1e-9)
        for factor in (0.9, 1.1):
            assert log_density(phi.values[c], y[:, c], 0.2, factor * process.signal[c]) < best


@SHAPES
@pytest.mark.parametrize("signal", [None, 0.7])
def test_the_marginal_likelihood_is_maximised(n, k, signal):
    phi = features(NUMPY, c=1, n=n, k=k, dtype="f8", decay=0.9)
    rng = np.random.default_rng(6)
    y = phi.values[0] @ rng.normal(size=(k, 1)) + 0.1 * rng.normal(size=(n, 1))
    process = gaussian_process(phi, y, noise=MarginalLikelihood(), signal=signal)
    best = float(process.log_marginal_likelihood[0])
    for factor in np.logspace(-3, 3, 31):
        other = gaussian_process(phi, y, noise=process.ridge * factor, signal=signal)
        assert float(other.log_marginal_likelihood[0]) <= best + 1e-6 * abs(best)


def test_targets_may_share_features_in_a_process(library):
    phi, y = features(library, c=1, n=30, k=9), targets(library, n=30)
    together, query = gaussian_process(phi, y, noise=0.3), features(library, c=1, n=5, k=9, seed=4)
    found = together.predict(query)
    for c in range(3):
        single = gaussian_process(phi, y[:, c : c + 1], noise=0.3).predict(query)
        np.testing.assert_allclose(host(found.mean)[:, c], host(single.mean)[:, 0], atol=1e-5)
        np.testing.assert_allclose(host(found.variance)[:, c], host(single.variance)[:, 0], rtol=1e-4)


def test_a_process_of_the_last_layer_uses_its_gradients_alone():
    from tests.networks import inputs, mlp

    net, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, dtype="f8")
    last = net.subset("weights.1|biases.1") if hasattr(net, "subset") else net
    phi = dntk.tangent_features(last, x, sketch=None)
    process = gaussian_process(phi, net(x), noise=0.1, signal=1.0)
    variance = process.predict(phi).variance
    kernel = dntk.ntk(last, x, outputs="each")
    for c in range(kernel.shape[0]):
        exact = kernel[c] - kernel[c] @ np.linalg.solve(kernel[c] + 0.1 * np.eye(30), kernel[c])
        np.testing.assert_allclose(variance[:, c], np.diag(exact), atol=1e-9 * np.abs(kernel).max())


def test_honest_beliefs_are_calibrated_and_overconfident_ones_are_not(library):
    rng = np.random.default_rng(8)
    mean, deviation = rng.normal(size=(4000, 2)), np.exp(rng.normal(size=(4000, 2)))
    y = library.array(mean + deviation * rng.normal(size=(4000, 2)), "f4")
    zero = library.array(np.zeros(2), "f4")
    honest = Posterior(mean=library.array(mean, "f4"), variance=library.array(deviation**2, "f4"), noise=zero)
    bold = Posterior(mean=honest.mean, variance=honest.variance / 4, noise=zero)
    # A share of 8,000 draws deviates by more than √(ln(2/δ)/2n) = 0.042 with probability δ = 1e-12 (Hoeffding).
    for share, level in zip(interval_coverage(honest, y, (0.5, 0.9)), (0.5, 0.9), strict=True):
        assert abs(share - level) <= math.sqrt(math.log(2 / 1e-12) / 2 / 8000)
    assert expected_calibration_error(honest, y) <= math.sqrt(math.log(18 / 1e-12) / 2 / 8000)
    assert expected_calibration_error(bold, y) > 0.15
    expected = -scipy.stats.norm(mean, deviation).logpdf(host(y)).mean()
    assert negative_log_likelihood(honest, y) == pytest.approx(expected, rel=1e-5)
    assert negative_log_likelihood(bold, y) > expected


@pytest.mark.usefixtures("unchecked")
def test_processes_refuse_what_makes_no_sense():
    phi, y = features(NUMPY), targets(NUMPY)
    with pytest.raises(ValueError, match="`signal` must"):
        gaussian_process(phi, y, noise=0.1, signal=0.0)
    with pytest.raises(ValueError, match="`noise` must be positive"):
        gaussian_process(phi, y, noise=-1.0)
    process = gaussian_process(phi, y, noise=0.1)
    with pytest.raises(ValueError, match="`phi` has 3 outputs of 7"):
        process.predict(features(NUMPY, k=7))
    beliefs = process.predict(phi)
    with pytest.raises(ValueError, match="`targets` has shape"):
        interval_coverage(beliefs, y[:4])
    with pytest.raises(ValueError, match="`levels` has"):
        interval_coverage(beliefs, y, (1.0,))
    certain = Posterior(mean=y, variance=0 * y, noise=np.zeros(3))
    with pytest.raises(ValueError, match="variance is zero"):
        negative_log_likelihood(certain, y)
