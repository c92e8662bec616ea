"""The Gaussian sketch: the reference that every other is measured against."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk.random import WORDS_PER_COUNTER, drawing_dtype, moved, normals
from dntk.sketch.base import (
    CHUNK_ENTRIES,
    adjoint_in_chunks,
    apply_in_chunks,
    check_sketch_fields,
    count_products,
    rows_of,
)
from dntk.sketch.error import SketchError, subspace_error
from dntk.types import Array


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """Dense sketch with independent entries N(0, 1/k), drawn again chunk by chunk, never stored.

    E⟨Su, Sv⟩ = ⟨u, v⟩ and Var⟨Su, Sv⟩ = (‖u‖²‖v‖² + ⟨u, v⟩²)/k. For features of rank r, with probability at least
    1 − 2e^{−t²/2} every singular value is kept within the factors 1 ± (√(r/k) + t/√k) (Davidson and Szarek 2001).

    Cost: 2·k·P operations a row, and k·P draws for every batch of rows; memory O(chunk).

    Parameters
    ----------
    dim
        k, the number of coordinates after sketching; may exceed P (it is still not an isometry then).
    seed
        The same seed gives the same matrix on every backend, device and chunk size.
    n_parameters
        Set by :func:`dntk.tangent_features`; needed by :meth:`adjoint`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> gradients = rng.normal(size=(5, 2000))
    >>> sketch = dntk.sketch.Gaussian(256, seed=1)
    >>> sketched = sketch.apply(gradients)
    >>> sketched.shape
    (5, 256)
    >>> ratios = (sketched**2).sum(axis=1) / (gradients**2).sum(axis=1)
    >>> bool(np.abs(ratios - 1).max() < 0.5)  # five standard deviations of √(2/256)
    True
    """

    dim: int
    seed: int = 0
    n_parameters: int | None = None

    def __post_init__(self) -> None:
        check_sketch_fields(self)

    def apply(self, gradients: Float[Array, "*batch p"]) -> Float[Array, "*batch k"]:
        """S g for every row g; for tests and small P, as whole gradients have to exist."""
        return apply_in_chunks(self, gradients)

    def adjoint(self, z: Float[Array, "*batch k"], *, n_parameters: int | None = None) -> Float[Array, "*batch p"]:
        """Sᵀ z for every row z, a vector of P parameters."""
        return adjoint_in_chunks(
            self,
            z,
            n_parameters,
            lambda rows, start, stop: rows @ self._matrix(start, stop, like=rows).T,
            width=self.chunk_width(rows_of(z)),
        )

    def error(self, n: int, *, confidence: float = 0.999) -> SketchError:
        """ε for the kernel of n feature rows (points times outputs that must hold at once); proved."""
        return subspace_error(self.dim, n, confidence, theorem="Davidson and Szarek 2001", kind="probabilistic")

    def columns(self, values: Float[Array, "r b"], start: int) -> Float[Array, "r k"]:
        """Contribution of the coordinates [start, start + b) of every row."""
        count_products(2 * values.shape[0] * values.shape[1] * self.dim)
        return values @ self._matrix(start, start + values.shape[1], like=values)

    def chunk_width(self, rows: int) -> int:
        """Coordinates whose piece of matrix and of gradients both fit the bound on temporaries."""
        return max(1, CHUNK_ENTRIES // max(self.dim, rows))

    def _matrix(self, start: int, stop: int, *, like: Array) -> Float[Array, "b k"]:
        """Rows [start, stop) of Sᵀ, where coordinate j uses the words from j times the padded k on."""
        padded = -(-self.dim // WORDS_PER_COUNTER) * WORDS_PER_COUNTER
        dtype = drawing_dtype(like)
        draws = normals(
            seed=self.seed, stream="gaussian", start=start * padded, count=(stop - start) * padded, dtype=dtype
        )
        draws *= dtype(self.dim**-0.5)
        host = draws.reshape(stop - start, padded)[:, : self.dim]
        return arrays.namespace(like).astype(moved(host, like), like.dtype, copy=False)
