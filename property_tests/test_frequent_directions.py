"""Frequent Directions (D1), and the regression on them.

From one pass over the rows of Φ, in any chunks and merged from any parts, with s rows B:

    0 ≤ ΦᵀΦ − BᵀB ≤ ΔI,   Δ ≤ ‖Φ − Φ_r‖_F²/(s + 1 − r) for every r ≤ s.

The regression on them, w = (BᵀB + (λ + Δ/2)I)⁻¹Φᵀy, is within ‖w − w*‖_{ΦᵀΦ+λI} ≤ (Δ/2)‖w‖/√λ of
that on all rows, as (ΦᵀΦ + λI)(w* − w) = (Δ/2 I − E)w with E = ΦᵀΦ − BᵀB, 0 ≤ E ≤ ΔI. That is
also what the fit states of itself, and what a shift of Δ, of none, or other products Φᵀy miss.

Rounding: every block is one eigendecomposition of a Gram matrix, an error of 4c·eps·N·‖Φ‖²_F with
c = 2 (I1) each; the energy norm carries it by κ‖y‖/√λ (C1's scale).
"""

import numpy as np
from hypothesis import strategies as st

from dntk.distill.gradients import Streaming
from property_tests.allowances import allowance, eps
from property_tests.strategies import features, for_libraries, host64, relative_ridges


def streamed(library, case, size, chunk, per_output, start=0, stop=None):
    phi, y = case.phi(library), case.y(library)
    stop = case.shape[1] if stop is None else stop
    spans = [(i, min(i + chunk, stop)) for i in range(start, stop, chunk)]
    return Streaming(size, per_output=per_output).stream([(phi[a:b], y[a:b, :]) for a, b in spans])


def check(case, found, size, slack, own):
    rows, shift = host64(found.rows), host64(found.shift)
    for c, phi in enumerate(case.wide):
        gap = np.linalg.eigvalsh(phi.T @ phi - rows[c].T @ rows[c])
        assert gap[0] >= -slack
        assert gap[-1] <= shift[c] + slack
        if own:
            squares = np.linalg.svd(phi, compute_uv=False) ** 2
            assert shift[c] <= min(np.sum(squares[r:]) / (size + 1 - r) for r in range(size + 1)) + slack


@for_libraries(
    jax_examples=4,
    case=features(),
    size=st.sampled_from([1, 3, 8]),
    chunk=st.sampled_from([2, 5, 100]),
    per_output=st.booleans(),
    cut=st.booleans(),
)
def test_rows_bracket_the_gram_matrix(library, case, size, chunk, per_output, cut):
    m = case.shape[1]
    blocks = -(-m // chunk) + 2
    slack = blocks * allowance("I1", case.dtype, case.size, case.shape[0] * np.sum(case.wide**2))
    if cut and m > 1:
        first = streamed(library, case, size, chunk, per_output, 0, m // 2)
        found = first.merged(streamed(library, case, size, chunk, per_output, m // 2, m))
    else:
        found = streamed(library, case, size, chunk, per_output)
    assert found.points == m
    check(case, found, size, slack, own=per_output)


@for_libraries(
    jax_examples=4,
    case=features(),
    size=st.sampled_from([1, 3, 8]),
    relative=relative_ridges,
    per_output=st.booleans(),
)
def test_the_robust_regression_is_within_its_bound(library, case, size, relative, per_output):
    ridge = relative * case.norm
    m = case.shape[1]
    apart = m > 1 and library.module != "jax"  # which would compile the shapes of both halves
    streams = streamed(library, case, size, 5, per_output, 0, m // 2 if apart else m)
    if apart:
        streams = streams.merged(streamed(library, case, size, 5, per_output, m // 2, m))
    found = streams.solve(ridge)
    y = case.wide_targets.T
    gram = np.swapaxes(case.wide, 1, 2) @ case.wide + ridge * np.eye(case.shape[2])
    exact = np.linalg.solve(gram, np.einsum("cmk,cm->ck", case.wide, y)[:, :, None])[:, :, 0]
    e = host64(found.weights) - exact
    energy = np.sqrt(np.clip(np.einsum("ck,ckl,cl->c", e, gram, e), 0, None))
    kappa = 1 + 1 / relative
    blocks = -(-case.shape[1] // 5) + 2
    # The rounding of the sketch acts as more E: eps·‖Φ‖_F²‖w‖/√λ, ‖w‖ ≤ ‖Φ‖‖y‖/λ.
    total = float(np.max(np.sum(case.wide**2, axis=(1, 2)))) * case.shape[0]
    slack = blocks * allowance("I1", case.dtype, case.size, total / ridge * kappa**0.5 * np.linalg.norm(y))
    assert np.all(energy <= host64(found.energy.value) + slack)
    lengths, half = np.linalg.norm(host64(found.weights), axis=1), host64(streams.shift) / 2
    stated = half * lengths / ridge**0.5
    assert np.all(energy <= stated + slack)
    # The bound's own allowance: 3·eps·N of ‖Φ‖‖y‖ and of what multiplies ‖w‖, and half a unit of the weights stored.
    own = (total + ridge + half) * lengths + total**0.5 * np.linalg.norm(y)
    slack += eps(case.dtype) * (3 * case.size * own / ridge**0.5 + (total + ridge) ** 0.5 * lengths)
    assert np.all(np.abs(host64(found.energy.value) - stated) <= slack)
    assert np.all(energy <= np.linalg.norm(y) + slack)  # never worse than no regression at all
