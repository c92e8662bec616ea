"""Inputs from which the network's outputs are regressed: the objective that is tuned to predictions."""

import dataclasses
from pathlib import Path
from typing import ClassVar

from dntk import arrays
from dntk._checks import keep, positive_integer
from dntk._target_checks import check_classes, check_labels
from dntk.archive import to_host
from dntk.checkpoints import Checkpoints
from dntk.distill.data.adam import Adam
from dntk.distill.data.base import DataSelector
from dntk.distill.data.descent import Descent, Evaluated, Variables, descend
from dntk.distill.data.distilled_data import DistilledData, provenance_of
from dntk.distill.data.draws import Indices, minibatch, split, take
from dntk.distill.data.k_means import KMeans
from dntk.distill.data.leading_directions import LeadingDirections
from dntk.distill.data.limits import Limits, check_limits, within
from dntk.distill.data.output_regressions import OutputRegressions, Points
from dntk.distill.data.pulling import pull_observed
from dntk.distill.data.settings import check_settings, checkpoint_at, kept_beside, spread
from dntk.distill.data.tangents import AT_ONCE, MINIBATCH, Tangents
from dntk.features import TangentFeatures
from dntk.models import batches
from dntk.models.base import Model, checked_inputs, outputs_of
from dntk.models.input_gradients import require_input_gradients
from dntk.outputs import FeatureOutputs
from dntk.sketch.resolution import AnySketch, resolved
from dntk.types import Array


@dataclasses.dataclass(frozen=True)
class OutputResidual:
    """Inputs X̃ that minimise Σ_c ‖K^c_XX̃ (K^c_X̃X̃ + λ_c I)⁻¹ f_c(X̃) − f_c(X)‖² / ‖f(X)‖².

    That is the error of separate regressions of the network's own outputs, which ``DistilledNTK`` and ``solve.ridge``
    do, with the kernel of each output; the targets move with their inputs. Descent starts from a coreset; the iterate
    that is best on held-out points is kept, so that the result is there never worse than the coreset. Take
    :class:`TangentResidual` for the kernel itself: inputs that predict well span less of it.

    Parameters
    ----------
    size
        Number m of inputs.
    steps, learning_rate, decays
        Of Adam; the rate, in units of the data's standard deviation, falls to zero along half a cosine.
    ridge
        λ_c, relative to the mean diagonal of K^c_X̃X̃.
    sketch, limits, seed
        As for :class:`TangentResidual`.
    batch_size
        Real points of one step, drawn anew for each. ``None``: all, or 512 where there are more than 2,048 to fit to.
    held_out
        Share of the points that only judge.
    start
        Selector of the ``size`` points to start from; default: ``KMeans(size, seed)``.

    Notes
    -----
    Jacobian rows: n·C once, and m·(2·C + 1) per step. Memory O(n·C·k).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(16, 3)), rng.normal(size=(2, 16)) / 4
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> x = rng.normal(size=(40, 3))
    >>> data = dntk.distill.data.OutputResidual(4, steps=10).distill(model, x)
    >>> data.x.shape, data.y.shape, sorted(data.history)
    ((4, 3), (4, 2), ['held_out_loss', 'loss'])
    """

    size: int
    _: dataclasses.KW_ONLY
    steps: int = 40
    learning_rate: float = 0.05
    decays: tuple[float, float] = (0.8, 0.99)
    ridge: float = 1e-3
    sketch: AnySketch = "auto"
    batch_size: int | None = None
    held_out: float = 0.2
    start: DataSelector | None = None
    limits: Limits = None
    seed: int = 0
    outputs: ClassVar[FeatureOutputs] = "each"

    def __post_init__(self) -> None:
        keep(self, size=positive_integer("size", self.size))
        check_settings(self, "learning_rate", "ridge")

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
            outputs at the distilled inputs, to which the objective is tuned.
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
        provenance = provenance_of(self, model, {"x": x} if y is None else {"x": x, "y": y})
        stored = checkpoint_at(checkpoint, every, provenance, model, x)
        sketch = resolved(self.sketch, model, x, outputs="each", seed=self.seed)
        tangents = Tangents.of(differentiable, x, sketch, self, (self.size, memory_limit))
        problem = _Problem.of(self, tangents, x, kept_beside(stored))
        descent = Descent(
            steps=self.steps,
            rates={"x": self.learning_rate * spread(x)},
            optimiser=Adam(decays=self.decays),
            project=lambda variables: {"x": within(variables["x"], self.limits)},
            checkpoint=stored,
        )
        state = descend({"x": take(x, problem.chosen)}, problem.evaluate, descent)
        outputs = model(state.best["x"])
        return DistilledData(
            x=state.best["x"],
            y=outputs if y is None else take(y, problem.chosen),
            weights=model.namespace.ones(self.size, dtype=outputs.dtype, device=model.device),
            history=state.history,
            provenance=provenance,
            step=state.best_step,
            stopped=state.stopped,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Problem:
    """The error as a function of inputs, on the features and outputs of the data."""

    objective: OutputResidual
    tangents: Tangents
    chosen: Indices
    points: Points
    held: Points

    @classmethod
    def of(cls, objective: OutputResidual, tangents: Tangents, x: Array, kept: Checkpoints | None) -> "_Problem":
        fit, held = split(x.shape[0], objective.held_out, seed=objective.seed)
        every, outputs = tangents.of_data(x, kept), outputs_of(tangents.model, x)
        known = every[fit]
        selector = objective.start or KMeans(objective.size, seed=objective.seed)
        selection = selector.select(_seen(known))
        if len(selection) != objective.size:
            msg = f"`start` chooses {len(selection)} points, but `size`={objective.size}: pass equal numbers."
            raise ValueError(msg)
        return cls(
            objective=objective,
            tangents=tangents,
            chosen=fit[to_host(selection.indices)],
            points=Points(known.values, take(outputs, fit)),
            held=Points(every[held].values, take(outputs, held)),
        )

    def evaluate(self, step: int, variables: Variables) -> Evaluated:
        """Errors on a batch and on what is held out, and the gradient of the former."""
        x, own = variables["x"], self.objective
        phi, seen = self.tangents.features(x), self.tangents.model.observe(x, ())
        fit = OutputRegressions.of(phi.values, seen.outputs, own.ridge)
        loss, in_features, in_targets = fit.slopes(self._batch(step))
        held = fit.error(self.held)
        in_outputs = arrays.namespace(x).astype(in_targets, seen.outputs.dtype)
        gradient = self.tangents.pull_each(x, phi, in_features) + pull_observed(seen, in_outputs, {})
        return Evaluated(gradients={"x": gradient}, measures={"loss": loss, "held_out_loss": held}, judged=held)

    def _batch(self, step: int) -> Points:
        own, n = self.objective, self.points.outputs.shape[0]
        size = own.batch_size or (MINIBATCH if n > AT_ONCE else n)
        return self.points if size >= n else self.points.at(minibatch(n, size, seed=own.seed, step=step))


def _seen(known: TangentFeatures) -> TangentFeatures:
    """Points with the same mean kernel and no more coordinates than there are points, where these are few."""
    n, (q, _, k) = len(known), known.values.shape
    if n > AT_ONCE or q * k <= n:
        return known
    return TangentFeatures(LeadingDirections.of(known.joined()).coordinates()[None, ...], sketch=None)
