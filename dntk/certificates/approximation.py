"""What can be certified: spans of features with predictors in them, and features in other coordinates."""

import dataclasses
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float

from dntk import arrays
from dntk._checks import kind_of
from dntk._target_checks import check_targets
from dntk.distill.data import Selection
from dntk.distilled_gradients import DistilledGradients, row_basis
from dntk.features import StoredFeatures, TangentFeatures
from dntk.ledger import count_product
from dntk.solve._by_chunks import ChunkedProblem, goes_by_chunks
from dntk.solve._ridge import ridge as solve_ridge
from dntk.solve._ridge import ridge_in_span
from dntk.solve._same_span import same_span
from dntk.solve.rules import Ridge, feature_ridge
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Span:
    """K_Π = ΨΠΨᵀ for projectors Π on spans of features, and predictors ⟨w, ψ⟩.

    Parameters
    ----------
    basis
        Orthonormal rows (C, s, k), right singular vectors of the synthetic gradients; zero rows where these are
        dependent.
    squares
        Their squared singular values (C, s).
    weights
        Predictors (q, C, k) that the bounds have to hold for; none without targets.
    stage
        Which stage of the pipeline this is.
    """

    basis: Float[Array, "c s k"]
    squares: Float[Array, "c s"]
    weights: tuple[Float[Array, "c k"], ...] = ()
    stage: str = "gradients"


