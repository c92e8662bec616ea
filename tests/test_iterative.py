import numpy as np
import pytest

import dntk
from dntk.solve import (
    FeatureKernel,
    FeatureProjection,
    MatrixKernel,
    RandomizedNystrom,
    RPCholeskyPreconditioner,
    ShiftedCholesky,
    iterative_ridge,
    kernel_operator,
    nystrom,
    preconditioned_cg,
)
from dntk.solve.low_rank import TARGET, condition_bound
from tests.libraries import LIBRARIES, host
from tests.networks import features, targets

NUMPY = LIBRARIES[0]
RULES = pytest.mark.parametrize("rule", [RandomizedNystrom, RPCholeskyPreconditioner])


def dense(phi, y, lam):
    values = host(phi.values).astype("f8")
    kernels = values @ np.swapaxes(values, 1, 2)
    return np.linalg.solve(kernels + lam * np.eye(kernels.shape[1]), host(y).astype("f8").T[:, :, None])[:, :, 0]


@RULES
@pytest.mark.parametrize("kind", ["features", "matrix"])
def test_preconditioned_iterations_solve_what_dense_algebra_solves(library, rule, kind):
    phi, y = features(library, n=40, k=60, decay=0.7), targets(library, n=40)
    kernel = FeatureKernel(phi.values) if kind == "features" else MatrixKernel(phi.kernel(outputs="each"))
    fit = iterative_ridge(kernel, y.T, ridge=1e-2, preconditioner=rule(rank=8, largest=24), tolerance=1e-5)
    expected = dense(phi, y, 1e-2)
    assert host(fit.cg.converged).all()
    # ‖α̂ − α‖ ≤ ‖r‖/λ, and the float32 kernel is off by n·eps·‖K‖, ‖K‖ = 1.
    error = np.linalg.norm(host(fit.dual) - expected, axis=1)
    bound = (1e-5 * np.linalg.norm(host(y), axis=0) + 40 * np.finfo("f4").eps * np.linalg.norm(expected, axis=1)) / 1e-2
    assert np.all(error <= 1.1 * bound)


@RULES
def test_the_rank_is_doubled_until_the_condition_is_good_enough(rule):
    phi = features(NUMPY, c=2, n=80, k=100, decay=0.8, dtype="f8")
    kernel, like = FeatureKernel(phi.values), np.ones((2, 80, 1))
    built = rule(rank=4, largest=64).build(kernel, 1e-4, like)
    assert 4 < built.rank < 64
    assert condition_bound(kernel, built) <= TARGET
    wide = phi.values @ np.swapaxes(phi.values, 1, 2) + 1e-4 * np.eye(80)
    for c in range(2):
        lower = np.linalg.cholesky(wide[c])
        applied = built(np.stack([lower, lower]))[c]
        spectrum = np.linalg.eigvalsh(lower.T @ applied)
        assert spectrum[-1] / spectrum[0] <= 2 * TARGET + 2  # power iteration may miss half of the norm
    stopped = rule(rank=4, largest=4).build(kernel, 1e-4, like)
    assert stopped.rank == 4
    assert condition_bound(kernel, stopped) > TARGET


def test_blocks_of_right_hand_sides_are_single_ones(library):
    phi = features(library, n=30, k=50)
    block = library.array(np.random.default_rng(0).normal(size=(3, 30, 4)), "f4")
    kernel = FeatureKernel(phi.values)
    together = iterative_ridge(kernel, block, ridge=0.1, tolerance=1e-5)
    for j in range(4):
        apart = iterative_ridge(kernel, block[:, :, j], ridge=0.1, tolerance=1e-5)
        # Each is within ‖r‖/λ of the solution.
        bound = 2 * 1.1e-5 * np.linalg.norm(host(block)[:, :, j], axis=1) / 0.1
        assert np.all(np.linalg.norm(host(together.dual)[:, :, j] - host(apart.dual), axis=1) <= bound)


@pytest.mark.parametrize("module", ["numpy", "torch"])
def test_refinement_reaches_float64_from_a_float32_iteration(module):
    pytest.importorskip(module)
    library = next(entry for entry in LIBRARIES if entry.module == module)
    phi, y = features(library, n=40, k=60, decay=0.7), targets(library, n=40, dtype="f8")
    fit = iterative_ridge(FeatureKernel(phi.values), y.T, ridge=1e-2, tolerance=1e-12)
    assert host(fit.cg.converged).all()
    assert fit.rounds > 1
    error = np.linalg.norm(host(fit.dual) - dense(phi, y, 1e-2))
    assert error <= 1e-12 * np.linalg.norm(host(y)) / 1e-2 * 1.1
    low = iterative_ridge(FeatureKernel(phi.values), library.array(host(y).T, "f4"), ridge=1e-2, tolerance=1e-12)
    assert not host(low.cg.converged).all()


def test_float32_that_keeps_less_than_half_its_digits_says_so():
    phi, y = features(NUMPY, n=40, k=60, decay=0.9), targets(NUMPY, n=40)
    rule = RandomizedNystrom(rank=1, largest=1)
    with pytest.warns(UserWarning, match=r"right-hand sides in float64, or use dntk\.solve\.ridge"):
        fit = iterative_ridge(FeatureKernel(phi.values), y.T, ridge=1e-6, preconditioner=rule, iterations=3)
    assert host(fit.cg.relative_residual).max() > 1e-3


