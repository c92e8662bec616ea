"""`dntk.certificates.eigenvalues`: Ritz values below, Lehmann's bound above the leading eigenvalues, from a subspace.

For orthonormal Q (n, r), T = QᵀKQ, E = KQ − QT, μ ≥ ‖(I − QQᵀ)K(I − QQᵀ)‖₂

    λ_i(T) ≤ λ_i(K) ≤ λ_i([[T, Gᵀ], [G, μI]]), GᵀG = EᵀE,

the upper end an equality for K = [[T, Eᵀ], [E, μI]], both where Q is invariant and μ small; without μ the trace bounds
from above. The library forms T and E in the dtype. Rounding: the module's own, 4·2.0·eps·N·‖K‖; Q is rounded to the
dtype, which adds twice its measured defect ‖QᵀQ − I‖ times ‖K‖ (T1).
"""

import math

import numpy as np
from hypothesis import strategies as st

from dntk.certificates.eigenvalues import leading_eigenvalues
from dntk.certificates.rounding import allowance
from property_tests.allowances import defect, eps
from property_tests.kernel_pairs import gram_in, leading, pairs
from property_tests.strategies import eigenvalues, for_libraries, fractions, host64, orthogonal, orthonormal, part


def bounds(library, kernel, basis, rest, trace, size):
    """The module's intervals for a basis on the host."""
    q = library.array(basis, str(host_dtype(kernel)))
    image = kernel @ q
    quotient = q.mT @ image
    residual = image - q @ quotient
    return leading_eigenvalues(quotient, residual, rest, trace=trace, size=size)


def host_dtype(x):
    """Name of the dtype of an array of any library."""
    return str(x.dtype).rpartition(".")[2]


def complement(kernel, basis):
    """‖(I − QQᵀ)K(I − QQᵀ)‖₂ in float64."""
    away = np.eye(len(kernel)) - basis @ basis.T
    return float(np.linalg.norm(away @ kernel @ away, 2))


@for_libraries(
    pair=pairs(kinds=("equal",)),
    fraction=fractions,
    near=st.sampled_from([0.0, 1e-3, 1.0]),
    known=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    jax_examples=4,
)
def test_leading_eigenvalues_are_between_ritz_values_and_lehmanns_bound(library, pair, fraction, near, known, seed):
    rank, rng = part(fraction, pair.points), np.random.default_rng(seed)
    start = leading(pair.kernel, rank) + near * rng.standard_normal((pair.points, rank))
    basis = np.linalg.qr(start)[0].astype(pair.dtype).astype(np.float64)
    rest = complement(pair.kernel, basis) if known else math.inf
    trace = float(np.trace(pair.kernel))
    found = bounds(library, gram_in(library, pair.features), basis, rest, trace, pair.size)
    lower, upper = (host64(end) for end in found)
    exact, turned = eigenvalues(pair.kernel)[:rank], 2 * defect(basis) * pair.norm
    assert np.all(lower <= exact + turned)
    assert np.all(exact <= upper + turned)
    slack = allowance("interlacing", eps(pair.dtype), pair.size, pair.norm)
    if near == 0 and rank == pair.points:
        assert np.all(upper - lower <= 4 * slack + 2 * turned)


@for_libraries(
    spread=st.sampled_from([0.0, 1e-5, 1e-4, 1e-2, 1.0]),
    gap=st.sampled_from([0.0, 1e-3, 1.0]),
    dtype=st.sampled_from(["float32", "float64"]),
    scale=st.sampled_from([1e-10, 1.0, 1e10]),
    seed=st.integers(0, 2**32 - 1),
    jax_examples=6,
)
def test_block_matrices_reach_lehmanns_bound(library, spread, gap, dtype, scale, seed):
    """T = (1 + gap)I and μ = 1: the residuals' singular values, 1 to ``spread``, move eigenvalues as themselves."""
    dtype, r = (dtype if library.has_float64 else "float32"), 4
    rng = np.random.default_rng(seed)
    singular = np.linspace(0, 1, r)
    residual = orthogonal(rng, r) * np.where(singular < 0.5, 1.0, spread) @ orthogonal(rng, r)
    block = scale * np.block([[(1 + gap) * np.eye(r), residual.T], [residual, np.eye(r)]])
    frame = orthonormal(seed, 2 * r, 2 * r)
    kernel = (frame @ block @ frame.T).astype(dtype)
    basis = frame[:, :r].astype(dtype).astype(np.float64)
    wide = kernel.astype(np.float64)
    norm = float(np.linalg.norm(wide, 2))
    rest = complement(wide, basis)
    found = bounds(library, library.array(kernel), basis, rest, 4 * r * norm, 2 * r)
    exact, turned = eigenvalues(wide)[:r], 2 * defect(basis) * norm
    upper = host64(found.upper)
    assert np.all(exact <= upper + turned)
    slack = allowance("interlacing", eps(dtype), 2 * r, norm)
    assert np.all(upper <= exact + 2 * slack + turned)
