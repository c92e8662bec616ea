import numpy as np
import pytest

import dntk
from dntk.distill.gradients import Streaming
from dntk.solve import (
    GeneralisedCrossValidation,
    Jitter,
    KFold,
    LargestWithin,
    LeaveOneOut,
    NormalEquations,
    PerOutput,
    kernel_ridge,
    ridge,
    ridge_path,
)
from dntk.solve.folds import fold_of_points
from dntk.solve.leave_one_out import least
from dntk.solve.problem import RidgeProblem
from tests.libraries import LIBRARIES, host
from tests.networks import features, targets

NUMPY = LIBRARIES[0]
GRID = [1e-3, 1e-1, 1.0, 10.0]
SHAPES = pytest.mark.parametrize(("n", "k"), [(14, 20), (30, 8)], ids=["dual", "primal"])


def refit_errors(phi, y, lam, folds):
    """Squared residuals by explicit fits without each fold, float64."""
    errors = np.zeros(y.shape)
    for fold in np.unique(folds):
        rest = folds != fold
        for c, values in enumerate(phi):
            kept = values[rest]
            w = np.linalg.solve(kept.T @ kept + lam * np.eye(values.shape[1]), kept.T @ y[rest, c])
            errors[~rest, c] = (y[~rest, c] - values[~rest] @ w) ** 2
    return errors.mean(axis=0)


def estimated(rule, phi, y):
    found, _ = rule.errors(RidgeProblem.of(phi.values, y), GRID)
    return host(found).reshape(-1, len(GRID))


@SHAPES
def test_leave_one_out_and_folds_are_explicit_refits(n, k):
    phi, y = features(NUMPY, n=n, k=k, dtype="f8"), targets(NUMPY, n=n, dtype="f8")
    for rule, folds in [
        (LeaveOneOut(), np.arange(n)),
        (KFold(folds=4, seed=7), fold_of_points(n, folds=4, seed=7)),
    ]:
        expected = np.stack([refit_errors(phi.values, y, lam, folds) for lam in GRID], axis=1)
        np.testing.assert_allclose(estimated(rule, phi, y), expected, rtol=1e-8)


@SHAPES
def test_gcv_is_its_definition(n, k):
    phi, y = features(NUMPY, n=n, k=k, dtype="f8"), targets(NUMPY, n=n, dtype="f8")
    expected = np.zeros((3, len(GRID)))
    for c, values in enumerate(phi.values):
        for i, lam in enumerate(GRID):
            hat = values @ values.T @ np.linalg.inv(values @ values.T + lam * np.eye(n))
            expected[c, i] = np.mean((y[:, c] - hat @ y[:, c]) ** 2) / (1 - np.trace(hat) / n) ** 2
    np.testing.assert_allclose(estimated(GeneralisedCrossValidation(), phi, y), expected, rtol=1e-8)


@pytest.mark.parametrize("rule", [LeaveOneOut, GeneralisedCrossValidation, KFold])
@SHAPES
def test_every_rule_chooses_its_best_on_every_library(library, rule, n, k):
    phi, y = features(library, n=n, k=k), targets(library, n=n)
    wide = features(NUMPY, n=n, k=k, dtype="f8"), targets(NUMPY, n=n, dtype="f8")
    errors = estimated(rule(), *wide)
    each = ridge(phi, y, ridge=rule(GRID, per_output=True)).ridge
    assert ridge(phi, y, ridge=rule(GRID)).ridge == GRID[int(errors.mean(axis=0).argmin())]
    assert list(each) == [GRID[i] for i in errors.argmin(axis=1)]


@pytest.mark.parametrize("rule", [LeaveOneOut, GeneralisedCrossValidation, KFold])
@SHAPES
def test_the_largest_ridge_within_a_share_of_the_least_error_is_taken(library, rule, n, k):
    phi, y = features(library, n=n, k=k), targets(library, n=n)
    errors = estimated(rule(), features(NUMPY, n=n, k=k, dtype="f8"), targets(NUMPY, n=n, dtype="f8"))
    mean = errors.mean(axis=0)
    # Halfway between the shares that would let another candidate in: float32 cannot change the answer.
    shares = sorted({0.0, *(float(e) / mean.min() - 1 for e in mean)})
    for low, high in zip(shares, [*shares[1:], shares[-1] + 1], strict=True):
        share = min((low + high) / 2, 0.99)
        expected = max(lam for lam, error in zip(GRID, mean, strict=True) if error <= (1 + share) * mean.min())
        assert ridge(phi, y, ridge=LargestWithin(rule(GRID), share)).ridge == expected
    half = [max(lam for lam, e in zip(GRID, one, strict=True) if e <= 1.5 * one.min()) for one in errors]
    assert list(ridge(phi, y, ridge=LargestWithin(rule(GRID, per_output=True), 0.5)).ridge) == half


