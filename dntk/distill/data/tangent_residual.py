"""Inputs whose tangent features span those of the data: the objective that is tuned to the kernel."""

import dataclasses
from pathlib import Path

from dntk import arrays
from dntk._checks import keep, positive_integer
from dntk._target_checks import check_classes, check_labels
from dntk.archive import to_host
from dntk.checkpoints import Checkpoints
from dntk.distill.data.adam import Adam
from dntk.distill.data.base import DataSelector
from dntk.distill.data.descent import Descent, Evaluated, State, Variables, descend
from dntk.distill.data.distilled_data import DistilledData, Provenance, provenance_of
from dntk.distill.data.draws import Indices, minibatch, split, take
from dntk.distill.data.k_means import KMeans
from dntk.distill.data.leading_directions import LeadingDirections
from dntk.distill.data.limits import Limits, check_limits, within
from dntk.distill.data.nystrom_residual import Goal, Inducing
from dntk.distill.data.settings import check_settings, checkpoint_at, kept_beside, spread
from dntk.distill.data.tangents import AT_ONCE, MINIBATCH, Tangents
from dntk.features import TangentFeatures
from dntk.models import batches
from dntk.models.base import Model, checked_inputs
from dntk.models.input_gradients import require_input_gradients
from dntk.outputs import FeatureOutputs
from dntk.sketch.resolution import AnySketch, resolved
from dntk.spectrum import eigenvalues
from dntk.types import Array

DIRECTIONS = 128
"""Leading directions that stand for all points, at least."""


@dataclasses.dataclass(frozen=True)
class TangentResidual:
    """Inputs X̃ that minimise Σ_x ‖(I − Π_X̃) ψ(x)‖², Π_X̃ the projector on the span of their tangent features.

    That sum is tr K̄ − tr K̄_Nyström. Its mean over held-out points is the PCA tail, which any m directions leave, plus
    the misalignment gap, which these inputs lose; both are in the history. Descent starts from a coreset, on
    minibatches of sketched features; the iterate that is best on held-out points is kept, so that the result is
    there never worse than the coreset.

    The gradient is closed in the features: W = 2 Z (ZᵀF̃ − F), Z = (F̃F̃ᵀ + μI)⁻¹F̃Fᵀ, but for μ and a scale. In an input
    it is that of Σ_c ⟨w_c, S φ_c(x̃)⟩, a Jacobian-vector product along Sᵀw_c differentiated once.

    Parameters
    ----------
    size
        Number m of inputs.
    steps, learning_rate, decays
        Of Adam; the rate, in units of the data's standard deviation, falls to zero along half a cosine.
    sketch
        As for :class:`dntk.DistilledNTK`.
    outputs
        ``"each"``: the mean kernel of all outputs. ``"sum"``: the kernel of their sum, at a C-th of the cost.
    jitter
        Damping of Π, relative to the mean diagonal of K̄.
    batch_size
        Real points of one step, drawn anew for each. ``None``: all by their leading directions, or 512 where there
        are more than 2,048 to fit to.
    held_out
        Share of the points that only judge.
    start
        Selector of the ``size`` points to start from; default: ``KMeans(size, seed)``.
    limits
        Least and largest value of an input; needed for images.
    seed
        Of all draws.

    Notes
    -----
    Jacobian rows: n·C once, and 2·m·C per step. Memory O(n·C·k).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(16, 3)), rng.normal(size=(2, 16)) / 4
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> x = rng.normal(size=(40, 3))
    >>> data = dntk.distill.data.TangentResidual(4, steps=10).distill(model, x)
    >>> data.x.shape, data.y.shape, sorted(data.history)
    ((4, 3), (4, 2), ['loss', 'misalignment_gap', 'pca_tail', 'residual'])
    """

    size: int
    _: dataclasses.KW_ONLY
    steps: int = 40
    learning_rate: float = 0.15
    decays: tuple[float, float] = (0.8, 0.99)
    sketch: AnySketch = "auto"
    outputs: FeatureOutputs = "each"
    jitter: float = 1e-6
    batch_size: int | None = None
    held_out: float = 0.2
    start: DataSelector | None = None
    limits: Limits = None
    seed: int = 0

    def __post_init__(self) -> None:
        keep(self, size=positive_integer("size", self.size))
        check_settings(self, "learning_rate", "jitter")

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
        """Distilled inputs.

        Parameters
        ----------
        model
            From :func:`dntk.as_model`, differentiable in its inputs.
        x
            The data.
        y
            Integer classes: those of the starting points become the targets of the result. Default: the network's
            outputs at the distilled inputs.
        checkpoint, every
            A file that is written every so many seconds, and beside it a folder, its name with ``.data`` added, of what
            was made of all data; a run that finds them goes on from there.
        memory_limit
            Bytes that may be taken beside the network and ``x``; default: gradient blocks of 1 GiB.

        Raises
        ------
        TypeError
            Inputs without gradient, or a model that has none; labels that are not integers.
        ValueError
            More inputs asked than there are points to fit to, images without ``limits``, a memory limit that does not
            suffice, and what the model refuses.
        dntk.StoreError
            A checkpoint of another run.
        """
        x = batches.whole(checked_inputs(model, x))
        differentiable = require_input_gradients(model, x)
        check_limits(self.limits, x)
        if y is not None:
            check_labels("y", y, points=x.shape[0])
            check_classes("y", y, classes=max(2, model.n_outputs))
        labels = {} if y is None else {"y": y}
        provenance = provenance_of(self, model, {"x": x, **labels})
        stored = checkpoint_at(checkpoint, every, provenance, model, x)
        sketch = resolved(self.sketch, model, x, outputs=self.outputs, seed=self.seed)
        tangents = Tangents.of(differentiable, x, sketch, self, (self.size, memory_limit))
        problem = _Problem.of(self, tangents, x, kept_beside(stored))
        descent = Descent(
            steps=self.steps,
            rates={"x": self.learning_rate * spread(x)},
            optimiser=Adam(decays=self.decays),
            project=lambda variables: {"x": within(variables["x"], self.limits)},
            checkpoint=stored,
            worst=lambda first: (1 + first) / 2,  # half of what the start explained is lost
        )
        state = descend({"x": take(x, problem.chosen)}, problem.evaluate, descent)
        return _result(model, state, None if y is None else take(y, problem.chosen), provenance)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Problem:
    """The residual as a function of inputs, on the features of the data."""

    objective: TangentResidual
    tangents: Tangents
    chosen: Indices
    points: Goal
    held: Goal
    tail: float

    @classmethod
    def of(cls, objective: TangentResidual, tangents: Tangents, x: Array, kept: Checkpoints | None) -> "_Problem":
        fit, held = split(x.shape[0], objective.held_out, seed=objective.seed)
        every = tangents.of_data(x, kept)
        known, judges = every[fit], every[held]
        seen, points = _fitted_to(objective, known)
        selector = objective.start or KMeans(objective.size, seed=objective.seed)
        selection = selector.select(seen)
        if len(selection) != objective.size:
            msg = f"`start` chooses {len(selection)} points, but `size`={objective.size}: pass equal numbers."
            raise ValueError(msg)
        return cls(
            objective=objective,
            tangents=tangents,
            chosen=fit[to_host(selection.indices)],
            points=points,
            held=Goal.of(judges.joined()),
            tail=pca_tail(judges, objective.size),
        )

    def evaluate(self, step: int, variables: Variables) -> Evaluated:
        """Residuals of a batch and of what is held out, and the gradient of the former."""
        own = self.objective
        phi = self.tangents.features(variables["x"])
        inducing = Inducing.of(phi.joined(), own.jitter)
        loss, slope = inducing.slope(self._goal(step))
        left = inducing.left(self.held)
        measures = {"loss": loss, "residual": left, "pca_tail": self.tail, "misalignment_gap": left - self.tail}
        gradients = {"x": self.tangents.pull(variables["x"], phi, slope)}
        return Evaluated(gradients=gradients, measures=measures, judged=left)

    def _goal(self, step: int) -> Goal:
        """What a step fits to: everything, or its minibatch."""
        own, n = self.objective, self.points.rows.shape[0]
        size = own.batch_size or (MINIBATCH if n > AT_ONCE else n)
        if size >= n:
            return self.points
        return Goal.of(take(self.points.rows, minibatch(n, size, seed=own.seed, step=step)))


