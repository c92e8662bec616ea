"""Leave-one-out where a point has several rows of one regression: all of them are left out together."""

import numpy as np
import pytest

import dntk
from dntk.solve import GeneralisedCrossValidation, Joint, KFold, LeaveOneOut, joint_ridge
from dntk.solve.problem import RidgeProblem
from dntk.solve.solution import solve
from tests.libraries import LIBRARIES, host
from tests.networks import inputs, mlp

NUMPY = LIBRARIES[0]
SHAPES = {"wide": (3, 6, 40), "tall": (3, 20, 25), "one point": (2, 1, 10), "fewer features than outputs": (4, 5, 3)}
RIDGES = (0.01, 0.3, 5.0)


def drawn(shape, scale=1.0, seed=0):
    """Features (C, m, k) and targets (m, C)."""
    c, m, k = shape
    rng = np.random.default_rng(seed)
    return scale * rng.normal(size=(c, m, k)), rng.normal(size=(m, c))


def by_fitting_without(phi, y, ridge):
    """Mean squared residual of the rows of every point, by the normal equations of all others' rows."""
    c, m, k = phi.shape
    left = np.empty((m, c))
    for i in range(m):
        others = np.arange(m) != i
        rows, goals = phi[:, others].reshape(-1, k), y[others].T.reshape(-1)
        weights = np.linalg.solve(rows.T @ rows + ridge * np.eye(k), rows.T @ goals)
        left[i] = y[i] - phi[:, i] @ weights
    return np.mean(left**2)


def joined(library, phi, y):
    """The problem of the rows of all outputs."""
    c, m, k = phi.shape
    rows, goals = phi.reshape(1, c * m, k), y.T.reshape(c * m, 1)
    return RidgeProblem.of(library.array(rows), library.array(goals), together=c)


def rough(library):
    """What float64 leaves of systems of condition 1e5, or float32."""
    return 1e-9 if library.has_float64 else 2e-2


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_error_is_that_of_fits_without_each_point(library, shape):
    phi, y = drawn(shape)
    problem, known = joined(library, phi, y), [by_fitting_without(phi, y, ridge) for ridge in RIDGES]
    errors, _ = LeaveOneOut().errors(problem, RIDGES)
    np.testing.assert_allclose(host(errors)[0, 0], known, rtol=rough(library))
    np.testing.assert_allclose([solve(problem, r).left_out() for r in RIDGES], known, rtol=rough(library))


@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_error_does_not_depend_on_units(shape, scale):
    phi, y = drawn(shape)
    one, other = (
        LeaveOneOut().errors(joined(NUMPY, size * phi, y), [size**2 * r for r in RIDGES])[0] for size in (1.0, scale)
    )
    np.testing.assert_allclose(other, one, rtol=1e-6)


@pytest.mark.parametrize("k", [8, 40])
def test_points_that_stand_twice_speak_for_each_other(k):
    """Rank-deficient kernels: of two equal points each is predicted by the other, up to the ridge."""
    phi, y = drawn((3, 5, k))
    phi, y = np.concatenate([phi, phi], axis=1), np.concatenate([y, y])
    for ridge in (1e-3, 1.0):
        known = by_fitting_without(phi, y, ridge)
        np.testing.assert_allclose(solve(joined(NUMPY, phi, y), ridge).left_out(), known, rtol=1e-7)
        assert float(LeaveOneOut().errors(joined(NUMPY, phi, y), [ridge])[0][0, 0, 0]) == pytest.approx(known, rel=1e-7)


@pytest.mark.parametrize("shape", [(3, 6, 40), (3, 20, 25)], ids=["wide", "tall"])
def test_folds_of_single_points_are_leave_one_out(shape):
    phi, y = drawn(shape)
    errors, _ = KFold(folds=shape[1]).errors(joined(NUMPY, phi, y), RIDGES)
    np.testing.assert_allclose(errors[0, 0], [by_fitting_without(phi, y, r) for r in RIDGES], rtol=1e-9)


def test_more_folds_than_points_are_refused_whatever_their_rows():
    phi, y = drawn((3, 6, 40))
    with pytest.raises(ValueError, match="`folds`=7 of 6 points"):
        KFold(folds=7).errors(joined(NUMPY, phi, y), RIDGES)


def test_blocks_of_points_give_what_all_at_once_give(monkeypatch):
    phi, y = drawn((3, 20, 25))
    wide, tall = joined(NUMPY, *drawn((3, 6, 40))), joined(NUMPY, phi, y)
    whole = [LeaveOneOut().errors(p, RIDGES)[0] for p in (wide, tall)] + [
        solve(p, 0.3).left_out() for p in (wide, tall)
    ]
    monkeypatch.setattr("dntk.solve._points_left_out._ENTRIES", 200)
    monkeypatch.setattr("dntk.solve.leave_one_out._ENTRIES", 20)
    wide, tall = joined(NUMPY, *drawn((3, 6, 40))), joined(NUMPY, phi, y)
    cut = [LeaveOneOut().errors(p, RIDGES)[0] for p in (wide, tall)] + [solve(p, 0.3).left_out() for p in (wide, tall)]
    for one, other in zip(whole, cut, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-11)


def test_a_ridge_is_chosen_and_an_error_stated_of_points_and_not_of_rows(library):
    """All outputs of a point are alike, so that any row of it says what another is; of new points nothing is known."""
    rng = np.random.default_rng(0)
    base, noise = rng.normal(size=(12, 60)), rng.normal(size=12)
    phi = np.stack([base, base, base]) + 1e-3 * rng.normal(size=(3, 12, 60))
    y = np.stack([noise] * 3, axis=1)
    features = dntk.TangentFeatures(library.array(phi))
    fit = joint_ridge(features, library.array(y), ridge=1e-2)
    assert fit.loo_error == pytest.approx(by_fitting_without(phi, y, 1e-2), rel=rough(library))
    assert fit.loo_error > 0.5 * np.mean(noise**2)
    grid = (1e-2, 1.0, 1e2, 1e4)
    chosen = joint_ridge(features, library.array(y), ridge=LeaveOneOut(grid=grid))
    assert chosen.ridge == min(grid, key=lambda ridge: by_fitting_without(phi, y, ridge))
    assert chosen.ridge > joint_ridge(features, library.array(y), ridge=GeneralisedCrossValidation(grid=grid)).ridge


@pytest.mark.parametrize("ridge", [0.05, "loo"])
def test_a_fit_of_all_outputs_says_the_error_of_points(ridge):
    model, x = mlp(NUMPY, (6, 5, 3), dtype="f8"), inputs(NUMPY, n=9, dtype="f8")
    fit = dntk.DistilledNTK(model, None, None, None, ridge, regression=Joint()).fit(x)
    phi = host(dntk.tangent_features(model, x, sketch=None).values)
    assert fit.losses.loo_error == pytest.approx(by_fitting_without(phi, host(model(x)), fit.ridge), rel=1e-6)
