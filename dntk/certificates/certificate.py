"""The certificate: what an approximation of a kernel lost, each statement with its theorem and confidence."""

import dataclasses
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk._text import printable
from dntk.bounds import Bound, Intervals, Kind
from dntk.certificates import verdict
from dntk.certificates.prediction import pointwise, posterior_variance
from dntk.certificates.rounding import allowance
from dntk.certificates.tolerance_outcome import ToleranceOutcome
from dntk.features import TangentFeatures
from dntk.ledger import StageCost
from dntk.types import Array

NOT_STORED = ("pointwise", "cost")
"""What a certificate's plain form leaves out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageError:
    """What one stage lost: a relative error, what it is relative to, and whence it is known (``dntk.bounds.Kind``)."""

    stage: str
    error: float
    measure: str
    theorem: str
    kind: Kind = "deterministic"

    @printable
    def __str__(self) -> str:
        return f"{self.stage:12} {self.error:.2%} {self.measure} ({self.theorem})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PointwiseBound:
    """What bounds at single points need: the span, its singular values, gᵀH⁻¹g (C,), λ and the features' sketch.

    With the regression on the reference solved anew, w̃: what the predictors differ from it, w − w̃ (q, C, k), and its
    own g̃ᵀH⁻¹g̃.
    """

    basis: Float[Array, "c s k"]
    squares: Float[Array, "c s"]
    energy: Bound
    ridge: float
    sketch: Any = None
    apart: Float[Array, "q c k"] | None = None
    solved: Bound | None = None

    def __call__(self, phi: TangentFeatures) -> Bound:
        """Bound (q, C) on |f̂_c(x) − f*_c(x)| at points given by their features."""
        TangentFeatures(self.basis, self.sketch).require_comparable(phi, "phi")
        variance = posterior_variance(phi.values, self.basis, self.squares, ridge=self.ridge)
        bound = pointwise(variance, self.energy, ridge=self.ridge)
        if self.apart is None or self.solved is None:
            return bound
        xp = arrays.namespace(variance)
        psi = xp.astype(phi.values, variance.dtype, copy=False)
        rest = pointwise(variance, self.solved, ridge=self.ridge)
        # Inner products of k terms, and their rounding.
        found = xp.max(xp.abs(self.apart[:, :, None, :] @ psi.mT[None, ...])[:, :, 0, :], axis=0).T
        lengths = xp.max(xp.sum(self.apart**2, axis=2), axis=0)[:, None] * xp.sum(psi**2, axis=2)
        slack = allowance("prediction", arrays.epsilon(psi), phi.dim, 1.0) * xp.sqrt(lengths).T
        better = rest.value + found + slack
        return dataclasses.replace(
            rest, value=xp.minimum(bound.value, better), theorem=f"{rest.theorem}; or {bound.theorem}"
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Certificate:
    """Bounds on what an approximation of the kernels of n points lost; all hold together with ``confidence``.

    Parameters
    ----------
    points, outputs, confidence
        n, C, and the probability, over the estimators' seeds, that no bound fails.
    trace, largest
        tr K̄ and the lower bound of λ_1(K̄), which errors are set against.
    eigenvalue_intervals
        Of the leading eigenvalues of the reference's mean kernel K̄.
    spectral_error, frobenius_error, trace_error
        Of K̄ less its approximation. The trace error is the nuclear norm where the approximation is a projection, and
        the difference of the traces otherwise.
    pca_tail, misalignment_gap
        The part of the trace error that no span of as many features per output avoids, and the rest, which this one
        could have avoided. None for approximations that are no projections.
    prediction_error
        (C,): root mean square over the reference of f̂_c − f*_c, f* the ridge regression on the reference with the same
        ridge. For synthetic gradients it covers the Galerkin and the same-span predictor. Of weights as they are
        stored, in exact arithmetic: a sum of k products ⟨w, ψ⟩ in the features' own dtype may be another
        (k + 2)·eps/2·Σ_j|w_j ψ_j| away.
    energy_error
        (C,): excess of the regression objective, ‖Ψ(w − w*)‖² + λ‖w − w*‖².
    unsketched_eigenvalue_intervals, unsketched_trace_error
        Of the kernel of the same points without sketch, where the sketch's family has a theorem that reaches so far.
    dropped_residual
        (1,): mean tangent residual of the points that were not kept, from a sample of them.
    ridge, target_norm
        λ, and the root mean square of the targets.
    stages
        What each stage lost.
    rows_of
        Of a fit with one regression for all outputs (:class:`dntk.solve.Joint`, :class:`dntk.solve.Functionals`), how
        many points its rows are of. ``points`` then counts rows, ``outputs`` is 1, and K̄ is the kernel of those rows,
        for :class:`dntk.solve.Joint` the block of the full kernel. None elsewhere.
    tolerance
        Whether the fit met the tolerance that was asked of it, and what stopped it.
    pointwise
        Bounds at single points, see :meth:`prediction_bound`.
    cost
        What it took; None of one that was read from a file.
    """

    points: int
    outputs: int
    confidence: float
    trace: float
    largest: float
    eigenvalue_intervals: Intervals
    spectral_error: Bound
    frobenius_error: Bound
    trace_error: Bound
    pca_tail: Intervals | None = None
    misalignment_gap: Bound | None = None
    prediction_error: Bound | None = None
    energy_error: Bound | None = None
    unsketched_eigenvalue_intervals: Intervals | None = None
    unsketched_trace_error: Bound | None = None
    dropped_residual: Intervals | None = None
    ridge: float | None = None
    target_norm: float | None = None
    stages: tuple[StageError, ...] = ()
    rows_of: int | None = None
    tolerance: ToleranceOutcome | None = None
    pointwise: PointwiseBound | None = None
    cost: StageCost | None = None

    def prediction_bound(self, phi: TangentFeatures) -> Bound:
        """Bound (q, C) on |f̂_c(x) − f*_c(x)| at any points, from their features.

        |⟨ψ, w − w̃⟩| + √(v̂(x)/λ)(g̃ᵀH⁻¹g̃)^{1/2} with the reference's solution w̃ and the gradient g̃ that rounding left it:
        the distance itself, nearly. Where more than 2,048 points and features forbid w̃, or λ drowns in the rounding of
        the device, √(v̂(x)/λ)(gᵀH⁻¹g)^{1/2}, often hundreds of times the distance. Cost O(q·C·s·k).

        Raises
        ------
        ValueError
            The certificate was made without targets, or of an approximation whose predictor is not linear in these
            features; or features of another model or sketch.
        """
        if self.pointwise is None:
            msg = (
                "this certificate has no pointwise bound: it needs targets, and a Selection, DistilledGradients or "
                "DistilledNTK as approximation."
            )
            raise ValueError(msg)
        return self.pointwise(phi)

    @property
    def worst_stage(self) -> StageError | None:
        """The stage that lost most; the earlier one where two lost the same."""
        return max(self.stages, key=lambda stage: stage.error) if self.stages else None

    @printable
    def __str__(self) -> str:
        """A verdict in words, from the kernel to the predictor and the stages."""
        worst = self.worst_stage
        lines = [
            f"certificate of {self._subject}; all statements together with probability {self.confidence:.6g}",
            verdict.kernel_line(self.trace_error, self.trace, self.spectral_error, self.largest),
            *verdict.tail_lines(self.pca_tail, self.misalignment_gap, self.trace),
            verdict.eigenvalues_line(self.eigenvalue_intervals),
            *verdict.prediction_lines(self.prediction_error, self.target_norm or 0.0),
            *verdict.unsketched_lines(self.unsketched_eigenvalue_intervals, self.unsketched_trace_error, self.trace),
            *verdict.dropped_lines(self.dropped_residual),
            *(str(stage) for stage in self.stages),
        ]
        if worst is not None:
            lines.append(f"verdict      {worst.stage} lost most: {worst.error:.2%} {worst.measure}")
        if self.tolerance is not None:
            lines.append(f"tolerance    {self.tolerance}")
        return "\n".join(lines)

    @property
    def _subject(self) -> str:
        """What the kernel is of, in words."""
        if self.rows_of is None:
            return f"{self.points} points, {self.outputs} outputs"
        return f"one regression for all outputs, on {self.points} rows of {self.rows_of} points"

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers, lists and strings, without the pointwise bound and the cost; see :meth:`from_dict`."""
        out: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in NOT_STORED:
                continue
            if isinstance(value, Bound | Intervals | ToleranceOutcome):
                value = value.to_dict()
            elif field.name == "stages":
                value = [dataclasses.asdict(stage) for stage in value]
            out[field.name] = value
        return out

    @staticmethod
    def from_dict(stored: dict[str, Any], like: Array) -> "Certificate":
        """The certificate that :meth:`to_dict` described, its arrays beside ``like``; without what it leaves out."""
        xp, device = arrays.namespace(like), arrays.device_of(like)

        def array(values: Any) -> Any:
            if isinstance(values, list):
                return xp.asarray(values, dtype=arrays.accumulation_dtype(like), device=device)
            return values

        fields = dict(stored)
        for name, value in stored.items():
            if name == "tolerance":
                fields[name] = None if value is None else ToleranceOutcome.from_dict(value)
            elif isinstance(value, dict) and "lower" in value:
                fields[name] = Intervals(**value | {"lower": array(value["lower"]), "upper": array(value["upper"])})
            elif isinstance(value, dict):
                fields[name] = Bound(**value | {"value": array(value["value"])})
        fields["stages"] = tuple(StageError(**stage) for stage in stored["stages"])
        return Certificate(**fields)
