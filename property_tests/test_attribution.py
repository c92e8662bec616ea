"""What distilled gradients change of leave-one-out and of scores is within its bound (Galerkin orthogonality).

With G = ΨᵀΨ + λI and a projection Π on rows B, E = G⁻¹ − Bᵀ(BGBᵀ)⁻¹B ⪰ 0 and EGE = E, so that h_i(x) = ψ(x)ᵀG⁻¹ψ_i is
changed by at most √(ψ(x)ᵀEψ(x) ψ_iᵀEψ_i), each factor at most ‖ρ‖/√λ. Residuals and slacks of leave-one-out follow.
"""

import numpy as np
from hypothesis import strategies as st

import dntk
from dntk.distilled_gradients import distil_along
from property_tests.allowances import allowance
from property_tests.strategies import features, for_libraries, fractions, host64, orthonormal, part, relative_ridges


def changes(phi, y, query, ridge):
    """(C, q, n): f(x) − f₋ᵢ(x) by the dense inverse, h (C, q, n), and f₋ᵢ(x_i) (n, C), in float64."""
    n = phi.shape[1]
    inverse = np.linalg.inv(phi @ phi.transpose(0, 2, 1) + ridge * np.eye(n))
    smooth = query @ phi.transpose(0, 2, 1) @ inverse
    dual = (inverse @ y.T[:, :, None])[:, :, 0]
    left_out = dual / np.diagonal(inverse, axis1=1, axis2=2)
    return smooth * left_out[:, None, :], smooth, y - left_out.T


@for_libraries(case=features(), fraction=fractions, relative=relative_ridges, seed=st.integers(0, 2**32 - 1))
def test_distilled_leave_one_out_is_within_its_bound(library, case, fraction, relative, seed):
    c, n, k = case.shape
    ridge = relative * (case.norm or 1.0)
    u = orthonormal(seed, n, part(fraction, n)).astype(case.dtype)
    grads = distil_along(case.phi(library), case.y(library), library.array(u, case.dtype))
    scale = np.sqrt(case.norm / n) or 1.0
    query = (np.random.default_rng(seed).standard_normal((c, 3, k)) * scale / np.sqrt(k)).astype(case.dtype)
    # One lies in the span: what the span leaves of its image alone moves it.
    basis = host64(grads.basis)
    query[:, 0, :] = (query[:, :1, :] @ basis.transpose(0, 2, 1) @ basis)[:, 0, :]
    asked = dntk.TangentFeatures(library.array(query, case.dtype))
    left = dntk.attribution.leave_one_out(case.phi(library), case.y(library), ridge=ridge, gradients=grads)
    exact, smooth, held_out = changes(case.wide, case.wide_targets, query.astype(np.float64), ridge)
    # Rounding of the reference, by a dense inverse of condition κ, whose leave-one-out divides by 1 − h ≥ λ/(λ + κ_ii).
    kappa = 1 + case.norm / ridge
    slack = allowance("C1", "float64", case.size, kappa**2)
    moved = np.abs(host64(left.smoother.weights(asked)) - smooth)
    assert np.all(moved <= host64(left.smoother.errors(asked)) + slack)
    lost = np.abs(host64(left.change(asked)) - exact)
    norm = np.sqrt(np.max(np.sum(case.wide_targets**2, axis=0)))
    assert np.all(lost <= host64(left.errors(asked).value) + slack * kappa * norm)
    lost = np.abs(host64(left.held_out()) - held_out)
    assert np.all(lost <= host64(left.held_out_errors().value) + slack * kappa * norm)
