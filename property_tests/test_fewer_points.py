"""One regression of all outputs, and targets of kept points that are fitted to all.

With the rows ρ (r, k) of all outputs, J(w) = ‖ρw − t‖² + λ‖w‖² and H = ρᵀρ + λI:

* J(w) − J* = ‖w − w*‖²_H. A solution by a backward stable factorisation, rounded to its dtype, has
  ‖w − w*‖ ≤ c·eps·N·κ‖t‖/√λ, κ = (‖ρ‖² + λ)/λ, since ‖w*‖ ≤ ‖t‖/(2√λ); c = 1 here.
* Fitted targets: J(ŵ) over all points is at most that of any other weights in the span of the kept points, so of the
  regression on their own targets, and at least J*; and a regression on them has these weights.

λ is at least 1e-3 of the largest squared singular value.
"""

import numpy as np
from hypothesis import strategies as st

from dntk.distill.data import fitted_targets
from dntk.solve import joint_ridge
from property_tests.allowances import eps
from property_tests.strategies import features, for_libraries, fractions, host64, part


def ridges(_library):
    """λ in units of the largest squared singular value."""
    return st.sampled_from([1e-3, 1e-1, 1.0])


def excess(rows, goals, weights, ridge):
    """J(w) − J*, by the gradient and not by a difference."""
    gradient = rows.T @ (rows @ weights - goals) + ridge * weights
    return float(gradient @ np.linalg.solve(rows.T @ rows + ridge * np.eye(rows.shape[1]), gradient))


def objective(phi, y, weights, ridge):
    return sum(
        np.sum((one @ w - goal) ** 2) + ridge * np.sum(w**2) for one, w, goal in zip(phi, weights, y.T, strict=True)
    )


@for_libraries(case=features(), relative=ridges)
def test_one_regression_is_the_minimiser_over_all_rows(library, case, relative):
    c, n, k = case.shape
    rows, goals = case.wide.reshape(c * n, k), case.wide_targets.T.reshape(c * n)
    norm = float(np.linalg.norm(rows, 2)) ** 2
    fit = joint_ridge(case.phi(library), case.y(library), ridge=relative * norm)
    weights, kappa = host64(fit.weights), 1 + 1 / relative
    near = eps(case.dtype) * max(c * n, k) * kappa * np.linalg.norm(goals)
    assert excess(rows, goals, weights, relative * norm) <= kappa * near**2


@for_libraries(case=features(), relative=ridges, fraction=fractions)
def test_fitted_targets_are_the_best_in_their_span_and_no_better_than_all(library, case, relative, fraction):
    _, n, k = case.shape
    kept, ridge = part(fraction, n), relative * case.norm
    phi, y = case.phi(library), case.y(library)
    found = fitted_targets(phi[np.arange(kept).tolist()], phi, y, ridge=ridge)
    wide, goals = case.wide, case.wide_targets
    mine = wide[:, :kept, :]
    every = np.linalg.solve(
        np.swapaxes(wide, 1, 2) @ wide + ridge * np.eye(k), (np.swapaxes(wide, 1, 2) @ goals.T[..., None])
    )
    own, again = (
        np.linalg.solve(np.swapaxes(mine, 1, 2) @ mine + ridge * np.eye(k), np.swapaxes(mine, 1, 2) @ t.T[..., None])[
            ..., 0
        ]
        for t in (goals[:kept], host64(found.targets))
    )
    slack = eps(case.dtype) * max(n, k) * (1 + 1 / relative) * np.sum(goals**2)
    mid = objective(wide, goals, host64(found.weights), ridge)
    assert objective(wide, goals, every[..., 0], ridge) - slack <= mid <= objective(wide, goals, own, ridge) + slack
    assert abs(mid - found.objective) <= slack
    assert abs(objective(wide, goals, again, ridge) - mid) <= slack
