"""The whole pipeline behind one estimator: coreset, sketched features, synthetic gradients, ridge regression."""

from pathlib import Path
from typing import Literal

from jaxtyping import Float, Int, Integer

from dntk import arrays
from dntk._target_checks import check_labels
from dntk.certificates.approximation import Span
from dntk.certificates.certificate import Certificate
from dntk.certificates.held_out import tangent_residual
from dntk.certificates.prediction import posterior_variance
from dntk.distill.data import DataDistiller, DataSelector, DistilledData
from dntk.distill.gradients import GradientDistiller
from dntk.estimator.fitting import fitted
from dntk.estimator.losses import Losses
from dntk.estimator.stages import Recipe
from dntk.estimator.state import FittedState
from dntk.estimator.tolerance import check_tolerance
from dntk.features import TangentFeatures, tangent_features
from dntk.ledger import Ledger
from dntk.metrics import accuracy, fidelity, predicted_labels
from dntk.models.base import Model, outputs_of
from dntk.models.batching import choose_batch_size
from dntk.outputs.functionals import cotangents_for
from dntk.random.streams import check_seed
from dntk.sketch import Sketch, SketchPlan
from dntk.solve._ridge import Ridge
from dntk.types import Array


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
        Of the automatic sketch, and of the samples and random starts of the certificate.
    tolerance
        Relative loss of the kernel, between 0 and 1, that the smallest sizes are to be found for; ``None``: parts as
        they are given. Dropping points and directions may lose this share of the trace together, of which points take
        at most half; a sketch may change the kernel by this much in relative Frobenius norm with 95% confidence.

        Sizes of ``data``, ``sketch`` and ``gradients`` are then where the search begins, by doubling and bisection;
        ``sketch="auto"`` is chosen for the tolerance, ``gradients=None`` stands for ``Solution`` of the size found.
        What has no size, as distilled inputs and ``data=None``, is used as it is. Where the tolerance is not met
        :meth:`fit` warns, and ``certificate_.tolerance`` names the stage that stops it, its loss and the remedy.

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
        *,
        tolerance: float | None = None,
    ) -> None:
        if not isinstance(model, Model):
            msg = f"`model` is a {type(model).__name__}: wrap the network first, model = dntk.as_model(net)."
            raise TypeError(msg)
        if isinstance(sketch, str) and sketch != "auto":
            msg = f"`sketch`={sketch!r}: expected a sketch, None, or 'auto'."
            raise ValueError(msg)
        check_seed(seed)
        check_tolerance(tolerance)
        self.model, self.data, self.sketch = model, data, sketch
        self.gradients, self.ridge, self.seed, self.tolerance = gradients, ridge, seed, tolerance
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

        Warns
        -----
        UserWarning
            A tolerance was asked for and is not met; the estimator is fitted with what comes nearest.
        """
        recipe = Recipe(
            model=self.model,
            data=self.data,
            sketch=self.sketch,
            gradients=self.gradients,
            ridge=self.ridge,
            seed=self.seed,
            tolerance=self.tolerance,
        )
        self._state = fitted(recipe, x, y)
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
        return tangent_residual(phi, state.basis)

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

        With it, where points were dropped, the mean tangent residual of those that were not kept, from a sample of
        them; and what the sketch's theorem says of the kernel without sketch. Computed when it is first read, saved or
        reported, from the features and the sampled points, which the estimator holds until then.
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
        from dntk.estimator.storage import save

        save(self, self._fitted(), path)

    def report(self, path: str | Path) -> None:
        """Write a self-contained HTML page: losses, costs and spectrum."""
        from dntk.estimator.report import write_fit_report

        write_fit_report(self._fitted(), path)

    @property
    def fitted_span(self) -> Span:
        """What :func:`dntk.certify` compares with features: the span that was kept, and the predictor in it."""
        state = self._fitted()
        return Span(basis=state.basis, squares=state.squares, weights=(state.weights,))

    @property
    def fitted_ridge(self) -> float:
        """The ridge λ that was used."""
        return self._fitted().ridge

    @property
    def fitted_sketch(self) -> Sketch | None:
        """The sketch of the features, bound to the network's parameters."""
        sketch: Sketch | None = self._fitted().sketch
        return sketch

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

    def _projected(self, x: Array) -> TangentFeatures:
        state = self._fitted()
        phi = tangent_features(self.model, x, sketch=state.sketch)
        return TangentFeatures(phi.values @ state.basis.mT)

    def _one_cotangent(self) -> Array:
        m, outputs = self.model, self._fitted().weights.shape[0]
        dtype = arrays.kernel_dtype(m.namespace, m.dtype)
        return cotangents_for("sum", outputs, xp=m.namespace, dtype=dtype, device=m.device)


def _diagonal(products: Float[Array, "c n c"]) -> Float[Array, "n c"]:
    """Output c of the product along w_c."""
    xp = arrays.namespace(products)
    return xp.stack([products[c, :, c] for c in range(products.shape[0])], axis=1)
