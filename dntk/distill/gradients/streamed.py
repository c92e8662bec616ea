"""What one pass over the points leaves, and the regressions on it."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk.backend import backend_of
from dntk.bounds import Bound
from dntk.distill.gradients.frequent_directions import FrequentDirections
from dntk.distilled_gradients import row_basis
from dntk.features import TangentFeatures, require_comparable
from dntk.ledger import count
from dntk.solve.choice import check_ridge
from dntk.types import Array

_ROUNDING = 3.0  # of eps·N in sums and products: four times the c of "backward" in dntk.certificates.rounding


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamedFit:
    """Regression on streamed gradients for one ridge and task.

    Parameters
    ----------
    weights
        w (C, k).
    ridge
        λ, absolute.
    energy
        Bound (C,) on ‖w − w*‖ in the norm of ΨᵀΨ + λI for every output, w* the regression on all points: (‖g‖ +
        (Δ/2)‖w‖)/√λ with g = b − (BᵀB + (λ + Δ/2)I)w.
    sketch
        Sketch of the features.
    """

    weights: Float[Array, "c k"]
    ridge: float
    energy: Bound
    sketch: Any = None

    def predict(self, phi: TangentFeatures) -> Float[Array, "n c"]:
        """Predictions ⟨w_c, ψ_c(x)⟩.

        Raises
        ------
        ValueError
            The features have another number of outputs or dimensions, or were made by another sketch.
        """
        require_comparable(self.weights[:, None, :], self.sketch, phi, "phi")
        return (phi.values @ self.weights[:, :, None])[:, :, 0].T

    def prediction_bound(self, phi: TangentFeatures) -> Bound:
        """Bound (n, C) on the distance to the prediction of w*: ‖ψ(x)‖/√λ times the energy bound."""
        xp = arrays.namespace(phi.values)
        energy: Any = self.energy.value
        wide = xp.astype(phi.values, energy.dtype, copy=False)
        norms = xp.sqrt(xp.sum(wide**2, axis=2)).T * (1 + _ROUNDING * arrays.epsilon(wide) * phi.dim)
        return dataclasses.replace(self.energy, value=norms * (energy * self.ridge**-0.5)[None, :])


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamedGradients:
    """Frequent Directions of the features and their products with the targets, from :class:`Streaming`.

    Parameters
    ----------
    sketches
        One of every output's features, or a single one of the joined features.
    products
        b = Ψᵀy, (T, C, k) for T tasks.
    energies, target_energies
        ‖Ψ^c‖_F² (C,), ‖y‖² (T, C).
    points
        Number of points seen.
    like
        Features of one point, for what may be compared with these.
    """

    sketches: tuple[FrequentDirections, ...]
    products: Float[Array, "t c k"]
    energies: Float[Array, " c"]
    target_energies: Float[Array, "t c"]
    points: int
    like: TangentFeatures

    @property
    def size(self) -> int:
        """Number s of rows per output."""
        return self.sketches[0].rows.shape[0]

    @property
    def rows(self) -> Float[Array, "c s k"]:
        """B^c of every output: s combinations of its tangent features."""
        xp = arrays.namespace(self.products)
        c, k = self.products.shape[1:]
        if len(self.sketches) == c:
            return xp.stack([sketch.rows for sketch in self.sketches])
        joined = xp.reshape(self.sketches[0].rows, (self.size, c, k))
        return xp.permute_dims(joined, (1, 0, 2)) * c**0.5

    @property
    def shift(self) -> Float[Array, " c"]:
        """Δ_c with 0 ≤ Ψ^cᵀΨ^c − B^cᵀB^c ≤ Δ_c I: the sketch's own (times C if shared), or what the trace lacks."""
        xp = arrays.namespace(self.products)
        c = self.products.shape[1]
        if len(self.sketches) == c:
            own = [sketch.shift for sketch in self.sketches]
        else:
            own = [self.sketches[0].shift * c] * c
        stated = xp.asarray(own, dtype=self.products.dtype, device=arrays.device_of(self.products))
        lacking = xp.clip(self.energies - xp.sum(self.rows**2, axis=(1, 2)), min=0)
        return xp.where(lacking < stated, lacking, stated)

    def merged(self, other: "StreamedGradients") -> "StreamedGradients":
        """Of the points of both.

        Raises
        ------
        ValueError
            They are of other features, sizes, tasks, or one is shared and the other per class.
        """
        self.like.require_comparable(other.like, "other")
        mine = (len(self.sketches), self.size, self.products.shape[0])
        theirs = (len(other.sketches), other.size, other.products.shape[0])
        if mine != theirs:
            msg = f"`other` has (sketches, size, tasks) {theirs}, these have {mine}: stream both with one `Streaming`."
            raise ValueError(msg)
        return dataclasses.replace(
            self,
            sketches=tuple(a.merged(b) for a, b in zip(self.sketches, other.sketches, strict=True)),
            products=self.products + other.products,
            energies=self.energies + other.energies,
            target_energies=self.target_energies + other.target_energies,
            points=self.points + other.points,
        )

    def solve(self, ridge: float, *, task: int = 0) -> StreamedFit:
        """Robust Frequent Directions, w = (BᵀB + (λ + Δ/2)I)⁻¹Ψᵀy: O(C·s²·k), no further pass.

        Any ridge and task at no new pass. ‖w − w*‖ ≤ (Δ/2)‖w‖/λ, which ``.energy`` states.

        Raises
        ------
        ValueError
            A ridge that is not positive, or a task that was not streamed.
        """
        products = self._products(task, ridge)
        xp = arrays.namespace(products)
        lifted = ridge + self.shift / 2
        # Woodbury: on the s rows the system is BBᵀ + (λ + Δ/2)I; the rest of b is divided by λ + Δ/2.
        rows = self.rows
        identity = xp.eye(self.size, dtype=rows.dtype, device=arrays.device_of(rows))
        inner = rows @ rows.mT + lifted[:, None, None] * identity
        count(flops=rows.shape[0] * (2 * self.size**2 * rows.shape[2] + self.size**3))
        coefficients = xp.linalg.solve(inner, rows @ products[:, :, None])
        weights = (products - (rows.mT @ coefficients)[:, :, 0]) / lifted[:, None]
        return self._fit(weights, ridge, task)

    def same_span(self, features: Iterable[TangentFeatures], ridge: float, *, task: int = 0) -> StreamedFit:
        """Minimise ‖Ψw − y‖² + λ‖w‖² over the span of the rows and of Ψᵀy, by a second pass over the features.

        No shift is needed, as ΨᵀΨ is known on the span: O(n·C·s·k), memory O(C·s²).

        Raises
        ------
        ValueError
            As :meth:`solve`; also where the second pass has other points in number or features of another kind.
        """
        products = self._products(task, ridge)
        xp = arrays.namespace(products)
        basis = row_basis(xp.concat([self._scaled(products)[:, None, :], self.rows], axis=1))
        c, r, _ = basis.shape
        gram = xp.zeros((c, r, r), dtype=basis.dtype, device=arrays.device_of(basis))
        points = 0
        for phi in features:
            self.like.require_comparable(phi, "chunk")
            projected = xp.astype(phi.values, basis.dtype, copy=False) @ basis.mT
            gram = gram + projected.mT @ projected
            points += len(phi)
        if points != self.points:
            msg = f"the second pass had {points} points, but the first {self.points}: pass the same features again."
            raise ValueError(msg)
        solved = self._solved(gram, ridge, basis @ products[:, :, None])
        return self._fit((basis.mT @ solved)[:, :, 0], ridge, task)

    def _solved(self, gram: Float[Array, "c r r"], ridge: float, rhs: Float[Array, "c r 1"]) -> Float[Array, "c r 1"]:
        xp, backend = arrays.namespace(gram), backend_of(gram)
        identity = xp.eye(gram.shape[1], dtype=gram.dtype, device=arrays.device_of(gram))
        found = []
        for c in range(gram.shape[0]):
            factor = xp.linalg.cholesky(gram[c, :, :] + ridge * identity)
            half = backend.triangular_solve(factor, rhs[c, :, :], lower=True)
            found.append(backend.triangular_solve(factor.T, half, lower=False))
        return xp.stack(found)

    def _scaled(self, products: Float[Array, "c k"]) -> Float[Array, "c k"]:
        """Ψᵀy as long as the longest row, so that neither is rounding beside the other."""
        xp = arrays.namespace(products)
        longest = xp.max(xp.abs(self.rows), axis=(1, 2))
        own = xp.max(xp.abs(products), axis=1)
        return products * (longest / xp.where(own > 0, own, xp.ones_like(own)))[:, None]

    def _products(self, task: int, ridge: float) -> Float[Array, "c k"]:
        check_ridge(ridge)
        if not 0 <= task < self.products.shape[0]:
            msg = (
                f"`task`={task} of {self.products.shape[0]} that were streamed: pass 0 to {self.products.shape[0] - 1}."
            )
            raise ValueError(msg)
        return self.products[task, :, :]

    def _fit(self, weights: Float[Array, "c k"], ridge: float, task: int) -> StreamedFit:
        """With the bound that the sketch gives any weights."""
        dtype = self.like.values.dtype
        return StreamedFit(
            weights=arrays.namespace(weights).astype(weights, dtype, copy=False),
            ridge=float(ridge),
            energy=Bound(
                value=self._energy(weights, ridge, task), theorem="gradient of the objective, Frequent Directions"
            ),
            sketch=self.like.sketch,
        )

    def _energy(self, weights: Float[Array, "c k"], ridge: float, task: int) -> Float[Array, " c"]:
        xp = arrays.namespace(weights)
        rows, half, products = self.rows, self.shift / 2, self.products[task, :, :]
        images = (rows.mT @ (rows @ weights[:, :, None]))[:, :, 0]
        gradient = products - images - (ridge + half)[:, None] * weights
        norm = xp.sqrt(xp.sum(weights * weights, axis=1))
        energy = (xp.sqrt(xp.sum(gradient * gradient, axis=1)) + half * norm) * ridge**-0.5
        # Of Ψᵀy and of the rows, as if of more E: sums over all points, in the order of ‖Ψ‖_F‖y‖ and ‖Ψ‖_F²‖w‖.
        unit = _ROUNDING * arrays.epsilon(rows) * max(self.points, rows.shape[2])
        # Outputs that share their rows share the rounding of all.
        reach = self.energies if len(self.sketches) == rows.shape[0] else rows.shape[0] * xp.sum(self.energies)
        size = (reach + ridge + half) * norm + xp.sqrt(self.energies * self.target_energies[task, :])
        # Weights are stored in the dtype of the features, which moves them by half a unit in the last place.
        stored = arrays.epsilon(self.like.values) / 2 * xp.sqrt(self.energies + ridge) * norm
        return energy + unit * size * ridge**-0.5 + stored
