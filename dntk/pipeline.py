"""The whole pipeline behind one estimator: coreset, sketched features, synthetic gradients, ridge regression."""

import dataclasses
import functools
from pathlib import Path
from typing import Literal

from jaxtyping import Float, Int, Integer

from dntk import arrays
from dntk.batching import choose_batch_size
from dntk.certify.approximation import Span, span_of
from dntk.certify.certificate import Certificate
from dntk.certify.compose import certify
from dntk.certify.prediction import posterior_variance
from dntk.certify.stages import with_earlier_stages
from dntk.distill.data import DataDistiller, DataSelector, DistilledData
from dntk.distill.data.kept_data import KeptData, distilled, kept, selected
from dntk.distill.gradients import GradientDistiller
from dntk.distilled_gradients import DistilledGradients, row_basis, trace_residual
from dntk.features import TangentFeatures, tangent_features
from dntk.fitted_state import FittedState
from dntk.gradient_blocks.dense import itemsize
from dntk.ledger import Ledger, LedgerRecorder
from dntk.losses import Losses
from dntk.metrics import accuracy, fidelity, predicted_labels
from dntk.model import Model, outputs_of
from dntk.outputs import cotangents_for
from dntk.random import check_seed
from dntk.sketch import Sketch, SketchPlan, choose
from dntk.solve.ridge import Ridge, feature_ridge, ridge
from dntk.solve.ridge_fit import RidgeFit
from dntk.solve.same_span import same_span
from dntk.spectrum import condition_number, eigenvalues, truncation_rank
from dntk.targets import check_labels, check_targets, one_hot
from dntk.types import Array

_SMALL = 4096
"""Parameters up to which gradients are kept whole where the sketch is chosen automatically."""


class NotFittedError(ValueError):
    """An estimator was asked for something that only a fitted one knows."""


