"""Sketches that use the factors of a gradient are the same linear map as on its coordinates.

For a layout of matrices and a block Σ_t g_t a_tᵀ of one of them, stored either way round, or a dense one:

    sketch_block(S, block) = S applied to block.dense(), placed at its offset,
    ⟨Sx, z⟩ = ⟨x, Sᵀz⟩,   S = Σ over pieces of coordinates,   permuted inputs give permuted rows,

for `TensorSketch`, `Kronecker`, `Mixed` and `Mask`, and for those without a factored form.

Rounding, rigorous: products of factors are sums of at most T = t·(a + b) + P terms, γ_{T+8} Σ_t |S|(|g_t| ⊗ |a_t|). A
fast Fourier transform of length k has a relative error of at most 7 eps·log₂ k in the 2-norm (Higham 2002, theorem
24.2, for powers of two; other lengths are built from ones of at most 4k and get three times that). Forth twice and
back, with |FFT(Cg)| ≤ ‖g‖₁: 3·3·7·log₂(4k)·eps·Σ_t ‖g_t‖₁‖a_t‖₁. Zero rows stay exactly zero. Equal rows of one call
stay equal within the same allowance (matrix products and batched transforms may treat the last rows differently).
"""

import dataclasses
import math

import numpy as np
from hypothesis import strategies as st

from dntk.gradient_blocks import DenseBlock, FactoredBlock, GradientBlock
from dntk.sketch import SRHT, Gaussian, Kronecker, Mask, Mixed, Rademacher, SparseSign, TensorSketch, sketch_block
from dntk.sketch.layout import layout_of_shapes
from property_tests.allowances import eps, gamma
from property_tests.strategies import dtypes_of, for_libraries, host64, seeds


