"""Kernel inducing points: inputs whose kernel regression predicts the labels of the data."""

import dataclasses
from pathlib import Path

from jaxtyping import Float

from dntk import arrays
from dntk._checks import keep, positive_integer
from dntk._target_checks import check_labels
from dntk.checkpoints import Checkpoints
from dntk.distill.data.adam import Adam
from dntk.distill.data.descent import Descent, Evaluated, Variables, descend
from dntk.distill.data.distilled_data import DistilledData, provenance_of
from dntk.distill.data.draws import Indices, balanced, minibatch, split, take
from dntk.distill.data.limits import Limits, check_limits, within
from dntk.distill.data.nystrom_residual import damped
from dntk.distill.data.prediction_losses import PredictionLoss, SquaredError
from dntk.distill.data.settings import check_settings, checkpoint_at, kept_beside, spread
from dntk.distill.data.tangents import Tangents
from dntk.ledger import count
from dntk.models import batches
from dntk.models.base import Model, checked_inputs
from dntk.models.input_gradients import require_input_gradients
from dntk.outputs import FeatureOutputs
from dntk.sketch.resolution import AnySketch, resolved
from dntk.targets import one_hot
from dntk.types import Array


@dataclasses.dataclass(frozen=True)
class KernelInducing:
    """Inputs that minimise the loss of f̂(X) = K_XX̃ (K_X̃X̃ + λI)⁻¹ ỹ, on the frozen empirical kernel.

    KIP of Nguyen, Chen and Lee (ICLR 2021) with the class-averaged tangent kernel of a trained network in place of that
    of an infinite one. Targets are one-hot less 1/C. Descent starts from real points, equally many of every class; the
    iterate that is best on held-out points is kept.

    Parameters
    ----------
    per_class
        Inputs of every class.
    steps, learning_rate, decays
        Of Adam; the rate, in units of the data's standard deviation, falls to zero along half a cosine.
    label_learning_rate
        Rate of the targets ỹ, which then are learned; ``None``: they stay as they are.
    loss
        ``SquaredError()``, or ``Platt()`` for RFAD's cross-entropy with a learned temperature (at ``learning_rate``).
    ridge
        λ, relative to the mean diagonal of K_X̃X̃; RFAD takes 5e-3.
    sketch, outputs, batch_size, held_out, limits, seed
        As for :class:`TangentResidual`.

    Notes
    -----
    Jacobian rows: n·C once, and 2·m·C per step. Memory O(n·C·k).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(16, 3)), rng.normal(size=(2, 16)) / 4
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> x = rng.normal(size=(40, 3))
    >>> y = np.where(x[:, 0] > 0, 1, 0)
    >>> data = dntk.distill.data.KernelInducing(2, steps=10).distill(model, x, y)
    >>> data.x.shape, sorted(data.y.tolist())
    ((4, 3), [0, 0, 1, 1])
    """

    per_class: int
    _: dataclasses.KW_ONLY
    steps: int = 200
    learning_rate: float = 0.03
    label_learning_rate: float | None = None
    loss: PredictionLoss = dataclasses.field(default_factory=SquaredError)
    decays: tuple[float, float] = (0.9, 0.999)
    ridge: float = 1e-6
    sketch: AnySketch = "auto"
    outputs: FeatureOutputs = "each"
    batch_size: int | None = 512
    held_out: float = 0.2
    limits: Limits = None
    seed: int = 0

    def __post_init__(self) -> None:
        keep(self, per_class=positive_integer("per_class", self.per_class))
        given = () if self.label_learning_rate is None else ("label_learning_rate",)
        check_settings(self, "learning_rate", "ridge", *given)

    def distill(
        self,
        model: Model,
        x: Array,
        y: Array | None = None,
        *,
        checkpoint: str | Path | None = None,
        every: float = 30.0,
        memory_limit: int | None = None,
    ) -> DistilledData:
        """Distilled inputs, whose targets are the classes (m,), or the learned targets (m, C).

        Parameters
        ----------
        model
            From :func:`dntk.as_model`, differentiable in its inputs.
        x, y
            The data, with integer classes.
        checkpoint, every
            A file that is written every so many seconds, and beside it a folder, its name with ``.data`` added, of what
            was made of all data; a run that finds them goes on from there.
        memory_limit
            Bytes that may be taken beside the network and ``x``; default: gradient blocks of 1 GiB.

        Raises
        ------
        TypeError
            Inputs without gradient, or a model that has none; labels that are missing or not integers.
        ValueError
            A class with fewer points to fit to than ``per_class``, images without ``limits``, labels outside the
            network's classes, a memory limit that does not suffice, and what the model refuses.
        dntk.StoreError
            A checkpoint of another run.
        """
        x = batches.whole(checked_inputs(model, x))
        differentiable = require_input_gradients(model, x)
        check_limits(self.limits, x)
        labels = required_labels(y, x)
        provenance = provenance_of(self, model, {"x": x, "y": labels})
        stored = checkpoint_at(checkpoint, every, provenance, model, x)
        sketch = resolved(self.sketch, model, x, outputs=self.outputs, seed=self.seed)
        tangents = Tangents.of(differentiable, x, sketch, self, (self.per_class * model.n_outputs, memory_limit))
        problem = _Problem.of(self, tangents, x, labels, kept_beside(stored))
        start = {"x": take(x, problem.chosen), **self.loss.start(problem.targets)}
        rates = {**dict.fromkeys(start, self.learning_rate), "x": self.learning_rate * spread(x)}
        if self.label_learning_rate is not None:
            start["y"], rates["y"] = problem.own_targets, self.label_learning_rate
        descent = Descent(
            steps=self.steps,
            rates=rates,
            optimiser=Adam(decays=self.decays),
            project=lambda variables: {**variables, "x": within(variables["x"], self.limits)},
            checkpoint=stored,
        )
        state = descend(start, problem.evaluate, descent)
        outputs = model(state.best["x"])
        own = take(labels, problem.chosen)
        return DistilledData(
            x=state.best["x"],
            y=model.namespace.astype(state.best["y"], outputs.dtype) if "y" in state.best else own,
            weights=model.namespace.ones(own.shape[0], dtype=outputs.dtype, device=model.device),
            history=state.history,
            provenance=provenance,
            step=state.best_step,
            stopped=state.stopped,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Problem:
    """The loss as a function of inputs and targets, on the features of the data."""

    objective: KernelInducing
    tangents: Tangents
    chosen: Indices
    points: Float[Array, "n d"]
    targets: Float[Array, "n c"]
    held: Float[Array, "v d"]
    held_targets: Float[Array, "v c"]
    own_targets: Float[Array, "m c"]

    @classmethod
    def of(
        cls, objective: KernelInducing, tangents: Tangents, x: Array, labels: Array, kept: Checkpoints | None
    ) -> "_Problem":
        model = tangents.model
        fit, held = split(x.shape[0], objective.held_out, seed=objective.seed)
        chosen = fit[balanced(take(labels, fit), model.n_outputs, objective.per_class, seed=objective.seed)]
        every = tangents.of_data(x, kept)
        known, judges = tangents.joined(every[fit]), tangents.joined(every[held])
        goals = one_hot(labels, model.n_outputs, like=known)
        return cls(
            objective=objective,
            tangents=tangents,
            chosen=chosen,
            points=known,
            targets=take(goals, fit),
            held=judges,
            held_targets=take(goals, held),
            own_targets=take(goals, chosen),
        )

    def evaluate(self, step: int, variables: Variables) -> Evaluated:
        """Losses of a batch and of what is held out, and the gradients of the former."""
        own = self.objective
        phi = self.tangents.features(variables["x"])
        inducing = self.tangents.joined(phi)
        answers = variables.get("y", self.own_targets)
        learned = {name: value for name, value in variables.items() if name not in ("x", "y")}
        batch = minibatch(self.points.shape[0], own.batch_size, seed=own.seed, step=step)
        fit = Regression.of(inducing, answers, own.ridge)
        points, goals = take(self.points, batch), take(self.targets, batch)
        loss, slope, gradients = own.loss.value(fit.predict(points), goals, learned)
        held, _, _ = own.loss.value(fit.predict(self.held), self.held_targets, learned)
        in_features, in_targets = fit.gradients(points, slope)
        gradients = {**gradients, "x": self.tangents.pull(variables["x"], phi, in_features)}
        if "y" in variables:
            gradients["y"] = in_targets
        return Evaluated(gradients=gradients, measures={"loss": loss, "held_out_loss": held}, judged=held)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Regression:
    """Kernel ridge regression on inducing features F̃ with targets ỹ, and how its predictions change with both."""

    inducing: Float[Array, "m d"]
    matrix: Float[Array, "m m"]
    share: float
    coefficients: Float[Array, "m c"]

    @classmethod
    def of(cls, inducing: Float[Array, "m d"], targets: Float[Array, "m c"], ridge: float) -> "Regression":
        """Solve (F̃F̃ᵀ + λI) α = ỹ with λ = ridge · tr(F̃F̃ᵀ)/m, at least what rounding asks for."""
        xp = arrays.namespace(inducing)
        matrix, share = damped(inducing @ inducing.T, ridge)
        goals = xp.astype(targets, inducing.dtype, copy=False)
        return cls(inducing=inducing, matrix=matrix, share=share, coefficients=xp.linalg.solve(matrix, goals))

    def predict(self, points: Float[Array, "n d"]) -> Float[Array, "n c"]:
        """Predictions F F̃ᵀ α."""
        count(flops=2 * points.shape[0] * points.shape[1] * self.inducing.shape[0])
        return points @ (self.inducing.T @ self.coefficients)

    def gradients(
        self, points: Float[Array, "n d"], slope: Float[Array, "n c"]
    ) -> tuple[Float[Array, "m d"], Float[Array, "m c"]]:
        """Gradients in F̃ and in ỹ of a loss whose gradient in the predictions is D = ``slope``.

        With H = (F̃F̃ᵀ + λI)⁻¹ F̃FᵀD, that in ỹ is H; in F̃ it is αDᵀF − (Hαᵀ + αHᵀ)F̃ − 2λ' ⟨H, α⟩ F̃, where
        λ = λ' tr(F̃F̃ᵀ).
        """
        xp = arrays.namespace(points)
        pulled = slope.T @ points
        inner = xp.linalg.solve(self.matrix, self.inducing @ pulled.T)
        crossed = inner @ self.coefficients.T
        in_features = self.coefficients @ pulled - (crossed + crossed.T) @ self.inducing
        in_features = in_features - (2 * self.share * xp.sum(inner * self.coefficients)) * self.inducing
        return in_features, inner


def required_labels(y: Array | None, x: Array) -> Array:
    """Labels, which an objective cannot do without.

    Raises
    ------
    TypeError
        There are none, or they are not integers.
    ValueError
        Their number is not that of the points.
    """
    if y is None:
        msg = "`y` is missing: this objective needs classes, pass one integer per point, shape (n,)."
        raise TypeError(msg)
    arrays.require_same_place(x=x, y=y)
    check_labels("y", y, points=x.shape[0])
    return y
