"""The ridge solution's own directions, then principal directions: label-aware distillation."""

import dataclasses
from collections.abc import Callable

from jaxtyping import Float

from dntk import arrays
from dntk._checks import check_seed, keep, positive_integer
from dntk._progress import Task, task
from dntk._target_checks import check_targets
from dntk.distill.gradients._by_chunks import distilled_by_chunks, goes_by_chunks
from dntk.distill.gradients.base import check_size, require_kernel
from dntk.distill.gradients.orthonormal import compressed, extended
from dntk.distilled_gradients import DistilledGradients, coverage_spectra, distil_along
from dntk.features import StoredFeatures, TangentFeatures
from dntk.ledger import count
from dntk.solve import _by_chunks as chunked
from dntk.solve._preconditioned_cg import Preconditioner, preconditioned_cg
from dntk.solve.choice import check_ridge
from dntk.solve.rules import Ridge, feature_ridge, rule_of
from dntk.spectrum.eigen import leading_eigenpairs
from dntk.types import Array


@dataclasses.dataclass(frozen=True)
class Solution:
    """The directions of the ridge solutions α_c = (K^c + λI)⁻¹y_c, then leading eigenvectors.

    Per class, one synthetic gradient along α_c already reproduces ridge regression on all m points exactly; with the
    principal directions beside it, the kernel lost is at most one principal direction more than the best possible:
    Σ_{i>s} λ_i ≤ tr(K − K_Π) ≤ Σ_{i≥s} λ_i (q directions with q solutions). Shared by all outputs, their mean
    trace residual is at least that of Σ_{i>s} λ_i(K^c) and at most Σ_{i>s−q} λ_i(K̄). Of shared directions
    s = C hold all solutions; fewer hold their principal components in the norm of K̄ + λI, the one that errors of
    the regression are measured in. α is computed by conjugate gradients preconditioned with leading eigenpairs,
    O(C·m·k) a step, no (m, m) array for many points. Stored features go by chunks as those of :class:`Principal`.

    Parameters
    ----------
    size
        Number s of synthetic gradients per output.
    ridge
        λ as for :func:`dntk.solve.ridge`; it is kept as ``.ridge`` of the result and should be the one used to solve.
        ``None``: that of the regression, which a :class:`dntk.DistilledNTK` hands over (:meth:`at_ridge`); by itself
        leave-one-out, which costs an eigendecomposition of min(m, k) per output.
    iterations
        Conjugate-gradient steps.
    rank
        Eigenpairs in the preconditioner, at least ``size``.
    seed
        Of the randomized eigensolver that is used beyond a few thousand points.
    per_output
        Directions of each output's own solution and kernel, or shared ones of all solutions and of K̄.
    multiples
        Ridges λ·t whose solutions the directions hold: (0.01, 1, 100) makes the distilled regression right along the
        path of ridges (a rational Krylov space), for one more direction each.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(2, 40, 8))), rng.normal(size=(40, 2))
    >>> grads = dntk.distill.gradients.Solution(1, ridge=1.0).distill(phi, y)
    >>> few = dntk.solve.ridge(grads, ridge=1.0)  # on one synthetic gradient an output
    >>> all_points = dntk.solve.ridge(phi, y, ridge=1.0)
    >>> grads.values.shape, np.allclose(few.predict(phi), all_points.predict(phi), atol=1e-4)
    ((2, 1, 8), True)
    """

    size: int
    ridge: Ridge | None = None
    iterations: int = 30
    rank: int = 40
    seed: int = 0
    per_output: bool = True
    multiples: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.multiples:
            msg = "`multiples` is empty: pass (1.0,) for the solution at the ridge itself."
            raise ValueError(msg)
        for multiple in self.multiples:
            check_ridge(multiple)
        if self.ridge is not None:
            rule_of(self.ridge)
        ranks = {name: positive_integer(name, getattr(self, name)) for name in ("size", "iterations", "rank")}
        keep(self, seed=check_seed(self.seed), **ranks)

    def at_ridge(self, ridge: float) -> "Solution":
        """The same for a regression with this λ; itself where it was given its own."""
        return dataclasses.replace(self, ridge=ridge) if self.ridge is None else self

    def distill(self, phi: TangentFeatures, targets: Float[Array, "m c"]) -> DistilledGradients:
        """Synthetic gradients along the solutions and the leading eigenvectors.

        Raises
        ------
        ValueError
            More gradients than points, zero features, a ridge that is not positive, or targets of another shape.
        """
        return self.distill_by(phi, targets, None)

    def distill_by(
        self, phi: TangentFeatures, targets: Float[Array, "m c"], kernels: Float[Array, "c m m"] | None
    ) -> DistilledGradients:
        """As :meth:`distill`, with every output's kernel in float64 where a regression has formed it already.

        It saves 4·C·m²·k operations or more of products up to a few hundred points, which are most of what there is
        to do. They are used with separate directions for every output up to 2,048 points.
        """
        if goes_by_chunks(phi, self.size, per_output=self.per_output):
            y = check_targets(targets, phi.sample.values, points=len(phi), outputs=phi.n_outputs)
            settled = dataclasses.replace(self, ridge=self._ridge_of(phi, y))
            return distilled_by_chunks(settled, phi, y, per_output=self.per_output)
        check_size(self.size, phi)
        require_kernel(phi)
        y = check_targets(targets, phi.values, points=len(phi), outputs=phi.n_outputs)
        ridge = self._ridge_of(phi, y)
        rank = min(len(phi), max(self.rank, self.size))
        known = kernels if self.per_output else None
        spectra = coverage_spectra(phi, per_output=self.per_output, size=rank, seed=self.seed, kernels=known)
        own = spectra if self.per_output else leading_eigenpairs(phi.values, rank, seed=self.seed)
        with task("solutions", total=phi.n_outputs, unit="outputs") as bar:
            pairs = own[0][..., :rank], own[1][..., :rank]
            alphas = self._solutions(phi.values, y, ridge, pairs, kernels, bar)
        vectors = spectra[1][..., : self.size]
        if self.per_output:
            images = alphas if alphas.shape[2] <= self.size else _images(phi.values, alphas, ridge)
            directions = _solutions_first(compressed(alphas, images, self.size), vectors, self.size)
        else:
            directions = self._shared(phi, alphas, vectors, ridge)
        return distil_along(phi, y, directions, ridge=ridge, spectra=spectra)

    def _ridge_of(self, phi: TangentFeatures, targets: Float[Array, "m c"]) -> float:
        rule: Ridge = "loo" if self.ridge is None else self.ridge
        if chunked.goes_by_chunks(phi, rule):
            assert isinstance(phi, StoredFeatures)
            return chunked.ChunkedProblem(features=phi, targets=targets).chosen(rule)
        return feature_ridge(rule, phi.values, targets)

    def _shared(
        self, phi: TangentFeatures, alphas: Float[Array, "c m q"], vectors: Float[Array, "m s"], ridge: float
    ) -> Float[Array, "m s"]:
        """All outputs' solutions as one block, or their principal components, then eigenvectors of K̄."""
        xp = arrays.namespace(alphas)
        c, m, q = alphas.shape
        block = xp.reshape(xp.permute_dims(alphas, (1, 2, 0)), (1, m, q * c))
        if q * c > self.size:
            repeated = xp.broadcast_to(block, (c, m, q * c))
            mean = xp.mean(_images(phi.values, repeated, ridge), axis=0)[None, :, :]
            block = compressed(block, mean, self.size)
        return _solutions_first(block, vectors[None, :, :], self.size)[0, :, :]

    def _solutions(
        self, features: Array, y: Array, ridge: float, pairs: tuple[Array, Array], kernels: Array | None, bar: Task
    ) -> Float[Array, "c m q"]:
        """α for every multiple of the ridge by conjugate gradients, in the precision of the eigenvectors."""
        xp, (values, vectors) = arrays.namespace(features), pairs
        found = []
        for c in bar.over(range(features.shape[0])):
            known = None if kernels is None else kernels[c : c + 1, :, :]
            multiply = self._kernel(features[c : c + 1, :, :], vectors.dtype, known)
            rhs = xp.astype(y[:, c], vectors.dtype, copy=False)[None, :]
            solutions = []
            for multiple in self.multiples:
                shift = multiple * ridge
                deflate = Preconditioner(values=values[c : c + 1, :], vectors=vectors[c : c + 1, :, :], ridge=shift)
                solutions.append(
                    preconditioned_cg(
                        lambda v, shift=shift, multiply=multiply: multiply(v) + shift * v,  # type: ignore[misc]
                        rhs,
                        deflate,
                        iterations=self.iterations,
                    ).solution
                )
            found.append(xp.stack(solutions, axis=2))
        return xp.concat(found, axis=0)

    def _kernel(
        self, features: Float[Array, "1 m k"], dtype: object, known: Float[Array, "1 m m"] | None
    ) -> Callable[[Array], Array]:
        """V ↦ K^c v, of the matrix where it is known or small and by products with the features elsewhere."""
        xp = arrays.namespace(features)
        if known is not None and known.dtype == dtype:
            count(flops=2 * known.shape[1] ** 2 * (self.iterations * len(self.multiples) + 1))
            return lambda v: (known @ v[:, :, None])[:, :, 0]
        wide = xp.astype(features, dtype, copy=False)
        _, m, k = features.shape
        steps = self.iterations * len(self.multiples)
        # A heuristic: one matrix product runs near the machine's peak, products with vectors wait for memory.
        kernel = wide @ wide.mT if m <= 20 * self.iterations else None
        count(flops=2 * m * m * k if kernel is not None else 4 * m * k * (steps + 1))

        def multiply(v: Float[Array, "1 m"]) -> Float[Array, "1 m"]:
            column = v[:, :, None]
            image = kernel @ column if kernel is not None else wide @ (wide.mT @ column)
            return image[:, :, 0]

        return multiply


def _images(features: Float[Array, "c m k"], columns: Float[Array, "c m q"], ridge: float) -> Float[Array, "c m q"]:
    """(K^c + λI)α, one output after another."""
    xp = arrays.namespace(columns)
    found = []
    for c in range(features.shape[0]):
        wide = xp.astype(features[c, :, :], columns.dtype, copy=False)
        found.append(wide @ (wide.T @ columns[c, :, :]) + ridge * columns[c, :, :])
    return xp.stack(found)


def _solutions_first(alphas: Float[Array, "g m q"], vectors: Float[Array, "g m s"], size: int) -> Float[Array, "g m s"]:
    """Orthonormal [v_1 … v_{s−q}, α_1 … α_q], further eigenvectors in place of solutions in the span of the others."""
    xp = arrays.namespace(alphas)
    kept = size - alphas.shape[2]
    return extended(vectors[..., :kept], xp.concat([alphas, vectors[..., kept:]], axis=2), size)
