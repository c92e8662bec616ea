"""The price of the exact kernel that the demo names, from a clock that is known."""

import numpy as np

import dntk
from dntk.backend import get_backend
from dntk_studies.demo import STEPS
from dntk_studies.demo._exact import exact_lines, grown, solved
from dntk_studies.demo._run import _other_choices
from dntk_studies.demo.scene import Scene
from tests.libraries import Library
from tests.networks import inputs, mlp

NUMPY = Library("numpy", "numpy")
RIDGE = 0.1


def scene():
    model, x, test = mlp(NUMPY), inputs(NUMPY, n=40), inputs(NUMPY, n=8, seed=2)
    outputs = model(test)
    labels = np.argmax(outputs, axis=1)
    return Scene(backend=get_backend("numpy"), model=model, x=x, x_test=test, y_test=labels, f_test=outputs)


def test_kernels_grow_with_the_square_factorisations_with_the_cube_and_predictions_with_the_number():
    assert grown(2.0, 3.0, 5.0, growth=4.0) == 2 * 16 + 3 * 64 + 5 * 4


def test_rows_and_bytes_of_all_points_are_counted_not_measured():
    measured, exact = exact_lines(scene(), np.arange(10), RIDGE)
    assert exact.nbytes == 16 * measured.nbytes == 4 * 3 * 40**2
    assert exact.rows == 4 * measured.rows == 4 * 30
    assert 4 * measured.seconds < exact.seconds < 64 * measured.seconds


def test_the_exact_side_solves_kernel_regression():
    own = scene()
    kernel = dntk.ntk(own.model, own.x, outputs="each")[0]
    y = own.model(own.x)[:, 0]
    expected = np.linalg.solve(kernel.astype("f8") + RIDGE * np.eye(40), y)
    np.testing.assert_allclose(solved(kernel, y, RIDGE), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_twice_as_many_points_are_for_the_full_comparison():
    short, full = (_other_choices(scene(), 0, full) for full in (False, True))
    assert len(short) == STEPS - 4
    assert list(full) == [*short, "1,000 points"]
    assert full["1,000 points"].data.selector.size == 1000