@SHAPES
def test_ridges_per_output_are_as_many_single_fits(library, n, k):
    phi, y = features(library, n=n, k=k), targets(library, n=n)
    fit = ridge(phi, y, ridge=PerOutput([0.1, 1.0, 5.0]))
    for c, lam in enumerate([0.1, 1.0, 5.0]):
        single = ridge(phi, y, ridge=lam)
        np.testing.assert_allclose(host(fit.weights)[c], host(single.weights)[c], atol=1e-6)
    assert fit.ridge == (0.1, 1.0, 5.0)
    parts = [
        ridge(dntk.TangentFeatures(phi.values[c : c + 1, :, :]), y[:, c : c + 1], ridge=lam).loo_error
        for c, lam in enumerate([0.1, 1.0, 5.0])
    ]
    assert fit.loo_error == pytest.approx(np.mean(parts), rel=1e-4)


@SHAPES
def test_targets_may_share_one_set_of_features(library, n, k):
    single, y = features(library, c=1, n=n, k=k), targets(library, n=n)
    xp = dntk.arrays.namespace(single.values)
    repeated = dntk.TangentFeatures(xp.concat([single.values] * 3, axis=0))
    query = features(library, c=1, n=5, k=k, seed=5)
    for rule in (0.3, PerOutput([0.1, 1.0, 5.0]), LeaveOneOut(GRID), KFold(GRID)):
        shared, apart = ridge(single, y, ridge=rule), ridge(repeated, y, ridge=rule)
        assert shared.ridge == apart.ridge
        np.testing.assert_allclose(host(shared.weights), host(apart.weights), atol=2e-5)
        np.testing.assert_allclose(host(shared.dual), host(apart.dual), atol=2e-4)
        expected = np.einsum("nk,ck->nc", host(query.values)[0], host(shared.weights))
        np.testing.assert_allclose(host(shared.predict(query)), expected, atol=1e-5)
        assert shared.loo_error == pytest.approx(apart.loo_error, rel=1e-3)


@SHAPES
def test_sample_weights_are_repeated_points(library, n, k):
    weights = np.arange(n) % 3
    phi, y = features(library, n=n, k=k), targets(library, n=n)
    fit = ridge(phi, y, ridge=0.4, sample_weights=library.array(weights.astype("f4")))
    order = np.repeat(np.arange(n), weights)
    repeated = ridge(phi[order], library.array(host(y)[order]), ridge=0.4)
    np.testing.assert_allclose(host(fit.weights), host(repeated.weights), atol=1e-5)
    mapped = np.einsum("cnk,cn->ck", host(phi.values), host(fit.dual))
    np.testing.assert_allclose(mapped, host(fit.weights), atol=1e-5)
    left_out = []
    for i in np.nonzero(weights)[0]:
        rest = weights.astype("f8")
        rest[i] = 0
        wide = features(NUMPY, n=n, k=k, dtype="f8")
        without = ridge(wide, targets(NUMPY, n=n, dtype="f8"), ridge=0.4, sample_weights=rest)
        error = without.predict(wide[[int(i)]]) - targets(NUMPY, n=n, dtype="f8")[[i]]
        left_out.append(weights[i] * np.mean(error**2))
    assert fit.loo_error == pytest.approx(sum(left_out) / weights.sum(), rel=1e-4)


@SHAPES
def test_a_path_is_a_fit_at_every_ridge(library, n, k):
    phi, y = features(library, n=n, k=k), targets(library, n=n)
    path = ridge_path(phi, y, [0.05, 0.5, 5.0])
    for i, lam in enumerate(path.ridges):
        fit = ridge(phi, y, ridge=lam)
        np.testing.assert_allclose(host(path.weights)[i], host(fit.weights), atol=1e-4)
        mse = ((host(y) - host(fit.predict(phi))) ** 2).mean(axis=0)
        np.testing.assert_allclose(host(path.train_mse)[i], mse, rtol=1e-3)


