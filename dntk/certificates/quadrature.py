"""Bounds of rᵀf(K)r by Lanczos and the quadratures of Gauss and Gauss-Radau, many right-hand sides at once.

After j steps from r, ‖r‖² e₁ᵀf(T)e₁ with the tridiagonal T is Gauss quadrature of the spectral measure of r. For
f(x) = (x + λ)^{−p}, p = 1 or 2, whose derivatives alternate in sign, it is a lower bound, and with one node prescribed
at or below the smallest eigenvalue an upper one (Golub and Meurant 2010, chapter 6). The basis is orthogonalised
twice against all earlier vectors, without which the upper bound fails in floating point.

Rounding is a backward error: the quadrature is that of a K + ΔK, ‖ΔK‖ ≤ η = 4·0.71·eps·N·‖K‖. So the node is −η in
place of 0, and λ − η takes the place of λ in f.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk._progress import task
from dntk.backend import backend_of
from dntk.types import Array

Apply = Callable[[Float[Array, "c q n"]], Float[Array, "c q n"]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tridiagonals:
    """Lanczos coefficients on the host in float64: diagonal and off-diagonal (c, q, t), norms (c, q) of the starts.

    Entry j of the off-diagonal leads out of the space of j + 1 steps; 0 where the space is exhausted.
    """

    diagonal: np.ndarray
    off: np.ndarray
    norms: np.ndarray

    @property
    def steps(self) -> int:
        """Products that were made."""
        return int(self.diagonal.shape[-1])

    def quadratures(self, ridge: float, power: int, rounding: float) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper bounds (c, q) of rᵀ(K + λI)^{−p} r; infinite where λ drowns in rounding."""
        lower, upper = np.zeros_like(self.norms), np.zeros_like(self.norms)
        for index in np.ndindex(self.norms.shape):
            if self.norms[index] > 0:
                unit = _unit_quadratures(self.diagonal[index], self.off[index], ridge, power, rounding)
                square = float(self.norms[index]) ** 2
                lower[index], upper[index] = square * unit[0], square * unit[1]
        return lower, upper


def lanczos(
    multiply: Apply,
    start: Float[Array, "c q n"],
    steps: int,
    enough: Callable[[Tridiagonals], bool] = lambda _: False,
) -> Tridiagonals:
    """Up to ``steps`` Lanczos steps with K^c from every row; each product takes all rows.

    ``enough`` is asked every eight steps; it waits for the device.
    """
    xp = arrays.namespace(start)
    norms = _lengths(start)
    basis = [start / xp.where(norms > 0, norms, xp.ones_like(norms))]
    alphas: list[Array] = []
    betas: list[Array] = []
    alive, scale = norms > 0, xp.zeros_like(norms)
    most = min(steps, start.shape[2])
    with task("Lanczos", total=most, unit="products") as bar:
        for step in bar.over(range(most)):
            image = multiply(basis[-1])
            alpha = xp.sum(image * basis[-1], axis=2, keepdims=True)
            image = _orthogonal(image, basis)
            beta = _lengths(image)
            scale = xp.maximum(scale, xp.abs(alpha) + beta)
            # What is left of an exhausted space is rounding.
            alive = alive & (beta > 8 * start.shape[2] * arrays.epsilon(start) * scale)
            beta = xp.where(alive, beta, xp.zeros_like(beta))
            alphas.append(alpha)
            betas.append(beta)
            basis.append(xp.where(alive, image / xp.where(alive, beta, xp.ones_like(beta)), xp.zeros_like(image)))
            if step % 8 == 7 and enough(_on_host(norms, alphas, betas)):
                break
    return _on_host(norms, alphas, betas)


def _on_host(norms: Array, alphas: list[Array], betas: list[Array]) -> Tridiagonals:
    xp, host = arrays.namespace(norms), backend_of(norms).to_numpy
    return Tridiagonals(
        diagonal=np.asarray(host(xp.concat(alphas, axis=2)), dtype=np.float64),
        off=np.asarray(host(xp.concat(betas, axis=2)), dtype=np.float64),
        norms=np.asarray(host(norms), dtype=np.float64)[:, :, 0],
    )


def _orthogonal(image: Float[Array, "c q n"], basis: list[Array]) -> Float[Array, "c q n"]:
    """``image`` freed twice of all earlier vectors, row by row; one shape throughout, for libraries that compile."""
    xp = arrays.namespace(image)
    for _ in range(2):
        for vector in reversed(basis):
            image = image - vector * xp.sum(vector * image, axis=2, keepdims=True)
    return image


def _lengths(x: Float[Array, "c q n"]) -> Float[Array, "c q 1"]:
    """Norms of rows, without overflow."""
    xp = arrays.namespace(x)
    largest = xp.max(xp.abs(x), axis=2, keepdims=True)
    safe = xp.where(largest > 0, largest, xp.ones_like(largest))
    return largest * xp.sqrt(xp.sum((x / safe) ** 2, axis=2, keepdims=True))


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
