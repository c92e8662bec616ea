"""`certificates.perturbation`: how far leading eigenspaces turn, by the gap between the matrices or that of K alone.

    ‖sin Θ‖₂ ≤ ‖K − K̂‖₂/(λ_r(K) − λ_{r+1}(K̂)),  ‖sin Θ‖_F ≤ 2 min(√r‖K − K̂‖₂, ‖K − K̂‖_F)/(λ_r(K) − λ_{r+1}(K)).

For projectors of one rank the former is an equality and the latter at most 2√2 times the truth. The form with constant
1 and the gap of K alone is in `test_naive_bounds_fail.py`. Rounding: the module's own, 10·N·eps·‖K‖, joins ‖K − K̂‖.
"""

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from dntk.certificates.perturbation import all_angles, largest_angle
from property_tests.allowances import eps
from property_tests.kernel_pairs import eigen_in, frobenius, gram_in, leading, pairs, sines
from property_tests.strategies import eigenvalues, for_libraries, fractions, host64, orthogonal, part

TURNED = ((2, 3, 9), (1, 7, 3), (3, 6, 9), (4, 8, 8), (1, 20, 5), (1, 24, 40))


def turned(kernel, rank):
    """Leading eigenvectors (n, r) and all descending eigenvalues by its library."""
    values, vectors = eigen_in(kernel)
    return host64(vectors)[:, :rank], host64(values)


@for_libraries(pair=pairs(shapes=TURNED), fraction=fractions, jax_examples=6)
def test_eigenspaces_turn_by_no_more_than_both_bounds(library, pair, fraction):
    rank = min(part(fraction, pair.points), pair.points - 1)
    found, approximate = turned(gram_in(library, pair.others), rank)
    exact = eigenvalues(pair.kernel)
    sine = sines(leading(pair.kernel, rank), found)
    place = {"norm": pair.norm, "eps": eps(pair.dtype), "size": pair.size}
    spectral, whole = float(np.linalg.norm(pair.error, 2)), frobenius(pair.error)
    largest = largest_angle(spectral, float(exact[rank - 1]), float(approximate[rank]), **place)
    every = all_angles(spectral, whole, float(exact[rank - 1]), float(exact[rank]), rank=rank, **place)
    unit = 8 * eps(pair.dtype) * pair.points  # eigenvectors are that far from unit length
    assert sine[0] <= float(largest) + unit
    assert np.linalg.norm(sine) <= float(every) + unit
    assert float(largest) <= 1
    assert float(every) <= np.sqrt(rank)


@for_libraries(
    pair=pairs(kinds=("equal",), shapes=TURNED),
    fraction=fractions,
    angle=st.sampled_from([1e-3, 0.1, 0.5, 1.5]),
    scale=st.sampled_from([1e-20, 1.0, 1e20]),
    jax_examples=3,
)
def test_projectors_reach_the_bound_of_davis_and_kahan(library, pair, fraction, angle, scale):
    n = pair.points
    rank = min(part(fraction, n), n - 1)
    frame = orthogonal(np.random.default_rng(n), n)
    first, second = frame[:, :rank], frame[:, :rank].copy()
    second[:, 0] = np.cos(angle) * frame[:, 0] + np.sin(angle) * frame[:, rank]
    kernel, other = scale * first @ first.T, scale * second @ second.T
    found, approximate = turned(library.array(other, pair.dtype), rank)
    place = {"norm": scale, "eps": eps(pair.dtype), "size": n}
    spectral = float(np.linalg.norm(kernel - other, 2))
    largest = largest_angle(spectral, scale, float(approximate[rank]), **place)
    sine, slack = sines(first, found), 40 * n * eps(pair.dtype)
    assert abs(sine[0] - np.sin(angle)) <= slack
    assert sine[0] <= float(largest) + slack
    assert float(largest) <= sine[0] + slack
    every = all_angles(spectral, np.sqrt(2) * spectral, scale, 0.0, rank=rank, **place)
    assert sine[0] <= float(every) + slack
    assert float(every) <= 2 * np.sqrt(2) * sine[0] + 2 * np.sqrt(rank) * slack


@for_libraries(pair=pairs(kinds=("equal",), shapes=TURNED), fraction=fractions, jax_examples=2)
def test_without_a_gap_nothing_is_said(library, pair, fraction):
    assume(pair.norm > 0)
    rank = min(part(fraction, pair.points), pair.points - 1)
    place = {"norm": pair.norm, "eps": eps(pair.dtype), "size": pair.size}
    values = host64(library.array(np.full(pair.points, pair.norm), pair.dtype))
    top, following = float(values[rank - 1]), float(values[rank])
    assert float(largest_angle(0.0, top, following, **place)) == 1
    assert float(largest_angle(0.0, top, following + pair.norm, **place)) == 1
    assert float(all_angles(0.0, 0.0, top, following, rank=rank, **place)) == np.sqrt(rank)
