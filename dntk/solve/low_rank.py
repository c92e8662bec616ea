"""Preconditioners from low-rank approximations of the kernel: randomized Nyström and randomly pivoted Cholesky."""

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk._checks import check_seed, keep
from dntk.backend import backend_of
from dntk.random import WORDS_PER_COUNTER, moved, normals, uniforms
from dntk.solve._preconditioned_cg import Preconditioner
from dntk.solve.conditioning import cholesky
from dntk.solve.kernel_operator import KernelOperator
from dntk.types import Array

TARGET = 10.0
"""(λ̂_r + ‖K − K̂‖)/λ at which a preconditioner is good enough: it bounds the condition number, up to one."""

_POWER_STEPS = 6


@runtime_checkable
class PreconditionerRule(Protocol):
    """Makes a preconditioner of K + λI."""

    def build(self, kernel: KernelOperator, ridge: float, like: Float[Array, "c n q"]) -> Preconditioner:
        """Leading eigenpairs of an approximation of K; ``like`` has the place and the dtype."""


@dataclasses.dataclass(frozen=True)
class RandomizedNystrom:
    """K̂ = KΩ(ΩᵀKΩ)⁺ΩᵀK with Gaussian Ω (Frangella, Tropp and Udell 2023): r products with K and nothing else of it.

    The condition number of the preconditioned system is at most (λ̂_r + λ + ‖K − K̂‖)/λ. The rank is doubled until
    (λ̂_r + ‖K − K̂‖)/λ ≤ 10, the norm estimated by power iteration, or until ``largest`` is reached.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(1, 200, 8))), rng.normal(size=(1, 200))
    >>> kernel = dntk.solve.FeatureKernel(phi.values)
    >>> rule = dntk.solve.RandomizedNystrom(rank=16)
    >>> fit = dntk.solve.iterative_ridge(kernel, y, ridge=1e-3, preconditioner=rule)
    >>> fit.cg.iterations < 5  # sixteen products hold the eight eigenvectors
    True
    """

    rank: int = 64
    largest: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        _check_ranks(self.rank, self.largest)
        keep(self, seed=check_seed(self.seed))

    def build(self, kernel: KernelOperator, ridge: float, like: Float[Array, "c n q"]) -> Preconditioner:
        """Eigenpairs of the Nyström approximation."""
        return _adapted(self, kernel, ridge, like)

    def factor(self, kernel: KernelOperator, rank: int, like: Array) -> Float[Array, "c n r"]:
        """B with K̂ = B Bᵀ, by a shifted Cholesky factorisation, which keeps K̂ below K."""
        xp = arrays.namespace(like)
        c, n = kernel.shape
        start, _ = xp.linalg.qr(_gaussian(like, n, rank, self.seed))
        image = kernel.multiply(xp.broadcast_to(start, (c, n, rank)))
        size = xp.sqrt(xp.sum(image * image, axis=(1, 2)))
        shift = n**0.5 * arrays.epsilon(like) * size[:, None, None]
        shifted = image + shift * start
        core = start.mT @ shifted
        factors, top = [], xp.eye(rank, dtype=like.dtype, device=arrays.device_of(like))
        for i in range(c):
            symmetric = (core[i, :, :] + core[i, :, :].mT) / 2
            lower = cholesky(symmetric)
            if lower is None:  # rounding exceeded the shift
                lower = cholesky(symmetric + 100 * shift[i, :, :] * top)
            if lower is None:
                factors.append(xp.zeros_like(shifted[i, :, :]))
                continue
            factors.append(backend_of(like).triangular_solve(lower, shifted[i, :, :].mT, lower=True).mT)
        return xp.stack(factors)


