"""Gradients of all points from those of a few, by what enters the last layer: a Gaussian process at every checkpoint.

A forward pass tells z = (h, 1), h what enters the last layer, of every point. Gradients are taken for a draw of a
process over it, whose coordinates share one covariance Σ:

    Cov(ψ_i, ψ_j) = (k(z_i, z_j) + q δ_ij) Σ,

k the tangent kernel of an infinitely wide network of one hidden layer of ReLU on top of z (arc-cosine kernels of
degrees 0 and 1, Cho and Saul 2009), q what z does not tell of a gradient. Those of the few S then say of all (kriging)

    Ψ ≈ P Ψ[S],  P = K_z[:, S] G,  G = K_z[S, S]⁻¹,   with K_z = k + qI,

and of what that misses, V ⊗ Σ with V = K_z − P K_z[S, :], that E ΨᵀΨ = Ψ[S]ᵀPᵀPΨ[S] + tr(V) Σ. Leave-one-out residuals
r_s = (GΨ[S])_s/G_ss, of variance Σ/G_ss (Rasmussen and Williams 2006, 5.4.2), have Σ ≈ mean_s G_ss r_s r_sᵀ, and q
maximises their likelihood. z tells more of leading directions than of the many others, so that which q that is depends
on which are asked: :func:`by_leading` or :func:`by_all`. All is algebra on the few's kernel K̄[S, S].

Where Σ has many more directions than there are few, its largest eigenvalues by m residuals are too large: with
u_s = √G_ss r_s, the Gram matrix of the u_s has the trace of what lies in all those directions, τ, on its diagonal, and
n points as much, not n/m times as much. So its eigenvalues are lowered by τ, the value with which ‖Σ‖_F is what pairs
of different residuals say, Σ_{s≠t} ⟨u_s, u_t⟩²/(m(m − 1)), without bias where residuals are independent; what is taken
off is in so many directions that all eigenvalues of K̄ have their share of it alike. With τ endless and with none
they are too small and too large.
"""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from dntk import arrays
from dntk.backend import backend_of
from dntk.trajectories.measures import Measures
from dntk.types import Array

UNTOLD = tuple(10.0 ** (step / 2) for step in range(-8, 3))
"""Values of q on trial, in units of the mean of k(z, z)."""

COUNTED = 0.01
"""ρ: a direction with this share of the trace counts half."""

_ENTRIES = 2**22
"""Entries of a kernel of all points that are held at once."""


def tangent_kernel(x: Float[Array, "n d"], z: Float[Array, "m d"]) -> Float[Array, "n m"]:
    """Of an infinitely wide hidden layer of ReLU and a linear one, at rows that are not zero; k(z, z) = ‖z‖²."""
    xp, x, z = arrays.namespace(x), arrays.in_float64(x), arrays.in_float64(z)
    lengths = xp.linalg.vector_norm(x, axis=1)[:, None] * xp.linalg.vector_norm(z, axis=1)[None, :]
    cosine = xp.clip((x @ z.T) / lengths, -1, 1)
    angle = xp.acos(cosine)
    # Degree 1 is what the hidden layer gives, degree 0 how it moves.
    degrees = xp.sin(angle) + (math.pi - angle) * cosine, (math.pi - angle) * cosine
    return lengths * (degrees[0] + degrees[1]) / (2 * math.pi)


Surprise = Callable[[Float[Array, "m m"], Float[Array, "m m"]], Callable[[Float[Array, " m"]], float]]
"""Of eigenvectors of K_z[S, S] and of K̄[S, S]: how much residuals surprise, of K_z's eigenvalues."""


def by_all(vectors: Float[Array, "m m"], kernel: Float[Array, "m m"]) -> Callable[[Float[Array, " m"]], float]:
    """One variance of all directions, log mean_s G_ss‖r_s‖² − mean_s log G_ss: the many small ones decide."""
    xp = arrays.namespace(kernel)
    turned = vectors.T @ kernel @ vectors

    def surprise(spectrum: Float[Array, " m"]) -> float:
        half = vectors / spectrum
        precision = xp.sum(half * vectors, axis=1)
        squares = xp.sum((half @ turned) * half, axis=1)  # of GΨ[S], row by row
        mean = float(xp.mean(squares / precision))
        return math.log(mean) - float(xp.mean(xp.log(precision))) if mean > 0 else math.inf

    return surprise


