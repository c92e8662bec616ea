"""What gradients of stored features promise, found on points that stand for all, in chunks of three points.

* Directions are orthonormal whatever the features, ‖UᵀU − I‖ ≤ 8·eps·m·√s, and the synthetic gradients are UᵀΨ up to
  the rounding of a product, m·eps·‖Ψ‖.
* Principal directions of every output leave Σ_{i>s} λ_i(K^c), no less and no more than H1's allowance; solutions leave
  at most one direction more (T7).
* SpanCertificate: ‖e‖_A ≤ energy, up to C1's allowance, as for features in memory.
"""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

import dntk
from dntk.certificates import span_certificate
from dntk.distill.gradients import Krylov, Principal, Solution
from dntk.solve import ridge as solve_ridge
from property_tests.allowances import allowance, defect, eps
from property_tests.strategies import (
    eigenvalues,
    features,
    for_libraries,
    fractions,
    host64,
    part,
    per_output,
    relative_ridges,
)

SHAPES = [(1, 20, 5), (2, 13, 3), (1, 9, 1), (3, 30, 8)]
FEW_SHAPES = [(1, 20, 5)]
MAKES = {
    "principal": lambda size, _: Principal(size, per_output=True),
    "krylov": lambda size, _: Krylov(size),
    "solution": lambda size, ridge: Solution(size, ridge=ridge),
    "shared": lambda size, ridge: Solution(size, ridge=ridge, per_output=False),
}


class Chunks(dntk.StoredFeatures):
    """Three points a chunk, none of which may be read together with all others."""

    def _chunk_rows(self):
        return 3


def stored(case, library, folder):
    """Features of a case on the disk."""
    np.save(Path(folder) / "values.npy", case.values)
    mapped = np.load(Path(folder) / "values.npy", mmap_mode="r")
    return Chunks(mapped, like=library.array(case.values[:1, :1, :1]), memory_limit=1)


def columns_of(case, kind):
    c, _, k = case.shape
    return (k + 1) * (c if kind == "shared" else 1)


@for_libraries(
    jax_examples=4,
    case=features(shapes=SHAPES, few=FEW_SHAPES),
    kind=st.sampled_from(sorted(MAKES)),
    fraction=fractions,
    relative=relative_ridges,
)
def test_gradients_by_chunks_are_orthonormal_combinations_with_certificates(library, case, kind, fraction, relative):
    m, ridge = case.shape[1], relative * case.norm
    assume(library.has_float64 or np.linalg.norm(case.wide_targets) / ridge < 1e15)
    size = part(fraction, min(m - 1, columns_of(case, kind)))
    with tempfile.TemporaryDirectory() as folder:
        grads = MAKES[kind](size, ridge).distill(stored(case, library, folder), case.y(library))
    u = host64(grads.directions)
    for one in per_output(u, 1) if u.ndim == 2 else u:
        assert defect(one) <= 8 * eps(case.dtype) * m * np.sqrt(size)
    products = np.swapaxes(u, -1, -2) @ case.wide
    assert np.max(np.abs(host64(grads.values) - products)) <= 2 * m * eps(case.dtype) * np.linalg.norm(case.wide)
    found = span_certificate(grads, ridge=ridge)
    a = case.kernels + ridge * np.eye(m)
    e = np.linalg.solve(a, case.wide_targets.T[:, :, None])[:, :, 0] - host64(solve_ridge(grads, ridge=ridge).dual)
    exact = np.einsum("cm,cmn,cn->c", e, a, e)
    kappa, y2 = 1 + 1 / relative, float(np.max(np.sum(case.wide_targets**2, axis=0)))
    slack = allowance("C1", case.dtype, case.size, kappa * y2 / ridge)
    assert np.all(exact <= host64(found.energy.value) ** 2 * (1 + 100 * eps(case.dtype)) + slack)


@for_libraries(
    jax_examples=4, case=features(shapes=SHAPES, few=FEW_SHAPES), fraction=fractions, relative=relative_ridges
)
def test_directions_by_chunks_leave_what_principal_ones_have_to(library, case, fraction, relative):
    size, ridge = part(fraction, columns_of(case, "principal") - 1), relative * case.norm
    trace = np.sum(case.wide**2, axis=(1, 2))
    slack = sum(allowance("H1", case.dtype, case.size, t) for t in trace)
    tails = np.cumsum(np.clip(eigenvalues(case.kernels), 0, None)[:, ::-1], axis=1)[:, ::-1]
    least, most = np.sum(tails[:, size]), np.sum(tails[:, size - 1])
    with tempfile.TemporaryDirectory() as folder:
        phi, y = stored(case, library, folder), case.y(library)
        found = [make(size, ridge).distill(phi, y).trace_residual for make in (MAKES["principal"], MAKES["solution"])]
    principal, solution = (residual * np.sum(trace) for residual in found)
    assert least - slack <= principal <= least + slack
    assert least - slack <= solution <= most + slack
