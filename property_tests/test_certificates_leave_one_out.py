"""`dntk.certificates.leave_one_out`: the mean squared left-out residual of a fit is that of n fits without each point.

An equality (Allen 1974). The n refits solve the normal equations of the other points in float64, κ ≤ 1001. Rounding:
residuals within 4·0.37·eps·N·κ²‖y‖ (K7), of which the mean of squares is taken.
"""

import numpy as np
from hypothesis import assume

from dntk.certificates.leave_one_out import left_out_error
from dntk.solve import ridge as solve_ridge
from property_tests.allowances import allowance
from property_tests.strategies import features, for_libraries, relative_ridges


def refits(case, ridge):
    """y_i − f_{−i}(x_i) (C, n): the normal equations of every n − 1 points."""
    phi, y, k = case.wide, case.wide_targets.T, case.shape[2]
    gram, products = np.swapaxes(phi, 1, 2) @ phi, np.einsum("cnk,cn->ck", phi, y)
    without = gram[:, None] - phi[:, :, :, None] * phi[:, :, None, :] + ridge * np.eye(k)
    weights = np.linalg.solve(without, (products[:, None] - phi * y[:, :, None])[..., None])[..., 0]
    return y - np.sum(phi * weights, axis=2)


SHAPES = [(1, 1, 7), (1, 2, 1), (2, 3, 9), (1, 7, 3)]


@for_libraries(case=features(shapes=SHAPES), relative=relative_ridges, jax_examples=2)
def test_the_left_out_error_is_that_of_n_refits(library, case, relative):
    assume(case.norm > 0)
    relative = max(relative, 0.1) if case.dtype == "float32" else relative
    ridge = relative * case.norm
    found = left_out_error(solve_ridge(case.phi(library), case.y(library), ridge=ridge))
    exact = refits(case, ridge)
    each = allowance("K7", case.dtype, case.size, (1 + 1 / relative) ** 2 * np.linalg.norm(case.wide_targets))
    slack = float(np.mean(2 * np.abs(exact) * each + each**2))
    assert abs(float(found) - np.mean(exact**2)) <= slack
    assert found.kind == "deterministic"
