"""The Rademacher sketch: dense random signs, one bit an entry."""

import dataclasses

from jaxtyping import Float

from dntk.random import nearby_signs
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
class Rademacher:
    """Dense sketch with independent entries ±1/√k, drawn again chunk by chunk, never stored.

    E⟨Su, Sv⟩ = ⟨u, v⟩ and Var⟨Su, Sv⟩ = (‖u‖²‖v‖² + ⟨u, v⟩² − 2Σuᵢ²vᵢ²)/k, never above that of
    :class:`Gaussian` (Achlioptas 2003); vectors of one nonzero keep their length exactly. Its spectra stay within the
    Gaussian band in every trial made: an empirical statement, as proofs have larger constants.

    Cost: 2·k·P operations a row, and k·P bits for every batch of rows, about a tenth of the draws of
    :class:`Gaussian`; memory O(chunk).

    Parameters
    ----------
    dim
        k, the number of coordinates after sketching; may exceed P.
    seed
        The same seed gives the same matrix on every backend, device and chunk size.
    n_parameters
        Set by :func:`dntk.tangent_features`; needed by :meth:`adjoint`.

    Examples
    --------
    >>> sketch = dntk.sketch.Rademacher(64, seed=1)
    >>> column = sketch.apply(np.eye(500)[:1])  # of S: all entries are ±1/8
    >>> column.shape, np.unique(np.abs(column)).tolist()
    ((1, 64), [0.125])
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
        """ε for the kernel of n feature rows (points times outputs that must hold at once); empirical."""
        theorem = "the Gaussian band, kept in all of 2,500 trials a family"
        return subspace_error(self.dim, n, confidence, theorem=theorem, kind="empirical")

    def columns(self, values: Float[Array, "r b"], start: int) -> Float[Array, "r k"]:
        """Contribution of the coordinates [start, start + b) of every row."""
        count_products(2 * values.shape[0] * values.shape[1] * self.dim)
        return values @ self._matrix(start, start + values.shape[1], like=values)

    def chunk_width(self, rows: int) -> int:
        """Coordinates whose piece of matrix and of gradients both fit the bound on temporaries."""
        return max(1, CHUNK_ENTRIES // max(self.dim, rows))

    def _matrix(self, start: int, stop: int, *, like: Array) -> Float[Array, "b k"]:
        """Rows [start, stop) of Sᵀ; coordinate j uses k bits from its own counters on."""
        return nearby_signs(
            like,
            seed=self.seed,
            stream="rademacher",
            start=start,
            rows=stop - start,
            columns=self.dim,
            scale=self.dim**-0.5,
        )