def test_the_errors_of_a_path_are_measured_where_the_statistics_do_not_know_them():
    """Targets that the features fit exactly: beside Σy² their residual is rounding, at small ridges below 1e-6 of it.

    In float32 beyond 10⁴ points, where the products round by 1e-7 of ‖G‖: measured residuals of the weights returned.
    """
    rng = np.random.default_rng(5)
    turn, _ = np.linalg.qr(rng.normal(size=(12, 12)))  # else small entries of G are as exact as large ones
    x = ((rng.normal(size=(10_500, 12)) * 0.3 ** np.arange(12)) @ turn).astype("f4")
    y = (x @ rng.normal(size=(12, 2))).astype("f4")
    path = ridge_path(dntk.TangentFeatures(x), y, [30.0, 1e-6, 1e-2, 1e3])
    for i in range(4):
        wide = y.astype("f8") - x.astype("f8") @ path.weights[i].astype("f8").T
        mse = np.mean(wide**2, axis=0)
        # Products of 12 numbers in float32, each at most a few times y: residuals round by 12·eps·|y|.
        slack = (12 * 2**-23 * np.abs(y).max()) ** 2
        np.testing.assert_allclose(path.train_mse[i], mse, rtol=1e-2, atol=slack)
    assert path.train_mse[2].max() < 1e-6 * np.mean(y**2) < path.train_mse[3].min()


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_feature_is_refused_with_what_to_call_instead():
    phi, y = features(NUMPY), targets(NUMPY)
    streamed = Streaming(size=3).stream([(phi, y)])
    with pytest.raises(TypeError, match=r"StreamedGradients: .*solvers of their own, \.solve\(ridge\)"):
        ridge(streamed, y, ridge=1.0)
    with pytest.raises(TypeError, match="StreamedGradients"):
        ridge_path(streamed, y, [1.0])
    with pytest.raises(TypeError, match=r"ndarray: .*dntk\.TangentFeatures\(values\)"):
        ridge(host(phi.values), y, ridge=1.0)
    with pytest.raises(TypeError, match="solve_statistics"):
        ridge(NormalEquations.of(phi.values, y.T[:, :, None]), y, ridge=1.0)


@pytest.mark.parametrize(("points", "dim"), [(60, 12), (40, 60)])
def test_products_of_few_points_are_formed_in_float64(points, dim):
    rng = np.random.default_rng(4)
    x = (rng.normal(size=(points, dim)) * 0.9 ** np.arange(dim)).astype("f4")
    y, lam = (x @ rng.normal(size=(dim, 2)) + rng.normal(size=(points, 2))).astype("f4"), 0.01
    wide = x.astype("f8")
    exact = np.linalg.solve(wide.T @ wide + lam * np.eye(dim), wide.T @ y.astype("f8")).T
    found = ridge(dntk.TangentFeatures(x), y, ridge=lam).weights
    # Half a unit in the last place, by which weights are rounded; products in float32 would lose three and more.
    assert np.max(np.abs(found - exact)) <= np.finfo("f4").eps * np.max(np.abs(exact))


def large(library, n=10_500, k=12, decay=1.0, dtype="f4"):
    rng = np.random.default_rng(11)
    x = (rng.normal(size=(n, k)) * decay ** np.arange(k)).astype(dtype)
    y = (x.astype("f8") @ rng.normal(size=(k, 2)) / decay ** (k / 2) + rng.normal(size=(n, 2))).astype(dtype)
    return dntk.TangentFeatures(library.array(x)), library.array(y), x.astype("f8"), y.astype("f8")


def test_many_points_are_solved_in_one_pass_as_dense_algebra_does(library):
    phi, y, x, wide = large(library)
    fit = ridge(phi, y, ridge=30.0)
    expected = np.linalg.solve(x.T @ x + 30 * np.eye(12), x.T @ wide)
    np.testing.assert_allclose(host(fit.weights), expected.T, atol=500 * np.finfo("f4").eps * np.abs(expected).max())
    hat = np.einsum("nk,nk->n", x @ np.linalg.inv(x.T @ x + 30 * np.eye(12)), x)
    left_out = (wide - x @ expected) / (1 - hat)[:, None]
    assert fit.loo_error == pytest.approx(np.mean(left_out**2), rel=1e-4)
    assert fit.report.jitter == 0
    assert 1 <= fit.report.condition <= 2 * (np.linalg.norm(x, 2) ** 2 + 30) / 30


