"""What solvers return, by its public names: each statement against dense linear algebra."""

import numpy as np
import pytest

from dntk import solve
from tests.libraries import LIBRARIES
from tests.networks import features, targets

NUMPY = LIBRARIES[0]
EPS = np.finfo(np.float64).eps
RIDGE = 0.1


@pytest.fixture
def phi():
    return features(NUMPY, dtype="f8")


@pytest.fixture
def y():
    return targets(NUMPY, dtype="f8")


@pytest.fixture
def wide():
    """More points than features: solved from their statistics."""
    return features(NUMPY, n=40, k=8, dtype="f8"), targets(NUMPY, n=40, dtype="f8")


def dense_weights(values, y, ridge):
    """(C, k) by the normal equations."""
    gram = values.mT @ values + ridge * np.eye(values.shape[2])
    return np.linalg.solve(gram, values.mT @ y.T[:, :, None])[:, :, 0]


def test_a_ridge_fit_has_its_weights_its_dual_and_its_left_out_error(phi, y):
    fit = solve.ridge(phi, y, ridge=RIDGE)
    assert isinstance(fit, solve.RidgeFit)
    np.testing.assert_allclose(fit.weights, dense_weights(phi.values, y, RIDGE), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose((phi.values.mT @ fit.dual[:, :, None])[:, :, 0], fit.weights, rtol=1e-8, atol=1e-10)
    squares = []
    for i in range(len(phi)):
        rest = np.delete(np.arange(len(phi)), i)
        weights = dense_weights(phi.values[:, rest, :], y[rest], RIDGE)
        squares.append((np.sum(weights * phi.values[:, i, :], axis=1) - y[i]) ** 2)
    assert fit.loo_error == pytest.approx(np.mean(squares), rel=1e-8)


def test_a_report_bounds_the_condition_from_below(phi, y):
    report = solve.ridge(phi, y, ridge=RIDGE).report
    assert isinstance(report, solve.SolveReport)
    exact = max(np.linalg.cond(kernel + RIDGE * np.eye(20)) for kernel in phi.values @ phi.values.mT)
    assert exact / 3 <= report.condition <= exact * (1 + 1e3 * EPS)
    assert report.jitter == 0


def test_a_kernel_fit_solves_the_dual_system(phi, y):
    kernel = phi.values @ phi.values.mT
    fit = solve.kernel_ridge(kernel, y, ridge=RIDGE)
    assert isinstance(fit, solve.KernelRidgeFit)
    residual = (kernel + RIDGE * np.eye(20)) @ fit.dual[:, :, None] - y.T[:, :, None]
    assert np.abs(residual).max() <= 1e-12 * np.abs(y).max() / RIDGE
    np.testing.assert_allclose(fit.predict(kernel), (kernel @ fit.dual[:, :, None])[:, :, 0].T)
    assert fit.loo_error == pytest.approx(solve.ridge(phi, y, ridge=RIDGE).loo_error, rel=1e-8)


@pytest.mark.parametrize("points", [20, 60])
def test_a_path_has_the_solution_at_every_ridge(points):
    phi, y = features(NUMPY, n=points, dtype="f8"), targets(NUMPY, n=points, dtype="f8")
    ridges = (1.0, 0.01)
    path = solve.ridge_path(phi, y, ridges)
    assert isinstance(path, solve.RidgePath)
    assert path.ridges == ridges
    for i, ridge in enumerate(ridges):
        weights = dense_weights(phi.values, y, ridge)
        np.testing.assert_allclose(path.weights[i], weights, rtol=1e-7, atol=1e-9)
        residual = (phi.values @ weights[:, :, None])[:, :, 0] - y.T
        np.testing.assert_allclose(path.train_mse[i], np.mean(residual**2, axis=1), rtol=1e-7)


def test_a_spectrum_of_statistics_has_weights_errors_and_dimensions(wide):
    phi, y = wide
    ridges = np.asarray([0.01, 1.0])
    found = solve.NormalEquations.of(phi.values[:1], y[None]).spectrum()
    assert isinstance(found, solve.NormalSpectrum)
    gram = phi.values[0].T @ phi.values[0]
    for i, ridge in enumerate(ridges):
        weights = np.linalg.solve(gram + ridge * np.eye(8), phi.values[0].T @ y)
        np.testing.assert_allclose(found.weights(ridges)[i, 0], weights, rtol=1e-9, atol=1e-11)
        mse = np.mean((phi.values[0] @ weights - y) ** 2, axis=0)
        np.testing.assert_allclose(found.train_mse(ridges)[i, 0], mse, rtol=1e-9)
        dimension = np.trace(np.linalg.solve(gram + ridge * np.eye(8), gram))
        assert found.effective_dimension(ridges)[i, 0] == pytest.approx(dimension)
        np.testing.assert_allclose(found.gcv(ridges)[i, 0], mse / (1 - dimension / 40) ** 2, rtol=1e-9)


def test_a_streamed_fit_is_the_fit_of_all_chunks(wide):
    phi, y = wide
    chunks = [(phi.values[:, :15], y[:15]), (phi.values[:, 15:], y[15:])]
    fit = solve.ridge_out_of_core(chunks, ridge=RIDGE)
    assert isinstance(fit, solve.StreamedFit)
    np.testing.assert_allclose(fit.weights, dense_weights(phi.values, y, RIDGE), rtol=1e-9, atol=1e-11)
    residual = (phi.values @ fit.weights[:, :, None])[:, :, 0] - y.T
    np.testing.assert_allclose(fit.train_mse, np.mean(residual**2, axis=1), rtol=1e-9)


def test_an_iterative_fit_says_how_far_it_came(phi, y):
    kernel = solve.FeatureKernel(phi.values)
    fit = solve.iterative_ridge(kernel, y.T, ridge=RIDGE, tolerance=1e-10)
    assert isinstance(fit, solve.IterativeFit)
    assert isinstance(fit.cg, solve.CGResult)
    assert fit.cg.converged.all()
    exact = np.linalg.solve(phi.values @ phi.values.mT + RIDGE * np.eye(20), y.T[:, :, None])[:, :, 0]
    # the residual divided by the least eigenvalue, which is at least λ
    error = np.linalg.norm(fit.dual - exact, axis=1)
    assert (error <= 1.01e-10 * np.linalg.norm(y, axis=0) / RIDGE).all()
    stopped = solve.iterative_ridge(
        kernel, y.T, ridge=1e-6, tolerance=1e-12, iterations=1, preconditioner=solve.RandomizedNystrom(2)
    )
    assert stopped.cg.iterations == 1
    assert not stopped.cg.converged.any()
    assert (stopped.cg.relative_residual > 1e-12).all()


def test_a_process_has_the_regression_as_its_mean_and_the_gaussian_likelihood(phi, y):
    process = solve.gaussian_process(phi, y, noise=RIDGE)
    assert isinstance(process, solve.GaussianProcess)
    posterior = process.predict(phi)
    assert isinstance(posterior, solve.Posterior)
    np.testing.assert_allclose(process.weights, dense_weights(phi.values, y, RIDGE), rtol=1e-8, atol=1e-10)
    for c, kernel in enumerate(phi.values @ phi.values.mT):
        covariance = process.signal[c] * (kernel + RIDGE * np.eye(20))
        prior = process.signal[c] * kernel
        variance = np.diag(prior - prior @ np.linalg.solve(covariance, prior))
        np.testing.assert_allclose(posterior.variance[:, c], variance, rtol=1e-8, atol=1e-10)
        observed = variance + process.signal[c] * RIDGE
        np.testing.assert_allclose(posterior.predictive_variance[:, c], observed, rtol=1e-8)
        quadratic = y[:, c] @ np.linalg.solve(covariance, y[:, c])
        expected = -(quadratic + np.linalg.slogdet(covariance)[1] + 20 * np.log(2 * np.pi)) / 2
        assert process.log_marginal_likelihood[c] == pytest.approx(expected, rel=1e-9)


class SmallestOfTwo:
    """A rule of another's making: the candidate with the smaller number."""

    grid = (0.3, 0.2)
    per_output = False

    def errors(self, problem, ridges):
        g, _, q = problem.targets.shape
        return np.broadcast_to(np.asarray(ridges), (g, q, len(ridges))), 0.0


def test_a_rule_that_has_the_members_of_a_choice_is_taken(phi, y):
    for rule in (SmallestOfTwo(), solve.LeaveOneOut(), solve.GeneralisedCrossValidation(), solve.KFold()):
        assert isinstance(rule, solve.RidgeChoice)
    assert not isinstance(solve.PerOutput((1.0,)), solve.RidgeChoice)
    assert solve.ridge(phi, y, ridge=SmallestOfTwo()).ridge == 0.2