@runtime_checkable
class FittedPredictor(Protocol):
    """A predictor in a span of features, such as :class:`dntk.Fit`."""

    @property
    def span(self) -> Span:
        """What was kept, and the predictor in it."""

    @property
    def ridge(self) -> float:
        """λ of its regression."""

    @property
    def sketch(self) -> Any:
        """Sketch of its features."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class OtherFeatures:
    """K̂ = Ψ̂Ψ̂ᵀ from features of the same points in other coordinates, such as under another sketch."""

    values: Float[Array, "c n k2"]
    stage: str = "sketch"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Regression:
    """Targets (n, C) and ridge λ that define f*."""

    targets: Float[Array, "n c"]
    ridge: float


def regression_on(
    reference: TangentFeatures, approximation: Any, targets: Array | None, ridge: Any
) -> Regression | None:
    """Targets and ridge of the regression on the reference, from what was passed or is known; None without targets."""
    if targets is None and isinstance(approximation, DistilledGradients):
        known = approximation.reference_targets
        targets = known if known.shape[0] == len(reference) else None
    if targets is None:
        return None
    y = check_targets(targets, reference.sample.values, points=len(reference), outputs=reference.n_outputs)
    if ridge is None and isinstance(approximation, DistilledGradients):
        return Regression(targets=y, ridge=ridge_in_span(approximation, None, "loo"))
    if ridge is None and isinstance(approximation, FittedPredictor):
        return Regression(targets=y, ridge=approximation.ridge)
    rule: Ridge = "loo" if ridge is None else ridge
    if isinstance(reference, StoredFeatures) and goes_by_chunks(reference, rule):
        return Regression(targets=y, ridge=ChunkedProblem(features=reference, targets=y).chosen(rule))
    return Regression(targets=y, ridge=feature_ridge(rule, reference.values, y))


def as_approximation(
    reference: TangentFeatures, approximation: Any, regression: Regression | None
) -> Span | OtherFeatures:
    """What ``approximation`` is, checked against the reference.

    Raises
    ------
    TypeError
        Nothing that can be certified.
    ValueError
        Other outputs, dimensions, points or sketch than the reference's.
    """
    if isinstance(approximation, DistilledGradients):
        return _of_gradients(reference, approximation, regression)
    if isinstance(approximation, Selection):
        return _of_selection(reference, approximation, regression)
    if isinstance(approximation, TangentFeatures):
        _require_same_points(reference, approximation)
        return OtherFeatures(values=approximation.values)
    if isinstance(approximation, FittedPredictor):
        span = approximation.span
        if span.basis.shape[0] == 1 < reference.n_outputs:
            msg = (
                "`approximation` is a fit of one regression for all outputs, and `reference` has "
                f"{reference.n_outputs} outputs: pass their rows and the targets of those, "
                "dntk.solve.Joint().rows(phi, y)."
            )
            raise ValueError(msg)
        reference.require_comparable(TangentFeatures(span.basis, approximation.sketch), "approximation")
        return span
    msg = (
        f"`approximation` is {kind_of(approximation)}: expected DistilledGradients, a Selection, "
        "TangentFeatures of the same points, or a fit of a DistilledNTK."
    )
    raise TypeError(msg)


def span_of(
    synthetic: Float[Array, "c r k"],
    basis: Float[Array, "c s k"],
    weights: tuple[Float[Array, "c k"], ...] = (),
    stage: str = "gradients",
    *,
    dtype: Any = None,
) -> Span:
    """Span of synthetic gradients, from rows that span it; the basis is turned to their singular vectors.

    One output after another in float64 where the device has it; it is returned in that or in ``dtype``.
    """
    xp = arrays.namespace(basis)
    kept = arrays.accumulation_dtype(basis) if dtype is None else dtype
    turned, squares = [], []
    for c in range(basis.shape[0]):
        b = orthonormal_rows(arrays.in_float64(basis[c, :, :]))
        count_product(synthetic[c, :, :], b.mT)
        image = arrays.in_float64(synthetic[c, :, :]) @ b.mT
        scale = xp.max(xp.abs(image))
        scale = xp.where(scale > 0, scale, xp.ones_like(scale))
        _, singular, turn = xp.linalg.svd(image / scale, full_matrices=False)
        turned.append(xp.astype(turn @ b, kept, copy=False))
        squares.append(xp.astype((singular * scale) ** 2, kept, copy=False))
    return Span(basis=xp.stack(turned), squares=xp.stack(squares), weights=weights, stage=stage)


def orthonormal_rows(basis: Float[Array, "*c s k"]) -> Float[Array, "*c s k"]:
    """Nearly orthonormal rows made orthonormal to the last bits, zero rows left zero, by two Newton steps."""
    for _ in range(2):
        count_product(basis, basis.mT)
        count_product(basis, basis.mT)
        basis = 1.5 * basis - 0.5 * ((basis @ basis.mT) @ basis)
    return basis


def _of_gradients(reference: TangentFeatures, grads: DistilledGradients, regression: Regression | None) -> Span:
    reference.require_comparable(TangentFeatures(grads.basis, grads.sketch), "approximation")
    weights: tuple[Array, ...] = ()
    if regression is not None:
        own = _other_targets(reference, grads, regression.targets)
        better = same_span(grads, own, ridge=regression.ridge).weights
        weights = (better, solve_ridge(grads, own, ridge=regression.ridge).weights)
    return span_of(grads.values, grads.basis, weights)


def _other_targets(reference: TangentFeatures, grads: DistilledGradients, targets: Array) -> Array | None:
    """Targets that the distillation does not know; None for its own.

    The synthetic ones of its own are stored. Summed anew they may be rounded otherwise, and another predictor be
    certified than the one that is used.
    """
    if grads.projected.shape[1] != len(reference):
        return None
    xp = arrays.namespace(targets)
    return None if bool(xp.all(targets == grads.reference_targets)) else targets


def _of_selection(reference: TangentFeatures, selection: Selection, regression: Regression | None) -> Span:
    kept = reference[selection.indices]
    weights: tuple[Array, ...] = ()
    if regression is not None:
        xp = arrays.namespace(regression.targets)
        y = xp.take(regression.targets, selection.indices, axis=0)
        weights = (solve_ridge(kept, y, ridge=regression.ridge).weights,)
    # More points than features span no more than the features do.
    basis = row_basis(kept.values)[:, : min(len(kept), kept.dim), :]
    return span_of(kept.values, basis, weights, stage="data")


def _require_same_points(reference: TangentFeatures, other: TangentFeatures) -> None:
    arrays.require_same_place(reference=reference.sample.values, approximation=other.sample.values)
    if (reference.n_outputs, len(reference)) != (other.n_outputs, len(other)):
        msg = (
            f"`approximation` has {other.n_outputs} outputs at {len(other)} points, the reference "
            f"{reference.n_outputs} at {len(reference)}: features can only be compared at the same points."
        )
        raise ValueError(msg)