@pytest.mark.parametrize("module", ["numpy", "torch"])
def test_products_in_float32_are_refined_where_the_ridge_is_below_their_rounding(module):
    pytest.importorskip(module)
    library = next(entry for entry in LIBRARIES if entry.module == module)
    phi, y, x, wide = large(library, decay=0.3)
    lam = 1e-9 * np.linalg.norm(x, 2) ** 2
    fit = ridge(phi, y, ridge=lam)
    expected = np.linalg.solve(x.T @ x + lam * np.eye(12), x.T @ wide)
    plain = np.linalg.solve(phi_gram32(x) + lam * np.eye(12), x.T @ wide)
    error = np.linalg.norm(host(fit.weights).T - expected) / np.linalg.norm(expected)
    assert fit.report.refinements > 0
    assert error <= 100 * np.finfo("f4").eps
    assert np.linalg.norm(plain - expected) / np.linalg.norm(expected) > 10 * error  # the refinement is needed


def phi_gram32(x):
    narrow = x.astype("f4")
    return (narrow.T @ narrow).astype("f8")


def test_one_point_equal_rows_and_zero_targets_have_solutions(library):
    one = ridge(features(library, c=2, n=1, k=4), targets(library, n=1, c=2), ridge=0.1)
    x = host(features(library, c=2, n=1, k=4).values)
    expected = x[:, 0] * (host(targets(library, n=1, c=2))[0] / ((x[:, 0] ** 2).sum(axis=1) + 0.1))[:, None]
    np.testing.assert_allclose(host(one.weights), expected, atol=1e-6)
    phi = features(library, n=6)[[0, 0, 1, 1, 2, 2]]
    y = targets(library, n=6)
    assert np.isfinite(host(ridge(phi, y, ridge="loo").weights)).all()
    assert not host(ridge(phi, 0 * y, ridge=0.1).weights).any()


def test_jitter_is_added_only_when_allowed_and_is_reported():
    kernel = np.ones((1, 6, 6))
    kernel[0] -= 1e-9 * np.eye(6)
    y = np.ones((6, 1))
    with pytest.raises(ValueError, match="allow jitter"):
        kernel_ridge(kernel, y, ridge=1e-12)
    fit = kernel_ridge(kernel, y, ridge=1e-12, jitter=Jitter())
    assert 1e-12 <= fit.jitter <= 1e-7
    residual = kernel[0] @ fit.dual[0] + (1e-12 + fit.jitter) * fit.dual[0] - 1
    assert np.abs(residual).max() <= 100 * 2.0**-52 * 6 * np.abs(fit.dual).max()
    assert (
        ridge(dntk.TangentFeatures(np.ones((1, 5, 9))), np.ones((5, 1)), ridge=1.0, jitter=Jitter()).report.jitter == 0
    )
    with pytest.raises(ValueError, match="`growth`"):
        Jitter(growth=1.0)


@pytest.mark.usefixtures("unchecked")
def test_rules_and_weights_that_make_no_sense_are_refused():
    phi, y = features(NUMPY), targets(NUMPY)
    with pytest.raises(ValueError, match="`folds` must"):
        KFold(folds=1)
    with pytest.raises(ValueError, match="at most as many folds"):
        ridge(phi, y, ridge=KFold(folds=21))
    with pytest.raises(ValueError, match="3 outputs"):
        ridge(phi, y, ridge=PerOutput([1.0]))
    with pytest.raises(ValueError, match="one for all is needed"):
        dntk.distill.gradients.Solution(3, ridge=LeaveOneOut(per_output=True)).distill(phi, y)
    with pytest.raises(ValueError, match="expected one per point"):
        ridge(phi, y, sample_weights=np.ones(3))
    with pytest.raises(ValueError, match="must not be negative"):
        ridge(phi, y, sample_weights=-np.ones(20))
    with pytest.raises(ValueError, match="synthetic gradients have none"):
        ridge(dntk.distill.gradients.Principal(3).distill(phi, y), sample_weights=np.ones(20))
    with pytest.raises(ValueError, match="empty grid"):
        GeneralisedCrossValidation(grid=[])


def test_ridges_below_the_rounding_of_the_kernel_do_not_compete():
    assert least([0.0, 2.0, 1.0], [1e-12, 1e-3, 1e-2], floor=1e-6) == 1e-2
    assert least([0.0, 2.0], [1e-12, 1e-11], floor=1e-6) == 1e-11
    # A kernel of rank one with exact targets: at ridges that are rounding the error is rounding, and means nothing.
    values = np.outer(np.linspace(1, 2, 12), np.ones(30))[None, :, :]
    phi = dntk.TangentFeatures(values)
    chosen = dntk.solve.ridge(phi, values[0, :, :1], ridge=(1e-25, 1e-20, 1e-3)).ridge
    assert chosen == 1e-3
