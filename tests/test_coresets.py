import numpy as np
import pytest

import dntk
from dntk.distill.data import Random, RPCholesky
from tests.libraries import LIBRARIES, host
from tests.networks import features

NUMPY = LIBRARIES[0]


def _residual(kernel: np.ndarray, chosen: list[int]) -> float:
    """tr(K − K_Nyström) by a pseudo-inverse in float64."""
    columns = kernel[:, chosen]
    return float(np.trace(kernel - columns @ np.linalg.pinv(kernel[np.ix_(chosen, chosen)], rcond=1e-10) @ columns.T))


@pytest.mark.parametrize("selector", [Random(6), RPCholesky(6)], ids=["random", "rp-cholesky"])
def test_residual_trace_after_each_pick_is_that_of_the_nystrom_kernel(library, selector):
    phi = features(library, decay=0.9)
    found = selector.select(phi)
    chosen = [int(i) for i in host(found.indices)]
    assert len(set(chosen)) == len(found) == 6
    kernel = host(phi.kernel()).astype("f8")
    expected = [_residual(kernel, chosen[: i + 1]) for i in range(6)]
    np.testing.assert_allclose(host(found.residual_trace), expected, atol=1e-5 * np.trace(kernel))
    assert found.trace == pytest.approx(np.trace(kernel), rel=1e-5)


def test_rp_cholesky_is_better_than_uniform_choice_on_clustered_points():
    rng = np.random.default_rng(0)
    rare = np.concatenate([np.repeat(rng.normal(size=(1, 30)), 190, axis=0), 3 * np.eye(10, 30)])
    phi = dntk.TangentFeatures(rare[None] + 1e-3 * rng.normal(size=(1, 200, 30)))
    adaptive = np.mean([RPCholesky(11, seed=s).select(phi).residual_trace[-1] for s in range(10)])
    uniform = np.mean([Random(11, seed=s).select(phi).residual_trace[-1] for s in range(10)])
    assert adaptive < uniform / 5


def test_an_exhausted_kernel_is_filled_up_without_repeats():
    phi = dntk.TangentFeatures(np.concatenate([np.eye(3), np.eye(3), np.zeros((4, 3))])[None])
    found = RPCholesky(10).select(phi)
    assert sorted(int(i) for i in found.indices) == list(range(10))
    assert found.residual_trace[2] == 0


def test_the_same_seed_chooses_the_same_points_on_every_library(library):
    expected = RPCholesky(5, seed=3).select(features(NUMPY, decay=0.9)).indices
    np.testing.assert_array_equal(host(RPCholesky(5, seed=3).select(features(library, decay=0.9)).indices), expected)


def test_columns_from_features_equal_columns_of_the_matrix():
    tall = features(NUMPY, c=1, n=50, k=10, decay=0.9)  # more points than features: no Gram matrix
    found = RPCholesky(6).select(tall)
    kernel = tall.kernel().astype("f8")
    assert found.residual_trace[-1] == pytest.approx(
        _residual(kernel, list(found.indices)), abs=1e-5 * np.trace(kernel)
    )


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("selector", [Random, RPCholesky])
def test_more_points_than_there_are_or_none_are_refused(selector):
    with pytest.raises(ValueError, match="at most 20"):
        selector(21).select(features(NUMPY))
    with pytest.raises(ValueError, match="positive integer"):
        selector(0).select(features(NUMPY))
