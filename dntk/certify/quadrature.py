"""Bounds of rᵀf(K)r by Lanczos and the quadratures of Gauss and Gauss-Radau, many right-hand sides at once.

After j steps from r, ‖r‖² e₁ᵀf(T)e₁ with the tridiagonal T is Gauss quadrature of the spectral measure of r. For
f(x) = (x + λ)^{−p}, p = 1 or 2, whose derivatives alternate in sign, it is a lower bound, and with one node prescribed at or
below the smallest eigenvalue an upper one (Golub and Meurant 2010, chapter 6). The basis is orthogonalised twice against
all earlier vectors, without which the upper bound fails in floating point.

Rounding is a backward error: the quadrature is that of a K + ΔK, ‖ΔK‖ ≤ η = 4·0.71·eps·N·‖K‖. So the node is −η in
place of 0, and λ − η takes the place of λ in f.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.types import Array

Apply = Callable[[Float[Array, "c n q"]], Float[Array, "c n q"]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tridiagonals:
    """Lanczos coefficients on the host in float64: diagonal (c, q, t), off-diagonal (c, q, t), norms (c, q) of the starts.

    Entry j of the off-diagonal leads out of the space of j + 1 steps; 0 where the space is exhausted.
    """

    diagonal: np.ndarray
    off: np.ndarray
    norms: np.ndarray

    def quadratures(self, ridge: float, power: int, rounding: float) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds (c, q) of rᵀ(K + λI)^{−p} r; infinite where λ drowns in rounding."""
        lower, upper = np.zeros_like(self.norms), np.zeros_like(self.norms)
        for index in np.ndindex(self.norms.shape):
            if self.norms[index] > 0:
                unit = _unit_quadratures(self.diagonal[index], self.off[index], ridge, power, rounding)
                square = float(self.norms[index]) ** 2
                lower[index], upper[index] = square * unit[0], square * unit[1]
        return lower, upper


def lanczos(multiply: Apply, start: Float[Array, "c n q"], steps: int) -> Tridiagonals:
    """Up to ``steps`` Lanczos steps with K^c from every column; each product takes all columns."""
    xp = arrays.namespace(start)
    norms = _lengths(start)
    vector = start / xp.where(norms > 0, norms, xp.ones_like(norms))
    basis, alphas, betas = [vector], [], []
    alive = norms > 0
    first = None
    for _ in range(min(steps, start.shape[1])):
        image = multiply(basis[-1])
        alpha = xp.sum(image * basis[-1], axis=1, keepdims=True)
        image = _orthogonal(image, basis)
        beta = _lengths(image)
        first = xp.abs(alpha) + beta if first is None else xp.maximum(first, xp.abs(alpha) + beta)
        alive = alive & (beta > 8 * start.shape[1] * arrays.epsilon(start) * first)
        beta = xp.where(alive, beta, xp.zeros_like(beta))
        alphas.append(alpha)
        betas.append(beta)
        basis.append(xp.where(alive, image / xp.where(alive, beta, xp.ones_like(beta)), xp.zeros_like(image)))
    host = backend_of(start).to_numpy
    return Tridiagonals(
        diagonal=np.stack([np.asarray(host(a), dtype=np.float64)[:, 0, :] for a in alphas], axis=-1),
        off=np.stack([np.asarray(host(b), dtype=np.float64)[:, 0, :] for b in betas], axis=-1),
        norms=np.asarray(host(norms), dtype=np.float64)[:, 0, :],
    )


def _orthogonal(image: Array, basis: list[Array]) -> Array:
    """``image`` freed twice of all earlier vectors, column by column."""
    xp = arrays.namespace(image)
    earlier = xp.stack(basis, axis=3)  # (c, n, q, j)
    for _ in range(2):
        parts = xp.sum(earlier * image[:, :, :, None], axis=1, keepdims=True)
        image = image - xp.sum(earlier * parts, axis=3)
    return image


def _lengths(x: Float[Array, "c n q"]) -> Float[Array, "c 1 q"]:
    """Norms of columns, without overflow."""
    xp = arrays.namespace(x)
    largest = xp.max(xp.abs(x), axis=1, keepdims=True)
    safe = xp.where(largest > 0, largest, xp.ones_like(largest))
    return largest * xp.sqrt(xp.sum((x / safe) ** 2, axis=1, keepdims=True))


def _unit_quadratures(
    diagonal: np.ndarray, off: np.ndarray, ridge: float, power: int, rounding: float
) -> tuple[float, float]:
    """Gauss and Gauss-Radau of a unit start."""
    ended = np.flatnonzero(off == 0)
    steps = int(ended[0]) + 1 if ended.size else len(diagonal)
    a, b = diagonal[:steps], off[:steps]
    gauss = _gauss(a, b[:-1], ridge + rounding, power)
    node = -max(rounding, np.finfo(float).tiny)
    values, vectors = np.linalg.eigh(np.diag(a - node) + np.diag(b[:-1], 1) + np.diag(b[:-1], -1))
    if ridge <= 2 * rounding or values[0] <= 0:  # the node would not be below the spectrum, or f not be defined there
        return gauss, np.inf
    delta = b[-1] ** 2 * float(np.sum(vectors[-1] ** 2 / values))
    radau = _gauss(np.append(a, node + delta), b, ridge - rounding, power)
    return gauss, max(radau, gauss)


def _gauss(diagonal: np.ndarray, off: np.ndarray, ridge: float, power: int) -> float:
    """e₁ᵀ(T + λI)^{−p} e₁."""
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))
    shifted = np.maximum(values + ridge, ridge / 1e3)
    return float(np.sum(vectors[0] ** 2 / shifted**power))