@dataclasses.dataclass(frozen=True)
class RPCholeskyPreconditioner:
    """Partial Cholesky factorisation with randomly drawn pivots, blocks of them at a time (Díaz and others 2023).

    Reads r columns of K and its diagonal. Pivots are drawn with probability proportional to the residual diagonal,
    averaged over outputs. The rank is doubled as in :class:`RandomizedNystrom`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(1, 200, 8))), rng.normal(size=(1, 200))
    >>> kernel = dntk.solve.FeatureKernel(phi.values)
    >>> rule = dntk.solve.RPCholeskyPreconditioner(rank=16)
    >>> fit = dntk.solve.iterative_ridge(kernel, y, ridge=1e-3, preconditioner=rule)
    >>> fit.cg.iterations < 5  # sixteen pivots do, too
    True
    """

    rank: int = 64
    largest: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        _check_ranks(self.rank, self.largest)
        keep(self, seed=check_seed(self.seed))

    def build(self, kernel: KernelOperator, ridge: float, like: Float[Array, "c n q"]) -> Preconditioner:
        """Eigenpairs of the partial factorisation."""
        return _adapted(self, kernel, ridge, like)

    def factor(self, kernel: KernelOperator, rank: int, like: Array) -> Float[Array, "c n r"]:
        """B with K̂ = B Bᵀ = K_S (K_SS + νI)⁻¹K_Sᵀ on the pivots S, whole blocks at a time."""
        xp = arrays.namespace(like)
        place, (c, n) = arrays.device_of(like), kernel.shape
        diagonal = kernel.diagonal()
        residual, built = diagonal, xp.zeros((c, n, 0), dtype=like.dtype, device=place)
        draws = uniforms(seed=self.seed, stream="rp-cholesky-preconditioner", count=rank)
        noise = n * arrays.epsilon(like) * float(xp.max(diagonal))
        block = max(1, rank // 8)
        for start, stop in arrays.spans(rank, block):
            mean = _host(xp.mean(residual, axis=0))
            total = float(np.sum(mean))
            if total <= n * noise:
                break
            cumulated = np.cumsum(mean) / total
            picks = np.unique(np.minimum(np.searchsorted(cumulated, draws[start:stop]), n - 1))
            points = xp.asarray([int(i) for i in picks], device=place)
            columns = kernel.columns(points) - built @ xp.take(built, points, axis=1).mT
            core = xp.take(columns, points, axis=1)
            eye = xp.eye(len(picks), dtype=like.dtype, device=place)
            shift = arrays.epsilon(like) * len(picks) * xp.max(diagonal, axis=1)
            lowers = [cholesky((core[i, :, :] + core[i, :, :].mT) / 2 + shift[i] * eye) for i in range(c)]
            if any(lower is None for lower in lowers):
                break
            stacked = xp.stack([lower for lower in lowers if lower is not None])
            fresh = backend_of(like).triangular_solve(stacked, columns.mT, lower=True).mT
            built = xp.concat([built, fresh], axis=2)
            residual = xp.clip(residual - xp.sum(fresh * fresh, axis=2), min=0)
        return built if built.shape[2] else xp.zeros((c, n, 1), dtype=like.dtype, device=place)


def _adapted(
    rule: RandomizedNystrom | RPCholeskyPreconditioner, kernel: KernelOperator, ridge: float, like: Array
) -> Preconditioner:
    """Double the rank until the bound on the condition number is good enough."""
    xp, n = arrays.namespace(like), kernel.shape[1]
    rank, largest = min(rule.rank, n), min(rule.largest, n)
    while True:
        left, singular, _ = xp.linalg.svd(rule.factor(kernel, rank, like), full_matrices=False)
        found = Preconditioner(values=singular**2, vectors=left, ridge=ridge)
        if rank >= largest or condition_bound(kernel, found, seed=rule.seed) <= TARGET:
            return found
        rank = min(2 * rank, largest)


def condition_bound(kernel: KernelOperator, preconditioner: Preconditioner, *, seed: int = 0) -> float:
    """(λ̂_r + ‖K − K̂‖)/λ with the norm estimated by a few power steps: from below, usually within a factor of two."""
    xp, vectors = arrays.namespace(preconditioner.vectors), preconditioner.vectors
    c, n = kernel.shape
    v = xp.broadcast_to(_gaussian(vectors, n, 1, seed), (c, n, 1))
    norm = xp.sqrt(xp.sum(v * v, axis=1, keepdims=True))
    for _ in range(_POWER_STEPS):
        v = v / xp.where(norm > 0, norm, xp.ones_like(norm))
        v = kernel.multiply(v) - vectors @ (preconditioner.values[:, :, None] * (vectors.mT @ v))
        norm = xp.sqrt(xp.sum(v * v, axis=1, keepdims=True))
    return float(xp.max(preconditioner.values[:, -1] + norm[:, 0, 0])) / preconditioner.ridge


def _gaussian(like: Array, rows: int, columns: int, seed: int) -> Float[Array, "rows columns"]:
    padded = -(-columns // WORDS_PER_COUNTER) * WORDS_PER_COUNTER
    draws = normals(seed=seed, stream="randomized-nystrom", start=0, count=rows * padded, dtype=np.float64)
    xp = arrays.namespace(like)
    return xp.astype(moved(draws.reshape(rows, padded)[:, :columns], like), like.dtype)


def _host(x: Array) -> np.ndarray:
    return np.asarray(backend_of(x).to_numpy(x), dtype=np.float64)


def _check_ranks(rank: int, largest: int) -> None:
    if not 1 <= rank <= largest:
        msg = f"expected 1 ≤ `rank` ≤ `largest`, got {rank} and {largest}."
        raise ValueError(msg)
