"""Distilled kernels interlace (I1, I1', I2; Poincaré separation).

For U (m, s) with UᵀU = I, for every output:

    λ_{i+m−s}(K) ≤ λ_i(UᵀKU) ≤ λ_i(K),    σ_i(UᵀΦ) ≤ σ_i(Φ),    tr UᵀKU ≤ Σ_{i≤s} λ_i(K).

Rounding: 4c·eps·N·‖K‖ (‖Φ‖ for singular values), c = 2.0, 1.8, 2.0 (I1, I1', I2), plus the measured
orthonormality defect η = ‖UᵀU − I‖ times ‖K‖ (T1), which has its own allowance of 8·eps·m. Unit
norm in place of orthonormality is not enough: the counterexample below breaks the inequality by
O(‖K‖), and `distil_along` must refuse it.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dntk
from dntk.distill import gradients as distillers
from dntk.distilled_gradients import distil_along
from property_tests.allowances import allowance, defect, eps, underflow
from property_tests.strategies import (
    Case,
    eigenvalues,
    features,
    for_libraries,
    fractions,
    host64,
    orthonormal,
    part,
    per_output,
)
from tests.libraries import Library

DISTILLERS = [
    "principal",
    "principal per class",
    "solution",
    "local-global",
    "random",
    "random per class",
]


def distillers_for(library: Library) -> st.SearchStrategy[str]:
    """All; local-global has as many shapes as outcomes, so that compiling it is left to its own file."""
    few = [kind for kind in DISTILLERS if kind != "local-global"]
    return st.sampled_from(few if library.module == "jax" else DISTILLERS)


def distil(kind: str, case: Case, library: Library, fraction: float, seed: int) -> dntk.DistilledGradients:
    c, n, _ = case.shape
    size = part(fraction, n)
    phi, y = case.phi(library), case.y(library)
    if kind == "principal":
        return distillers.Principal(size).distill(phi, y)
    if kind == "principal per class":
        return distillers.Principal(size, per_output=True).distill(phi, y)
    if kind == "solution":
        return distillers.Solution(size, ridge=1e-2 * case.norm).distill(phi, y)
    if kind == "local-global":
        return distillers.LocalGlobal(clusters=min(3, n), seed=seed).distill(phi, y)
    directions = orthonormal(seed, n, size)
    if kind == "random per class":
        directions = np.stack([orthonormal(seed + j, n, size) for j in range(c)])
    return distil_along(phi, y, library.array(directions, case.dtype))


@for_libraries(
    case=features(),
    kind=distillers_for,
    fraction=fractions,
    seed=st.integers(0, 2**32 - 1),
)
def test_distilled_kernels_interlace(library, case, kind, fraction, seed):
    grads = distil(kind, case, library, fraction, seed)
    m, dtype = case.shape[1], case.dtype
    directions = per_output(host64(grads.directions), case.shape[0])
    for kernel, phi, u, values in zip(case.kernels, case.wide, directions, host64(grads.values), strict=True):
        s = u.shape[1]
        eta = defect(u)
        assert eta <= 8 * eps(dtype) * m
        whole, norm = eigenvalues(kernel), float(np.linalg.norm(phi, 2)) ** 2
        kept = np.concatenate([np.linalg.svd(values, compute_uv=False) ** 2, np.zeros(s)])[:s]
        slack = eta * norm + allowance("I1", dtype, case.size, norm)
        assert np.all(kept <= whole[:s] + slack)
        assert np.all(kept >= whole[m - s :] - slack)
        singular = np.linalg.svd(phi, compute_uv=False)
        longest = np.sqrt(kept[: len(singular)])
        slack = eta * math.sqrt(norm) + allowance("I1'", dtype, case.size, math.sqrt(norm))
        assert np.all(longest <= singular[: len(longest)] + slack)
        slack = eta * s * norm + allowance("I2", dtype, case.size, norm)
        assert np.sum(kept) <= np.sum(whole[:s]) + slack


@for_libraries(
    case=features(),
    kind=distillers_for,
    fraction=fractions,
    seed=st.integers(0, 2**32 - 1),
)
def test_synthetic_gradients_are_the_combinations_that_the_directions_say(library, case, kind, fraction, seed):
    grads = distil(kind, case, library, fraction, seed)
    c, m, _ = case.shape
    u = per_output(host64(grads.directions), c)
    exact, sizes = (
        u.transpose(0, 2, 1) @ case.wide,
        np.abs(u.transpose(0, 2, 1)) @ np.abs(case.wide),
    )
    slack = 2 * m * eps(case.dtype) * sizes + underflow(m, case.dtype)
    assert np.all(np.abs(host64(grads.values) - exact) <= slack)
    y = case.wide_targets.T[:, :, None]
    exact = (u.transpose(0, 2, 1) @ y)[:, :, 0]
    sizes = (np.abs(u.transpose(0, 2, 1)) @ np.abs(y))[:, :, 0]
    assert np.all(np.abs(host64(grads.targets) - exact) <= 2 * m * eps(case.dtype) * sizes)


@given(angle=st.floats(0.01, 1.0), sign=st.sampled_from([1, -1]))
def test_unit_norm_alone_does_not_interlace_and_is_refused(angle, sign):
    u = np.array([[1.0, sign * math.cos(angle)], [0.0, math.sin(angle)], [0.0, 0.0]])
    kernel = np.eye(3)
    assert eigenvalues(u.T @ kernel @ u)[0] >= 1.5 * eigenvalues(kernel)[0]
    with pytest.raises(ValueError, match="not orthonormal"):
        distil_along(dntk.TangentFeatures(np.eye(3)), np.ones((3, 1)), u)


@for_libraries(case=features(), size=st.sampled_from([1e-2, 0.5]), seed=st.integers(0, 2**32 - 1))
def test_directions_that_are_not_orthonormal_are_refused(library, case, size, seed):
    u = orthonormal(seed, case.shape[1], part(0.5, case.shape[1])) * (1 + size)
    with pytest.raises(ValueError, match="not orthonormal"):
        distil_along(case.phi(library), case.y(library), library.array(u, case.dtype))