def test_an_iteration_that_stops_early_says_so():
    phi, y = features(NUMPY, n=40, k=60, decay=0.9, dtype="f8"), targets(NUMPY, n=40, dtype="f8")
    rule = RandomizedNystrom(rank=1, largest=1)
    said = "residual of .* after 3 steps, above `tolerance`=1e-06: `dual` is not the solution at `ridge`=1e-06"
    with pytest.warns(UserWarning, match=said):
        fit = iterative_ridge(FeatureKernel(phi.values), y.T, ridge=1e-6, preconditioner=rule, iterations=3)
    assert fit.cg.iterations == 3
    assert not fit.cg.converged.any()
    assert len(fit.cg.history) == 3


@pytest.mark.parametrize("kind", [FeatureKernel, MatrixKernel])
def test_products_in_a_wider_type_are_those_of_the_whole_kernel_by_blocks(kind, library, monkeypatch):
    monkeypatch.setattr(kernel_operator, "_ENTRIES", 2 * 3 * 7)  # blocks of fewer rows than there are
    values = features(library, n=9, k=7).values
    kernel = kind(values if kind is FeatureKernel else values @ values.mT)
    v = library.array(np.random.default_rng(3).normal(size=(3, 9, 2)))
    found = kernel_operator.wide_product(kernel, v)
    assert found.dtype == v.dtype
    wide = host(kernel.values).astype(host(v).dtype)
    expected = wide @ (wide.swapaxes(1, 2) @ host(v)) if kind is FeatureKernel else wide @ host(v)
    eps = np.finfo(host(v).dtype).eps
    np.testing.assert_allclose(host(found), expected, atol=100 * eps * np.abs(expected).max())


def test_conjugate_gradients_end_at_the_tolerance():
    matrix = np.diag(np.linspace(1.0, 5.0, 30))[None]
    rhs = np.ones((1, 30))
    found = preconditioned_cg(
        lambda v: (matrix @ v[:, :, None])[:, :, 0], rhs, lambda r: r, iterations=30, tolerance=1e-3
    )
    assert found.iterations < 15
    assert found.converged.all()
    assert found.history[-1] <= 1e-3 < found.history[-2]


@pytest.mark.parametrize("span", [FeatureProjection(), ShiftedCholesky()], ids=["projection", "cholesky"])
def test_nystrom_regression_is_that_with_the_nystrom_kernel(library, span):
    phi, y = features(library, n=30, k=40), targets(library, n=30)
    points = list(range(0, 30, 4))
    fit = nystrom(phi, y, points, ridge=0.05, span=span)
    values = host(phi.values).astype("f8")
    query = features(library, n=6, k=40, seed=9)
    expected = np.zeros((6, 3))
    for c in range(3):
        chosen = values[c, points]
        inverse = np.linalg.inv(chosen @ chosen.T)
        kernel = values[c] @ chosen.T @ inverse @ chosen @ values[c].T
        cross = host(query.values)[c].astype("f8") @ chosen.T @ inverse @ chosen @ values[c].T
        expected[:, c] = cross @ np.linalg.solve(kernel + 0.05 * np.eye(30), host(y)[:, c].astype("f8"))
    np.testing.assert_allclose(host(fit.predict(query)), expected, atol=2e-4)


@pytest.mark.parametrize("span", [FeatureProjection(), ShiftedCholesky()], ids=["projection", "cholesky"])
def test_nystrom_kernels_stay_below_the_kernel_with_equal_and_zero_inducing_points(span):
    values = features(NUMPY, c=1, n=12, k=20, dtype="f8").values.copy()
    values[0, 1] = values[0, 0]
    values[0, 2] = 0
    reduced = values @ span.rows(values[:, :5]).swapaxes(1, 2)
    rest = values[0] @ values[0].T - reduced[0] @ reduced[0].T
    norm = np.linalg.norm(values[0], 2) ** 2
    # N1 and N8, four times their constants.
    assert np.linalg.eigvalsh(rest)[0] >= -4 * 1.9 * 2.0**-52 * 20 * norm
    assert np.abs(rest[:5, :5]).max() <= 1e-6 * norm


@pytest.mark.usefixtures("unchecked")
def test_right_hand_sides_ranks_and_ridges_that_make_no_sense_are_refused():
    kernel = FeatureKernel(features(NUMPY).values)
    with pytest.raises(ValueError, match="`rhs` has shape"):
        iterative_ridge(kernel, np.ones((3, 7)), ridge=1.0)
    with pytest.raises(ValueError, match="`ridge` must be positive"):
        iterative_ridge(kernel, np.ones((3, 20)), ridge=0.0)
    with pytest.raises(ValueError, match="`rank` ≤ `largest`"):
        RandomizedNystrom(rank=5, largest=4)
    with pytest.raises(IndexError):
        nystrom(features(NUMPY), targets(NUMPY), [40])
    assert dntk.solve.KernelOperator
