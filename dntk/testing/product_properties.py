"""The products and sums that a backend computes, against NumPy in float64 with rigorous allowances."""

import dataclasses
from typing import Any

import numpy as np
from hypothesis import strategies as st

from dntk.arrays import device_of
from dntk.backend import PairingBackend, by_images
from dntk.testing.allowances import gamma, underflow
from dntk.testing.place import Place, host64
from dntk.testing.properties import Property, require
from dntk.testing.spectrum_cases import Host

BATCHES: tuple[tuple[int, ...], ...] = ((), (1,), (3,), (2, 2))


@dataclasses.dataclass(frozen=True)
class ProductProperties:
    """Scatter-add, triangular solves and products at a place."""

    place: Place

    def every(self) -> list[Property]:
        """All of them."""
        drawn: dict[str, st.SearchStrategy[Any]] = {
            "dtype": st.sampled_from(self.place.dtypes),
            "sizes": st.tuples(*(st.integers(1, 9) for _ in range(4))),
            "seed": st.integers(0, 2**32 - 1),
        }
        batched = {**drawn, "batch": st.sampled_from(BATCHES)}
        layouts = {"positions": st.sampled_from((1, 5, 70)), "last": st.booleans()}
        scatter = "out[index[j, z]] += weights[j, z] · updates[j], repeated indices added"
        expand = "Σ_t g_qit ⊗ a_it, of shape (q, n, b·a)"
        return [
            Property(name="scatter_add", statement=scatter, body=self._scatter, strategies=drawn),
            Property(
                name="triangular_solve",
                statement="factor @ x = rhs, lower and upper, in batches",
                body=self._triangular,
                strategies={**batched, "lower": st.booleans()},
            ),
            Property(name="inner", statement="x yᵀ at full precision", body=self._inner, strategies=batched),
            Property(name="gram", statement="x xᵀ, symmetric to the last bit", body=self._gram, strategies=batched),
            Property(name="expand", statement=expand, body=self._expand, strategies=drawn),
            Property(name="paired", statement="Σ_t g_qitᵀ W_q a_it", body=self._paired, strategies=drawn | layouts),
        ]

    def _draw(self, seed: int, shape: tuple[int, ...], dtype: str, stream: int = 0) -> Host:
        """Numbers of very different magnitudes."""
        rng = np.random.default_rng([seed, stream])
        return (rng.standard_normal(shape) * 10.0 ** rng.uniform(-4, 4, shape)).astype(dtype)

    def _scatter(self, dtype: str, sizes: tuple[int, ...], seed: int) -> None:
        count, width, nonzeros, size = sizes
        updates, weights = self._draw(seed, (count, width), dtype), self._draw(seed, (count, nonzeros), dtype, 1)
        index = np.random.default_rng([seed, 2]).integers(0, size, (count, nonzeros))
        kind = "int64" if "int64" in self._integers() else "int32"
        array = self.place.array
        found = self.place.backend.scatter_add(array(updates), array(index, kind), array(weights), size)
        expected, sizes_added = np.zeros((size, width)), np.zeros((size, width))
        for j, z in np.ndindex(count, nonzeros):
            term = float(weights[j, z]) * updates[j].astype(np.float64)
            expected[index[j, z]] += term
            sizes_added[index[j, z]] += np.abs(term)
        self._require_close(found, expected, gamma(count * nonzeros + 2, dtype) * sizes_added, dtype, count * nonzeros)

    def _integers(self) -> Any:
        info = self.place.backend.namespace().__array_namespace_info__()
        return info.dtypes(device=self.place.device, kind="signed integer")

    def _triangular(self, dtype: str, sizes: tuple[int, ...], seed: int, batch: tuple[int, ...], lower: bool) -> None:
        """Backward stable (Higham 2002, theorem 8.5); a general solver may pivot, which four times as much allows."""
        n, columns = sizes[:2]
        rng = np.random.default_rng(seed)
        factor = np.tril(rng.uniform(-1, 1, (*batch, n, n)) / n) + np.eye(n) * rng.uniform(1, 2, (*batch, 1, n))
        factor = (factor if lower else np.swapaxes(factor, -1, -2)).astype(dtype)
        rhs = self._draw(seed, (*batch, n, columns), dtype, 1)
        array = self.place.array
        solved = self.place.backend.triangular_solve(array(factor), array(rhs), lower=lower)
        require(tuple(solved.shape) == rhs.shape, f"the solution has shape {tuple(solved.shape)}, expected {rhs.shape}")
        x, wide = host64(solved), factor.astype(np.float64)
        slack = 4 * gamma(4 * n, dtype) * n * np.max(np.abs(x), axis=-2, keepdims=True) * np.max(np.abs(wide))
        worst = float(np.max(np.abs(wide @ x - rhs.astype(np.float64)) - slack))
        require(worst <= 0, f"the residual exceeds rounding by {worst:.3g}")

    def _inner(self, dtype: str, sizes: tuple[int, ...], seed: int, batch: tuple[int, ...]) -> None:
        n, m, k, _ = sizes
        k = 40 * k  # long enough that reduced precision shows
        x, y = self._draw(seed, (*batch, n, k), dtype), self._draw(seed, (*batch, m, k), dtype, 1)
        found = self.place.backend.inner(self.place.array(x), self.place.array(y))
        turned = np.swapaxes(y, -1, -2)
        self._require_product(found, x, turned, dtype, k)

    def _gram(self, dtype: str, sizes: tuple[int, ...], seed: int, batch: tuple[int, ...]) -> None:
        n, _, k, _ = sizes
        x = self._draw(seed, (*batch, 3 * n, 40 * k), dtype)
        found = self.place.backend.gram(self.place.array(x))
        self._require_product(found, x, np.swapaxes(x, -1, -2), dtype, 40 * k + 2)
        kernel = host64(found)
        require(np.array_equal(kernel, np.swapaxes(kernel, -1, -2)), "the product is not symmetric to the last bit")

    def _expand(self, dtype: str, sizes: tuple[int, ...], seed: int) -> None:
        (q, n, t, b), a = sizes, sizes[0] + 1
        left, right = self._draw(seed, (q, n, t, b), dtype), self._draw(seed, (n, t, a), dtype, 1)
        found = self.place.backend.expand(self.place.array(left), self.place.array(right))
        wide, other = left.astype(np.float64), right.astype(np.float64)
        expected = np.einsum("qitb,ita->qiba", wide, other).reshape(q, n, b * a)
        magnitudes = np.einsum("qitb,ita->qiba", np.abs(wide), np.abs(other)).reshape(q, n, b * a)
        self._require_close(found, expected, gamma(t + 2, dtype) * magnitudes, dtype, t)

    def _paired(self, dtype: str, sizes: tuple[int, ...], seed: int, positions: int, last: bool) -> None:
        """With many positions and with few, which lie last in memory or do not."""
        (q, n, b, a), t, xp = sizes, positions, self.place.backend.namespace()
        shapes = (q, n, t, b), (q, b, a), (n, t, a)
        g, matrices, inputs = (self._draw(seed, shape, dtype, stream) for stream, shape in enumerate(shapes))
        put = self.place.array
        given = xp.permute_dims(put(g.transpose(1, 0, 3, 2).copy()), (1, 0, 3, 2)) if last else put(g)
        wide = [values.astype(np.float64) for values in (g, matrices, inputs)]
        expected, magnitudes = (
            np.einsum("qitb,qba,ita->qi", *values) for values in (wide, [np.abs(values) for values in wide])
        )
        terms = t * b + a
        slack = gamma(terms + 3, dtype) * magnitudes
        backend = self.place.backend
        product = backend.paired if isinstance(backend, PairingBackend) else by_images
        self._require_close(product(given, put(matrices), put(inputs)), expected, slack, dtype, t * a * b)

    def _require_product(self, found: Any, x: Host, y: Host, dtype: str, terms: int) -> None:
        wide, other = x.astype(np.float64), y.astype(np.float64)
        slack = gamma(terms + 2, dtype) * (np.abs(wide) @ np.abs(other))
        self._require_close(found, wide @ other, slack, dtype, terms)

    def _require_close(self, found: Any, expected: Host, slack: Host, dtype: str, terms: int) -> None:
        require(tuple(found.shape) == expected.shape, f"shape {tuple(found.shape)}, expected {expected.shape}")
        like = self.place.array(np.zeros(1), dtype)
        require(found.dtype == like.dtype, f"{dtype} in, {found.dtype} out")
        require(device_of(found) == device_of(like), f"the result is on {device_of(found)}, not {device_of(like)}")
        worst = float(np.max(np.abs(host64(found) - expected) - slack - underflow(terms, dtype)))
        require(worst <= 0, f"it exceeds rounding by {worst:.3g}")
