"""Which ridge leave-one-out takes where some are below the rounding of the kernel."""

import numpy as np
import pytest

from dntk.solve.leave_one_out import choose_kernel_ridge, dual_errors, least


def test_ridges_below_rounding_do_not_compete():
    assert least([0.0, 1.0, 2.0], [1e-9, 1e-3, 1.0], floor=1e-6) == 1e-3
    assert least([0.0, 1.0, 2.0], [1e-9, 1e-3, 1.0], floor=0.0) == 1e-9
    assert least([0.0, 1.0], [1e-9, 1e-8], floor=1e-6) == 1e-8  # none is sound: the largest


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_rounding_of_a_kernel_is_in_units_of_its_largest_eigenvalue(scale):
    rng = np.random.default_rng(0)
    phi = rng.normal(size=(12, 3)) * scale
    kernel, y = (phi @ phi.T)[None], rng.normal(size=(1, 12, 1))
    largest = np.linalg.eigvalsh(kernel[0])[-1]
    _, floor = dual_errors(kernel, y, [1.0])
    assert floor == pytest.approx(12 * np.finfo(float).eps * largest, rel=1e-6)


def test_a_grid_with_ridges_of_rounding_gives_the_best_sound_one():
    """Targets in the span of a singular kernel: ever smaller ridges fit ever better, down to rounding."""
    phi = np.random.default_rng(0).normal(size=(12, 3))
    kernel, y = (phi @ phi.T)[None], phi[:, :1]
    grid = [1e-30, 1e-25, 1e-6, 1.0]
    assert choose_kernel_ridge(kernel, y, grid) == 1e-6