def by_leading(vectors: Float[Array, "m m"], kernel: Float[Array, "m m"]) -> Callable[[Float[Array, " m"]], float]:
    """A variance for each principal direction v_j of the few, Σ_j w_j (log mean_s G_ss⟨r_s, v_j⟩² − mean_s log G_ss).

    They count as in an effective dimension, w_j = λ_j/(λ_j + ρ Σ λ): all alike the many small ones would decide again.
    """
    xp = arrays.namespace(kernel)
    values, directions = xp.linalg.eigh((kernel + kernel.T) / 2)
    values = xp.clip(values, 0, None)
    kept = xp.nonzero(values > 0)[0]
    values, turned = xp.take(values, kept), vectors.T @ xp.take(directions, kept, axis=1)  # of norm 1: w has the rest
    weights = values / (values + COUNTED * xp.sum(values))

    def surprise(spectrum: Float[Array, " m"]) -> float:
        half = vectors / spectrum
        precision = xp.sum(half * vectors, axis=1)
        variances = xp.mean((half @ turned) ** 2 / precision[:, None], axis=0)
        return float(xp.sum(weights * (xp.log(variances) - xp.mean(xp.log(precision)))))

    return surprise


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientProcess:
    """Fitted at one checkpoint.

    Parameters
    ----------
    inputs
        z of all points, in units of their root mean square, in their own dtype.
    few
        Positions of S.
    untold
        q.
    inverse
        G.
    coefficients
        P.
    variances
        The diagonal of V.
    """

    inputs: Float[Array, "n d"]
    few: Int[Array, " m"]
    untold: float
    inverse: Float[Array, "m m"]
    coefficients: Float[Array, "n m"]
    variances: Float[Array, " n"]

    @staticmethod
    def fitted(
        inputs: Float[Array, "n d"], few: Int[Array, " m"], kernel: Float[Array, "m m"], surprise: Surprise
    ) -> "GradientProcess":
        """From K̄[S, S] of the few; O(n·m·(d + m)), and eleven times O(m³) for q, with which they surprise least."""
        xp = arrays.namespace(kernel)
        z = xp.take(inputs, few, axis=0)
        values, vectors = xp.linalg.eigh(tangent_kernel(z, z))
        values = xp.clip(values, 0, None)
        asked = surprise(vectors, kernel)
        untold = min(UNTOLD, key=lambda q: asked(values + q))
        inverse = (vectors / (values + untold)) @ vectors.T
        parts, left = [], []
        for start, stop in arrays.spans(inputs.shape[0], max(1, _ENTRIES // z.shape[0])):
            own = xp.arange(start, stop, device=arrays.device_of(few))[:, None] == few[None, :]
            told = tangent_kernel(inputs[start:stop, :], z) + untold * xp.astype(own, inverse.dtype)
            parts.append(told @ inverse)
            variance = _squares(inputs[start:stop, :]) + untold - xp.sum(parts[-1] * told, axis=1)
            left.append(xp.where(xp.any(own, axis=1), xp.zeros_like(variance), xp.clip(variance, 0, None)))
        return GradientProcess(
            inputs=inputs,
            few=few,
            untold=untold,
            inverse=inverse,
            coefficients=xp.concat(parts, axis=0),
            variances=xp.concat(left),
        )

    def residuals(self) -> Float[Array, "m m"]:
        """Rows u_s of Ψ[S] by their coefficients: G scaled."""
        return self.inverse / arrays.namespace(self.inverse).linalg.diagonal(self.inverse)[:, None] ** 0.5

    def left(self, points: Int[Array, " h"]) -> Float[Array, "h h"]:
        """V of some other points."""
        xp = arrays.namespace(self.inverse)
        z, centres = (xp.take(self.inputs, where, axis=0) for where in (points, self.few))
        p = xp.take(self.coefficients, points, axis=0)
        eye = xp.eye(z.shape[0], dtype=p.dtype, device=arrays.device_of(p))
        return tangent_kernel(z, z) + self.untold * eye - p @ tangent_kernel(centres, z)

    def missed(self, targets: Float[Array, "n c"], points: Int[Array, " b"]) -> float:
        """⟨YYᵀ, V⟩, from a uniform sample of rows of V."""
        xp = arrays.namespace(targets)
        mine, total = xp.take(targets, points, axis=0), 0.0
        z, rows = xp.take(self.inputs, points, axis=0), xp.take(self.coefficients, points, axis=0)
        few, centres = xp.take(targets, self.few, axis=0), xp.take(self.inputs, self.few, axis=0)
        for start, stop in arrays.spans(targets.shape[0], max(1, _ENTRIES // points.shape[0])):
            there, y = self.inputs[start:stop, :], targets[start:stop, :]
            left = tangent_kernel(z, there) - rows @ tangent_kernel(centres, there)
            total += float(xp.sum(mine * (left @ y)))
        total += self.untold * float(xp.sum(mine**2) - xp.sum(mine * (rows @ few)))
        return max(total * targets.shape[0] / points.shape[0], 0.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Told:
    """What a process says of all points' kernel: it, and K̄[S, S] in units of ``scale``."""

    process: GradientProcess
    kernel: Float[Array, "m m"]
    scale: float

    def measured(
        self, measures: Measures, first: "Told", targets: Float[Array, "n c"] | None
    ) -> Float[np.ndarray, " q"]:
        """As of :meth:`Measures.of`, on the host, but for the dimension; drift from the first checkpoint."""
        values, rest = self._spectrum()
        further = self.process.variances.shape[0] - values.shape[0]
        norm = float(np.sum(values**2) + further * rest**2) ** 0.5
        leading = self._leading(values, rest, measures.size)
        return np.asarray([*leading, float("nan"), self._alignment(targets, norm), self._drift(first)])

    def dimension(self, measures: Measures) -> float:
        """The effective one, which asks for many directions."""
        values, rest = self._spectrum()
        further = self.process.variances.shape[0] - values.shape[0]
        ridge = measures.ridge * (float(np.sum(values)) + further * rest)
        if not ridge > 0:
            return 0.0
        return float(np.sum(values / (values + ridge))) + further * rest / (rest + ridge)

    def eigenvalue_range(self, size: int) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, " r"]]:
        """Leading eigenvalues where what is missed has endlessly many directions, and where it has those of the few."""
        least, most = (self._leading(*self._spectrum(excess), size) for excess in (math.inf, 0.0))
        return np.minimum(least, most), np.maximum(least, most)

    def expected(self, points: Int[Array, " h"]) -> Float[Array, "h h"]:
        """What the kernel of some other points should be, from that of the few."""
        p = arrays.namespace(self.kernel).take(self.process.coefficients, points, axis=0)
        return p @ self.kernel @ p.T + self.process.left(points) * self.variance()

    def variance(self) -> float:
        """Tr Σ."""
        rows = self.process.residuals()
        return float(arrays.namespace(rows).mean(_diagonal(rows, self.kernel)))

    def sum_of(self, targets: Float[Array, "n c"]) -> float:
        """‖YᵀPΨ[S]‖²."""
        xp = arrays.namespace(self.kernel)
        sums = self.process.coefficients.T @ targets
        return float(xp.sum(sums * (self.kernel @ sums)))

    def missed(self, targets: Float[Array, "n c"], points: Int[Array, " b"]) -> float:
        """What P is expected to miss of ‖YᵀΨ‖², from a uniform sample of rows of V."""
        return self.process.missed(targets, points) * self.variance()

    def _leading(self, values: Float[np.ndarray, " m"], rest: float, size: int) -> Float[np.ndarray, " r"]:
        points = self.process.variances.shape[0]
        found = [values[i] if i < len(values) else rest * (i < points) for i in range(size)]
        return np.asarray(found) * self.scale

    def _spectrum(self, excess: float | None = None) -> tuple[Float[np.ndarray, " m"], float]:
        """Eigenvalues of E ΨᵀΨ, largest first, as many as there are few, and what all further ones are."""
        process = self.process
        xp, rows = arrays.namespace(self.kernel), process.residuals()
        gram = rows @ self.kernel @ rows.T
        values, vectors = xp.linalg.eigh((gram + gram.T) / 2)
        values = xp.clip(values, 0, None)
        kept = xp.clip(values - (_excess(values, gram) if excess is None else excess), 0, None)
        share = kept / xp.where(values > 0, values, xp.ones_like(values))
        missed, few, points = float(xp.sum(process.variances)), values.shape[0], process.variances.shape[0]
        within = rows.T @ (vectors * share) @ vectors.T @ rows * (missed / few)
        root = _root(process.coefficients.T @ process.coefficients + within)
        rest = missed * float(xp.sum(values) - xp.sum(kept)) / few / points
        found = _on_host(_eigenvalues(root, self.kernel))
        return found + rest, rest

    def _alignment(self, targets: Float[Array, "n c"] | None, norm: float) -> float:
        if targets is None:
            return float("nan")
        labels = float(arrays.namespace(targets).linalg.vector_norm(targets.T @ targets))
        both = norm * labels
        return self.sum_of(targets) / both if both > 0 else float("nan")

    def _drift(self, first: "Told") -> float:
        """Of the parts that P tells, where both are known point by point."""
        if first is self:
            return 0.0  # without rounding
        mine, theirs = (told.process.coefficients for told in (self, first))
        growth = self.scale / first.scale if first.scale else 1.0
        xp = arrays.namespace(mine)
        now, then = ((p.T @ p) @ k for p, k in ((mine, self.kernel), (theirs, first.kernel)))
        across = theirs.T @ mine
        cross = float(xp.sum((across @ self.kernel) * (first.kernel @ across)))
        before = _norm(then) ** 2
        moved = _norm(now) ** 2 * growth**2 - 2 * growth * cross + before
        if before <= 0:
            return 0.0 if moved <= 0 else float("inf")
        return (max(moved, 0.0) / before) ** 0.5


def _excess(values: Float[Array, " m"], gram: Float[Array, "m m"]) -> float:
    """What eigenvalues of the residuals' Gram matrix are to be lowered by; by bisection."""
    xp, few = arrays.namespace(gram), gram.shape[0]
    pairs = float(xp.sum(gram**2)) - float(xp.sum(xp.linalg.diagonal(gram) ** 2))
    wanted, found = pairs * few / max(few - 1, 1), _on_host(values)
    low, high = 0.0, float(found[-1])
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if np.sum(np.maximum(found - middle, 0) ** 2) > wanted else (low, middle)
    return low


def _diagonal(rows: Float[Array, "m m"], kernel: Float[Array, "m m"]) -> Float[Array, " m"]:
    """Of rows·kernel·rowsᵀ."""
    return arrays.namespace(rows).sum((rows @ kernel) * rows, axis=1)


def _on_host(values: Float[Array, " m"]) -> Float[np.ndarray, " m"]:
    return np.asarray(backend_of(values).to_numpy(values), dtype=np.float64)


def _squares(z: Float[Array, "n d"]) -> Float[Array, " n"]:
    """‖z‖² of rows."""
    return arrays.namespace(z).sum(arrays.in_float64(z) ** 2, axis=1)


def _root(gram: Float[Array, "m m"]) -> Float[Array, "m m"]:
    """R with RRᵀ the matrix."""
    xp = arrays.namespace(gram)
    values, vectors = xp.linalg.eigh((gram + gram.T) / 2)
    return vectors * xp.sqrt(xp.clip(values, 0, None))


def _eigenvalues(root: Float[Array, "m m"], kernel: Float[Array, "m m"]) -> Float[Array, " m"]:
    """Of RᵀKR, largest first."""
    xp = arrays.namespace(kernel)
    both = root.T @ kernel @ root
    return xp.flip(xp.clip(xp.linalg.eigvalsh((both + both.T) / 2), 0, None))


def _norm(product: Float[Array, "m m"]) -> float:
    """‖·‖_F of the symmetric matrix that has the eigenvalues of this product of two."""
    return max(float(arrays.namespace(product).sum(product * product.T)), 0.0) ** 0.5