@dataclasses.dataclass(frozen=True)
class Case:
    """Random factors of the middle one of three parameters, and a sketch."""

    kind: str
    dim: int
    seed: int
    shape: tuple[int, int, int, int, int]
    transposed: bool
    dtype: str
    values: int

    @property
    def layout(self):
        _, _, _, b, a = self.shape
        return layout_of_shapes({"before": (5,), "w": (a, b) if self.transposed else (b, a), "after": (2, 3)})

    @property
    def size(self):
        return self.layout[-1].stop

    @property
    def sketch(self):
        k, seed, size = self.dim, self.seed, self.size
        return {
            "tensor": lambda: TensorSketch(k, seed=seed).bound(self.layout),
            "kronecker": lambda: Kronecker(max(1, k // 4), 4, seed=seed).bound(self.layout),
            "mixed": lambda: Mixed(k, inner=4, seed=seed).bound(self.layout),
            "mask": lambda: Mask(k, seed=seed, n_parameters=size),
            "gaussian": lambda: Gaussian(k, seed=seed, n_parameters=size),
            "rademacher": lambda: Rademacher(k, seed=seed, n_parameters=size),
            "sparse": lambda: SparseSign(k, nonzeros=min(8, k), seed=seed, n_parameters=size),
            "srht": lambda: SRHT(k, width=1 << (k - 1).bit_length(), seed=seed, n_parameters=size),
        }[self.kind]()

    @property
    def factors(self):
        """Inputs (n, t, a) and cotangents (q, n, t, b) of very different sizes, zero and equal rows among them."""
        q, n, t, b, a = self.shape
        rng = np.random.default_rng(self.values)
        inputs = rng.standard_normal((n, t, a)) * 10.0 ** rng.uniform(-3, 3, (n, 1, 1))
        cotangents = rng.standard_normal((q, n, t, b)) * 10.0 ** rng.uniform(-3, 3, (q, 1, 1, 1))
        if n > 2:
            inputs[1], cotangents[:, 1] = inputs[0], cotangents[:, 0]
            cotangents[:, 2] = 0
        return inputs.astype(self.dtype), cotangents.astype(self.dtype)

    def block(self, library, order=None):
        inputs, cotangents = self.factors
        if order is not None:
            inputs, cotangents = inputs[order], cotangents[:, order]
        return FactoredBlock(
            name="w",
            offset=5,
            inputs=library.array(inputs),
            cotangents=library.array(cotangents),
            transposed=self.transposed,
        )

    def whole(self, absolute=False):
        """Gradients (q, n, P) in float64, or Σ_t |g_t| ⊗ |a_t|."""
        inputs, cotangents = (f.astype(np.float64) for f in self.factors)
        if absolute:
            inputs, cotangents = np.abs(inputs), np.abs(cotangents)
        dense = np.einsum(
            "ita,qitb->qiab" if self.transposed else "qitb,ita->qiba",
            *((inputs, cotangents) if self.transposed else (cotangents, inputs)),
        )
        q, n = dense.shape[:2]
        out = np.zeros((q, n, self.size))
        out[:, :, 5 : 5 + dense[0, 0].size] = dense.reshape(q, n, -1)
        return out

    @property
    def matrix(self):
        """S (P, k) transposed, in float64, as this precision draws it."""
        return self.sketch.apply(np.eye(self.size, dtype=self.dtype)).astype(np.float64)

    @property
    def allowance(self):
        """Entrywise rounding (q, n, k)."""
        _, _, t, b, a = self.shape
        sums = gamma(t * (a + b) + self.size + 8, self.dtype) * (self.whole(absolute=True) @ np.abs(self.matrix))
        if self.kind != "tensor":
            return sums
        inputs, cotangents = (np.sum(np.abs(f.astype(np.float64)), axis=-1) for f in self.factors)
        lengths = np.sum(cotangents * inputs, axis=-1)
        return sums + (63 * math.log2(4 * self.dim) * eps(self.dtype) * lengths)[:, :, None]


KINDS = ["tensor", "kronecker", "mixed", "mask", "gaussian", "rademacher", "sparse", "srht"]
SHAPES = [
    (1, 1, 1, 1, 1),
    (2, 3, 1, 7, 9),
    (1, 4, 3, 5, 2),
    (3, 5, 2, 1, 30),
    (2, 3, 1, 40, 50),
    (1, 3, 20, 4, 3),
    (2, 3, 2, 40, 30),
]


def cases(library, kinds=KINDS):
    few = library.module == "jax"
    return st.builds(
        Case,
        kind=st.sampled_from(kinds),
        dim=st.sampled_from([8] if few else [4, 8, 12, 15, 64]),
        seed=seeds(),
        shape=st.sampled_from([(2, 3, 2, 7, 9)] if few else SHAPES),
        transposed=st.booleans(),
        dtype=st.sampled_from(dtypes_of(library)),
        values=st.integers(0, 2**32 - 1),
    )


def contribution(case: Case, block: GradientBlock) -> np.ndarray:
    return host64(sketch_block(case.sketch, block))


@for_libraries(case=cases, jax_examples=6)
def test_factored_is_dense(library, case):
    found = contribution(case, case.block(library))
    assert np.all(np.abs(found - case.whole() @ case.matrix) <= case.allowance)
    values = library.array(case.whole()[:, :, 5 : 5 + case.layout[1].rows * case.layout[1].columns], case.dtype)
    dense = contribution(case, DenseBlock(name="w", offset=5, values=values))
    assert np.all(np.abs(dense - found) <= 2 * case.allowance)


@for_libraries(case=cases, jax_examples=4, order=st.randoms(use_true_random=False))
def test_permuted_inputs_give_permuted_rows_and_zero_rows_stay_zero(library, case, order):
    n = case.shape[1]
    places = list(range(n))
    order.shuffle(places)
    found = contribution(case, case.block(library))
    moved = contribution(case, case.block(library, places))
    assert np.all(np.abs(moved - found[:, places]) <= 2 * case.allowance[:, places])
    if n > 2:
        assert np.all(found[:, 2] == 0)
        assert np.all(np.abs(found[:, 1] - found[:, 0]) <= 2 * case.allowance[:, 0])


@for_libraries(case=cases, jax_examples=4)
def test_adjoint_is_the_transpose(library, case):
    sketch, rng = case.sketch, np.random.default_rng(case.values)
    x, z = rng.standard_normal(case.size).astype(case.dtype), rng.standard_normal(sketch.dim).astype(case.dtype)
    forward = host64(sketch.apply(library.array(x)))
    backward = host64(sketch.adjoint(library.array(z)))
    magnitude = np.abs(x.astype(np.float64)) @ np.abs(case.matrix) @ np.abs(z.astype(np.float64))
    slack = 2 * gamma(case.size + sketch.dim + 8, case.dtype) * magnitude
    assert abs(forward @ z.astype(np.float64) - x.astype(np.float64) @ backward) <= slack


@for_libraries(
    case=lambda library: cases(library, ["tensor", "kronecker", "mixed", "srht"]),
    cuts=st.sets(st.integers(1, 40)),
    jax_examples=3,
)
def test_pieces_of_coordinates_add_up(library, case, cuts):
    if library.module == "jax":
        cuts = {3, 30}
    edges = [0, *sorted(c for c in cuts if c < case.size), case.size]
    rows = case.whole()[0].astype(case.dtype)
    total = 0
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        total = total + host64(case.sketch.columns(library.array(rows[:, start:stop].copy()), start))
    wide = rows.astype(np.float64)
    slack = gamma(case.size + 8, case.dtype) * (np.abs(wide) @ np.abs(case.matrix))
    # The two factors of a Kronecker product round one after the other, as does each level of a transform.
    assert np.all(np.abs(total - wide @ case.matrix) <= 2 * slack + 1e-300)