def _fitted_to(objective: TangentResidual, known: TangentFeatures) -> tuple[TangentFeatures, Goal]:
    """What the choice of the start sees, and the rows that descent fits to."""
    joined, most = known.joined(), max(2 * objective.size, DIRECTIONS)
    n, d = joined.shape
    if objective.batch_size is not None or n > AT_ONCE or most >= n:
        return known, Goal.of(joined)
    leading = LeadingDirections.of(joined)
    points = Goal(rows=leading.rows(most), trace=Goal.of(joined).trace)
    # A kernel's coordinates stand for features that have more of them than there are points.
    return (TangentFeatures(leading.coordinates()[None, ...], sketch=None) if d > n else known), points


def pca_tail(phi: TangentFeatures, size: int) -> float:
    """Share of the trace of the mean kernel that its ``size`` leading eigenvectors leave: nothing leaves less."""
    values = eigenvalues(phi)
    xp = arrays.namespace(values)
    total = float(xp.sum(values))
    return float(xp.sum(values[size:])) / total if total > 0 and size < values.shape[0] else 0.0


def _result(model: Model, state: State, labels: Array | None, provenance: Provenance) -> DistilledData:
    inputs = state.best["x"]
    outputs = model(inputs)
    return DistilledData(
        x=inputs,
        y=outputs if labels is None else labels,
        weights=model.namespace.ones(inputs.shape[0], dtype=outputs.dtype, device=model.device),
        history=state.history,
        provenance=provenance,
        step=state.best_step,
        stopped=state.stopped,
    )