class DistilledNTK:
    """A distilled kernel and its predictor, fitted to a network's outputs or to labels.

    Parameters
    ----------
    model
        From :func:`dntk.as_model`.
    data
        Selector of points such as ``dntk.distill.data.RPCholesky(500)``; it sees features of one functional, one
        backward pass per point. Or an objective that makes inputs, such as ``dntk.distill.data.Wasserstein(50)``, or
        the ``DistilledData`` that one has made. ``None``: all points.
    sketch
        A sketch, or a plan of :func:`dntk.sketch.choose`; ``None``: all P coordinates; ``"auto"``: none up to 4,096
        parameters, else the plan for the points of the fit, a relative kernel error of 5% at 95% confidence.
    gradients
        Distiller of gradients such as ``dntk.distill.gradients.Solution(5)``; the regression is then solved in the
        span of its synthetic gradients. ``None``: no distillation of gradients.
    ridge
        As for :func:`dntk.solve.ridge`; chosen on the features of the kept points, before gradients are distilled.
    seed
        Of the automatic sketch.

    Attributes
    ----------
    ledger_, losses_, spectrum_, indices_
        After :meth:`fit`: costs per stage, what each stage lost, eigenvalues of K̄ on the kept points, and the kept
        points' positions (``None`` where inputs were distilled, which are then ``data_``).
    """

    def __init__(
        self,
        model: Model,
        data: DataSelector | DataDistiller | DistilledData | None = None,
        sketch: Sketch | SketchPlan | Literal["auto"] | None = "auto",
        gradients: GradientDistiller | None = None,
        ridge: Ridge = "loo",
        seed: int = 0,
    ) -> None:
        if not isinstance(model, Model):
            msg = f"`model` is a {type(model).__name__}: wrap the network first, model = dntk.as_model(net)."
            raise TypeError(msg)
        if isinstance(sketch, str) and sketch != "auto":
            msg = f"`sketch`={sketch!r}: expected a sketch, None, or 'auto'."
            raise ValueError(msg)
        check_seed(seed)
        self.model, self.data, self.sketch = model, data, sketch
        self.gradients, self.ridge, self.seed = gradients, ridge, seed
        self._state: FittedState | None = None
        self._tangents: Array | None = None

    def fit(self, x: Array, y: Array | None = None) -> "DistilledNTK":
        """Distil the kernel at the points ``x`` and fit its predictor.

        Parameters
        ----------
        x
            Inputs of the model.
        y
            Targets (n, C), or integer class labels (n,), which become centred one-hot targets; default: the
            network's own outputs. At distilled inputs targets are the network's outputs too, or, where labels are
            given, those of the distilled data. An objective that needs classes and is given no labels takes those
            that the network predicts.

        Raises
        ------
        TypeError, ValueError
            Inputs that the model does not take, that are empty or not finite; targets or labels of another length,
            of one class, or not finite; more points or gradients asked than there are; a network whose tangent
            features are zero.
        """
        self.model.check_inputs(x)
        targets = self._targets(x, y)
        recorder = LedgerRecorder()
        with recorder.stage("data") as cost:
            sketch = self._resolved_sketch(x)
            points = self._kept(x, y, targets, sketch)
            cost.nbytes = points.nbytes
        with recorder.stage("features") as cost:
            phi = tangent_features(self.model, points.x, sketch=sketch)
            cost.nbytes = _nbytes(phi.values)
        with recorder.stage("ridge") as cost:
            chosen = feature_ridge(self.ridge, phi.values, points.targets)
        with recorder.stage("gradients") as cost:
            fit, grads = self._regress(phi, points.targets, chosen)
            span = _span(phi, grads)
            cost.nbytes = _nbytes(span.basis) + _nbytes(fit.weights)
        with recorder.stage("spectrum"):
            spectrum = eigenvalues(phi)
        losses = Losses(
            points=x.shape[0],
            kept_points=len(phi),
            data_trace_residual=points.residual,
            sketch_relative_error=_sketch_error(sketch, phi, spectrum),
            gradient_trace_residual=_left_out(phi, span) if grads is None else grads.trace_residual,
            coverage_gap=0.0 if grads is None else grads.gap,
            gradients=span.basis.shape[1],
            truncation_rank=truncation_rank(spectrum),
            condition_number=condition_number(spectrum, chosen),
            loo_error=fit.loo_error,
            fidelity=fidelity(fit.predict(phi), points.targets if y is None else self.model(points.x)),
        )
        self._state = FittedState(
            weights=fit.weights,
            basis=_like(span.basis, phi),
            squares=_like(span.squares, phi),
            sketch=phi.sketch,
            ridge=chosen,
            spectrum=spectrum,
            indices=points.indices,
            losses=losses,
            certified=functools.cache(
                functools.partial(_certified, phi, grads, points.targets, chosen, losses=losses, seed=self.seed)
            ),
            ledger=recorder.ledger(),
            data=points.data,
        )
        self._tangents = None
        return self

    def predict(self, x: Array) -> Float[Array, "n c"]:
        """Predicted outputs f̂_c(x) = ⟨w_c, φ_c(x)⟩: one Jacobian-vector product per class, no gradient and no sketch.

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        TypeError, ValueError
            Inputs that the model does not take.
        """
        state = self._fitted()
        self.model.check_inputs(x)
        xp = self.model.namespace
        if self._tangents is None:
            self._tangents = state.weights if state.sketch is None else state.sketch.adjoint(state.weights)
        # A product's memory is that of a few forward passes, well below the blocks that this size is made for.
        size = choose_batch_size(self.model, x, self._one_cotangent(), None)
        pieces = [
            _diagonal(self.model.jvp(x[start:stop, ...], self._tangents))
            for start, stop in arrays.spans(x.shape[0], size)
        ]
        return xp.concat(pieces, axis=0)

    def predict_label(self, x: Array) -> Int[Array, " n"]:
        """Class of the largest predicted output, the lower one where two are equal."""
        return predicted_labels(self.predict(x))

    def score(self, x: Array, y: Integer[Array, " n"]) -> float:
        """Accuracy: share of points whose predicted class is the label."""
        check_labels("y", y, points=x.shape[0])
        return accuracy(self.predict(x), y)

    def fidelity(self, x: Array) -> float:
        """Share of points where the predictor and the network choose the same class."""
        return fidelity(self.predict(x), outputs_of(self.model, x))

    def kernel(self, x1: Array, x2: Array | None = None) -> Float[Array, "n1 n2"]:
        """Distilled mean kernel: that of the features projected on the span that was kept."""
        left = self._projected(x1)
        return left.kernel(None if x2 is None else self._projected(x2))

    def trust(self, x: Array) -> Float[Array, " n"]:
        """Tangent residual per query, Σ_c‖(I − Π_c)ψ_c(x)‖² / Σ_c‖ψ_c(x)‖², in [0, 1].

        Near 0 the query's gradients lie in the span that was kept; near 1 the prediction rests on nothing (0 for
        queries whose features are zero).
        """
        state = self._fitted()
        phi = tangent_features(self.model, x, sketch=state.sketch)
        xp = self.model.namespace
        total = xp.sum(phi.values**2, axis=(0, 2))
        inside = xp.sum((phi.values @ state.basis.mT) ** 2, axis=(0, 2))
        ratio = 1 - inside / xp.where(total > 0, total, xp.ones_like(total))
        return xp.where(total > 0, xp.clip(ratio, min=0, max=1), xp.zeros_like(ratio))

    def uncertainty(self, x: Array) -> Float[Array, "n c"]:
        """Standard deviation of a Gaussian process whose mean is the regression, never below that of the exact one.

        The posterior variance v(x) = κ(x, x) − κ_xᵀ(K + λI)⁻¹κ_x on the features of the kept points, per query and
        output, in units where the targets' noise has variance λ. With synthetic gradients it is the power function
        v̂ = κ(x, x) − κ_xᵀU(UᵀAU)⁻¹Uᵀκ_x: v ≤ v̂ ≤ κ(x, x), the part of a query's gradient outside the span counted
        in full (theorem C2).

        Raises
        ------
        NotFittedError
            Before :meth:`fit`.
        TypeError, ValueError
            Inputs that the model does not take.
        """
        state = self._fitted()
        phi = tangent_features(self.model, x, sketch=state.sketch)
        variance = posterior_variance(phi.values, state.basis, state.squares, ridge=state.ridge)
        xp = arrays.namespace(variance)
        return xp.astype(xp.sqrt(variance).T, phi.values.dtype, copy=False)

    @property
    def certificate_(self) -> Certificate:
        """Bounds on what was lost between the features of the kept points and the predictor, each with its theorem.

        Computed when it is first read, saved or reported, from the features, which the estimator holds until then.
        """
        return self._fitted().certified()

    @property
    def ledger_(self) -> Ledger:
        """Costs of the stages of the fit."""
        return self._fitted().ledger

    @property
    def losses_(self) -> Losses:
        """What each stage lost, measured."""
        return self._fitted().losses

    @property
    def spectrum_(self) -> Float[Array, " m"]:
        """Eigenvalues of the mean kernel on the kept points, descending."""
        return self._fitted().spectrum

    @property
    def indices_(self) -> Int[Array, " m"] | None:
        """Positions of the kept points; ``None`` where inputs were distilled."""
        return self._fitted().indices

    @property
    def data_(self) -> DistilledData | None:
        """Distilled inputs; ``None`` where points were chosen."""
        return self._fitted().data

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator to a folder: safetensors and JSON, checksummed, nothing executable."""
        from dntk.store import save

        save(self, self._fitted(), path)

    def report(self, path: str | Path) -> None:
        """Write a self-contained HTML page: losses, costs and spectrum."""
        from dntk.report import write_fit_report

        write_fit_report(self._fitted(), path)

    @classmethod
    def from_state(cls, model: Model, state: FittedState) -> "DistilledNTK":
        """A fitted estimator from stored parts."""
        estimator = cls(model, sketch=state.sketch, ridge=state.ridge)
        estimator._state = state
        return estimator

    def _fitted(self) -> FittedState:
        if self._state is None:
            msg = "this DistilledNTK is not fitted: call fit(x) first."
            raise NotFittedError(msg)
        return self._state

    def _targets(self, x: Array, y: Array | None) -> Float[Array, "n c"]:
        outputs = outputs_of(self.model, x)
        if y is None:
            return outputs
        xp = arrays.require_same_place(outputs=outputs, y=y)
        if xp.isdtype(y.dtype, "integral") and y.ndim == 1:
            check_labels("y", y, points=x.shape[0])
            return one_hot(y, self.model.n_outputs, like=outputs)
        return check_targets(y, outputs, points=x.shape[0], outputs=self.model.n_outputs)

    def _kept(
        self, x: Array, y: Array | None, targets: Float[Array, "n c"], sketch: Sketch | SketchPlan | None
    ) -> KeptData:
        """The points that are kept, all of them, chosen or made, and what they leave of the kernel."""
        if self.data is None:
            return kept(x, targets)
        if isinstance(self.data, DataSelector):
            return selected(self.data, self.model, x, targets, sketch=sketch)
        return distilled(self.data, self.model, x, y, targets, sketch=sketch)

    def _resolved_sketch(self, x: Array) -> Sketch | SketchPlan | None:
        if not isinstance(self.sketch, str):
            return self.sketch
        if self.model.n_parameters <= _SMALL:
            return None
        plan = choose(self.model, x, n=x.shape[0], seed=self.seed)
        return plan if plan.candidate.dim < self.model.n_parameters else None

    def _regress(
        self, phi: TangentFeatures, targets: Float[Array, "m c"], chosen: float
    ) -> tuple[RidgeFit, DistilledGradients | None]:
        fit = ridge(phi, targets, ridge=chosen)
        if self.gradients is None:
            return fit, None
        grads = self.gradients.distill(phi, targets)
        distilled = same_span(grads, ridge=chosen)
        # Leaving points out in a span made from their targets would flatter: keep the error of the full features.
        return dataclasses.replace(distilled, left_out=fit.left_out), grads

    def _projected(self, x: Array) -> TangentFeatures:
        state = self._fitted()
        phi = tangent_features(self.model, x, sketch=state.sketch)
        return TangentFeatures(phi.values @ state.basis.mT)

    def _one_cotangent(self) -> Array:
        m, outputs = self.model, self._fitted().weights.shape[0]
        dtype = arrays.kernel_dtype(m.namespace, m.dtype)
        return cotangents_for("sum", outputs, xp=m.namespace, dtype=dtype, device=m.device)


def _span(phi: TangentFeatures, grads: DistilledGradients | None) -> Span:
    """What was kept: the span of the synthetic gradients, or of all features."""
    if grads is None:
        basis = row_basis(phi.values)
        return span_of(phi.values, basis[:, : min(len(phi), phi.dim), :])
    return span_of(grads.values, grads.basis)


def _certified(
    phi: TangentFeatures,
    grads: DistilledGradients | None,
    targets: Float[Array, "m c"],
    chosen: float,
    *,
    losses: Losses,
    seed: int,
) -> Certificate:
    found = certify(phi, phi if grads is None else grads, targets, chosen, seed=seed)
    return with_earlier_stages(found, losses)


def _left_out(phi: TangentFeatures, span: Span) -> float:
    return trace_residual(phi.values, phi.values @ _like(span.basis, phi).mT)


def _like(values: Array, phi: TangentFeatures) -> Array:
    cast: Array = arrays.namespace(values).astype(values, phi.values.dtype, copy=False)
    return cast


def _diagonal(products: Float[Array, "c n c"]) -> Float[Array, "n c"]:
    """Output c of the product along w_c."""
    xp = arrays.namespace(products)
    return xp.stack([products[c, :, c] for c in range(products.shape[0])], axis=1)


def _sketch_error(sketch: Sketch | SketchPlan | None, phi: TangentFeatures, spectrum: Float[Array, " m"]) -> float:
    """Root mean square of ‖K̂ − K‖_F/‖K‖_F: the plan's, or that of a Gaussian or sign sketch.

    The latter is √((sr² + 1)/k) with sr = tr K/‖K‖_F.
    """
    if isinstance(sketch, SketchPlan):
        return sketch.expected_error
    if phi.sketch is None:
        return 0.0
    xp = arrays.namespace(spectrum)
    largest = float(spectrum[0])
    if largest == 0:
        return 0.0
    scaled = spectrum / largest
    return float(((xp.sum(scaled) ** 2 / xp.sum(scaled**2) + 1) / phi.dim) ** 0.5)


def _nbytes(x: Array) -> int:
    size = itemsize(x)
    for side in x.shape:
        size *= side
    return size
