"""`dntk.certificates.sketch`: eigenvalues of the exact mean kernel from those of the sketched one.

(1 − ε)K ≤ K̂ ≤ (1 + ε)K gives λ_i ∈ [λ̂_i/(1 + ε), λ̂_i/(1 − ε)], the upper end by place where that is less;
‖K̂ − K‖_F ≤ ε tr K gives |λ̂_i − λ_i| ≤ ε tr K, tr K ≤ tr K̂/(1 − √n ε). At failure 1e-9 a draw for the former (proved for
Gaussian sketches), and for the latter, whose ε = √(V/δ), at δ = 1e-3 over fixed seeds of which all may not fail.

Rounding: K̂ and its eigenvalues are the library's in the dtype: 4·2.0·eps·N·‖K̂‖ (I1), as a share of (1 − ε) above.
"""

import math

import numpy as np
import pytest
from hypothesis import strategies as st
from scipy.stats import binom

from dntk import arrays
from dntk.certificates.sketch import exact_eigenvalues
from dntk.sketch import Gaussian, Kronecker, Rademacher, SparseSign, TensorSketch
from dntk.sketch.error import FROBENIUS, SUBSPACE, SketchError
from dntk.sketch.layout import layout_of_shapes
from property_tests.allowances import allowance
from property_tests.strategies import eigenvalues, features, for_libraries, host64, seeds

FAILURE = 1e-9
SEEDS = 200


def dims(library):
    """k; one where each has to be compiled."""
    return st.sampled_from([64] if library.module == "jax" else [2, 64, 400])


def sketched_spectrum(library, case, sketch):
    """Descending eigenvalues of the sketched mean kernel, by the library in the dtype."""
    hats = sketch.apply(library.array(case.values))
    xp = arrays.namespace(hats)
    return xp.flip(xp.linalg.eigvalsh(xp.mean(hats @ hats.mT, axis=0)), axis=0)


@for_libraries(case=features(), dim=dims, seed=seeds(), jax_examples=4)
def test_exact_eigenvalues_are_in_the_intervals_of_a_gaussian_sketch(library, case, dim, seed):
    c, n, _ = case.shape
    sketch = Gaussian(dim, seed=seed)
    sketched = sketched_spectrum(library, case, sketch)
    error = sketch.error(n * c, confidence=1 - FAILURE)
    found = exact_eigenvalues(sketched, error, outputs=c, dim=dim, points=n)
    exact = np.clip(eigenvalues(case.joined @ case.joined.T), 0, None)
    slack = allowance("I1", case.dtype, max(case.size, dim), max(float(host64(sketched)[0]), case.norm))
    lower, upper = host64(found.lower), host64(found.upper)
    assert np.all(lower <= exact + slack)
    finite = np.isfinite(upper)
    # Where the upper end is λ̂/f, so is the rounding of λ̂.
    room = np.where(finite & (host64(sketched) > 0), upper / np.maximum(host64(sketched), 1e-300), 1.0)
    assert np.all(exact[finite] <= upper[finite] + slack * np.maximum(room[finite], 1))
    assert found.confidence == 2 * (1 - FAILURE) - 1
    assert found.kind == "probabilistic"
    assert not np.any(finite[np.arange(1, n + 1) * c >= dim])  # a sketch says nothing of what it has no room for


@for_libraries(
    case=features(), share=st.sampled_from([0.0, 1e-3, 0.3, 0.9]), sign=st.sampled_from([-1, 1]), jax_examples=4
)
def test_kernels_at_the_edge_of_an_embedding_reach_the_ends(library, case, share, sign):
    """K̂ = (1 ± ε)K: the lower end is reached above, the upper below. One row has no factors by place."""
    c, n, _ = case.shape
    exact = np.clip(eigenvalues(case.joined @ case.joined.T), 0, None)
    sketched = library.array((1 + sign * share) * exact, case.dtype)
    error = SketchError(value=share, measure=SUBSPACE, theorem="chosen", kind="probabilistic", confidence=1 - FAILURE)
    lower, upper = (host64(x) for x in exact_eigenvalues(sketched, error, outputs=c, dim=1, points=n))
    end = lower if sign > 0 else upper
    np.testing.assert_allclose(end, exact, rtol=1e-5, atol=1e-44 if case.dtype == "float32" else 0)


@for_libraries(case=features(), share=st.sampled_from([1e-3, 0.1]), sign=st.sampled_from([-1, 1]), jax_examples=4)
def test_second_moments_allow_the_distance_that_they_bound(library, case, share, sign):
    """|λ̂_i − λ_i| = ε tr K for one i: Weyl's equality, tr K̂ = (1 ± ε)tr K, within √n of the radius."""
    c, n, _ = case.shape
    exact = np.clip(eigenvalues(case.joined @ case.joined.T), 0, None)
    trace = float(np.sum(exact))
    moved = exact.copy()
    moved[0] = max(0.0, moved[0] + sign * share * trace)
    sketched = library.array(np.sort(moved)[::-1], case.dtype)
    error = SketchError(value=share, measure=FROBENIUS, theorem="chosen", kind="probabilistic", confidence=0.9)
    found = exact_eigenvalues(sketched, error, outputs=c, dim=64, points=n)
    lower, upper = host64(found.lower), host64(found.upper)
    slack = allowance("W1", case.dtype, n, trace)
    assert np.all(lower <= exact + slack)
    assert np.all(exact <= upper + slack)
    if n * share**2 < 1:
        largest = share * (1 + share) / (1 - math.sqrt(n) * share)
        assert np.all(upper - host64(sketched) <= largest * trace + slack)
    else:
        assert np.all(np.isinf(upper))


LAYOUT = layout_of_shapes({"w": (20, 24), "b": (20,), "v": (6, 20)})


@pytest.mark.parametrize(
    ("kind", "failure"),
    [("gaussian", 0.1), ("rademacher", 0.1), ("sparse", 0.1), ("count", 0.1), ("tensor", 0.1), ("kronecker", 0.1)],
)
def test_intervals_fail_no_more_often_than_they_say(kind, failure):
    rows = np.random.default_rng(0).standard_normal((6, 620)) * 2.0 ** -np.arange(6)[:, None]
    exact, failed = eigenvalues(rows @ rows.T), 0
    for seed in range(SEEDS):
        sketch = {
            "gaussian": lambda s: Gaussian(256, seed=s),
            "rademacher": lambda s: Rademacher(256, seed=s),
            "sparse": lambda s: SparseSign(256, seed=s),
            "count": lambda s: SparseSign(256, nonzeros=1, seed=s),
            "tensor": lambda s: TensorSketch(256, seed=s).bound(LAYOUT),
            "kronecker": lambda s: Kronecker(16, 16, seed=s).bound(LAYOUT),
        }[kind](seed)
        hat = sketch.apply(rows)
        error = sketch.error(6, confidence=1 - failure / 2)
        lower, upper = exact_eigenvalues(eigenvalues(hat @ hat.T), error, outputs=1, dim=256, points=6)
        failed += np.any(lower > exact * (1 + 1e-9)) or np.any(exact > upper * (1 + 1e-9))
    assert failed <= binom.isf(1e-6, SEEDS, failure)
