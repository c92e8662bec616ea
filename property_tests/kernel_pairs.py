"""Kernels with an approximation, for theorems on two symmetric matrices: features F (n, p) of a mean kernel and others.

Both have the same shape, so that libraries that compile do so once. ``"projected"``: on the span of a third of the
points, K̂ ≤ K. ``"perturbed"``: noise of 1e-12 to 1 of the largest feature. ``"sketched"``: by a Gaussian matrix.
``"nothing"``: zero features. ``"equal"``: the same.
"""

import dataclasses
import math

import numpy as np
from hypothesis import strategies as st

from dntk import arrays
from property_tests.strategies import FEW_SHAPES, Case, features
from tests.libraries import Library

KINDS = ("projected", "perturbed", "sketched", "nothing", "equal")

SHAPES = ((1, 1, 1), (4, 1, 2), (1, 2, 1), (2, 3, 9), (1, 7, 3), (3, 6, 9), (4, 8, 8), (1, 20, 5), (1, 24, 40))


@dataclasses.dataclass(frozen=True, repr=False)
class Pair:
    """Features of two kernels of the same points, on the host, in the dtype under test."""

    features: np.ndarray
    others: np.ndarray
    kind: str

    def __repr__(self) -> str:
        """Values of small arrays; Hypothesis hides a failure behind its complaint about a long text."""
        arrays = (self.features, self.others)
        shown = [repr(a) if a.size <= 32 else f"<{a.dtype} of shape {a.shape}>" for a in arrays]
        return f"Pair({', '.join(shown)}, {self.kind!r})"

    @property
    def dtype(self) -> str:
        """Name of the dtype."""
        return str(self.features.dtype)

    @property
    def points(self) -> int:
        """Number of points."""
        return self.features.shape[0]

    @property
    def size(self) -> int:
        """N of the allowances."""
        return max(self.features.shape)

    @property
    def kernel(self) -> np.ndarray:
        """K in float64."""
        return gram(self.features)

    @property
    def approximate(self) -> np.ndarray:
        """K̂ in float64."""
        return gram(self.others)

    @property
    def error(self) -> np.ndarray:
        """K − K̂ in float64."""
        return self.kernel - self.approximate

    @property
    def norm(self) -> float:
        """The larger of ‖K‖ and ‖K̂‖."""
        return max(float(np.linalg.norm(f.astype(np.float64), 2)) ** 2 for f in (self.features, self.others))


def gram(rows: np.ndarray) -> np.ndarray:
    """F Fᵀ in float64."""
    wide = rows.astype(np.float64)
    return wide @ wide.T


def gram_in(library: Library, rows: np.ndarray):
    """F Fᵀ formed by the library in the dtype of ``rows``."""
    placed = library.array(rows)
    return placed @ placed.mT


def spectrum_in(library: Library, rows: np.ndarray):
    """Descending eigenvalues of F Fᵀ, formed and decomposed by the library in the dtype of ``rows``."""
    kernel = gram_in(library, rows)
    return eigen_in(kernel)[0]


def eigen_in(kernel):
    """Descending eigenvalues and their eigenvectors by the kernel's library, of the kernel times a power of two.

    CUDA's method squares entries, and squares of numbers below 1e-19 are zero in float32.
    """
    xp = arrays.namespace(kernel)
    scale = 2.0 ** math.frexp(float(xp.max(xp.abs(kernel))))[1]
    values, vectors = xp.linalg.eigh(kernel / scale)
    return xp.flip(values, axis=0) * scale, xp.flip(vectors, axis=1)


def build_pair(case: Case, kind: str, seed: int) -> Pair:
    """The pair that these choices describe."""
    rng = np.random.default_rng(seed)
    exact = case.joined.astype(case.dtype).astype(np.float64)
    n, p = exact.shape
    if kind == "projected":
        exact_rows = exact[rng.permutation(n)[: max(1, n // 3)]]
        others = exact @ projector(exact_rows)
    elif kind == "perturbed":
        others = exact + rng.standard_normal((n, p)) * np.max(np.abs(exact)) * 10.0 ** rng.integers(-12, 1)
    elif kind == "sketched":
        others = exact @ rng.standard_normal((p, p)) / np.sqrt(p)
    else:
        others = exact if kind == "equal" else np.zeros_like(exact)
    return Pair(exact.astype(case.dtype), others.astype(case.dtype), kind)


def projector(rows: np.ndarray) -> np.ndarray:
    """Π (p, p) on the span of rows, by their singular vectors."""
    largest = np.max(np.abs(rows))
    _, singular, right = np.linalg.svd(rows / (largest or 1.0), full_matrices=False)
    basis = right[singular > max(rows.shape) * 2.0**-52 * singular[0]]
    return basis.T @ basis


def pairs(kinds=KINDS, shapes=SHAPES):
    """Pairs for a library; of one shape where each has to be compiled."""

    def make(library: Library) -> st.SearchStrategy[Pair]:
        cases = features(shapes=shapes, few=FEW_SHAPES)(library)
        return st.builds(build_pair, cases, st.sampled_from(kinds), st.integers(0, 2**32 - 1))

    return make


def leading(kernel: np.ndarray, rank: int) -> np.ndarray:
    """The ``rank`` leading eigenvectors (n, r) of a symmetric matrix."""
    return np.linalg.eigh((kernel + kernel.T) / 2)[1][:, ::-1][:, :rank]


def sines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Sines of the angles Θ between the spans of orthonormal columns, as singular values of (I − UUᵀ)V."""
    return np.linalg.svd(second - first @ (first.T @ second), compute_uv=False)


def frobenius(matrix: np.ndarray) -> float:
    """‖·‖_F without overflow."""
    largest = float(np.max(np.abs(matrix)))
    return largest * float(np.linalg.norm(matrix / largest)) if largest > 0 else 0.0
