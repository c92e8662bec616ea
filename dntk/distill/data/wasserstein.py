"""Distillation by Wasserstein metrics: inputs at the barycentres of each class's features."""

import dataclasses
from pathlib import Path

import numpy as np

from dntk import arrays
from dntk._checks import keep, positive_integer
from dntk.distill.data.adam import Adam
from dntk.distill.data.augmentation import Augmentation
from dntk.distill.data.barycentres import Barycentre, FreeSupport, require_transport
from dntk.distill.data.descent import Descent, State, descend
from dntk.distill.data.distilled_data import DistilledData, Provenance, provenance_of
from dntk.distill.data.draws import by_class
from dntk.distill.data.kernel_inducing import required_labels
from dntk.distill.data.limits import Limits, check_limits, within
from dntk.distill.data.matching import MatchingProblem, inputs_at_once, on_device_of
from dntk.distill.data.prediction_losses import log_softmax
from dntk.distill.data.settings import check_settings, checkpoint_at, kept_beside, spread
from dntk.models import batches
from dntk.models.base import Model, checked_inputs
from dntk.models.input_gradients import require_input_gradients
from dntk.random import normals
from dntk.types import Array


@dataclasses.dataclass(frozen=True)
class Wasserstein:
    """Inputs whose penultimate features are the Wasserstein barycentre of their class's, with its layers' statistics.

    The paper's choice (WMDD, Liu et al., ICCV 2025). Inputs x̃ of one class minimise

        CE(f(x̃), y) + ‖F(x̃) − b‖_F + λ Σ_l (‖μ_l − μ*_l‖ + ‖v_l − v*_l‖),

    averaged over classes: F the inputs of the last linear layer, b the barycentre of those of the real data, μ_l and
    v_l mean and variance of what enters layer l. Since F(x) is the last layer's block of every φ_c(x), matching it is
    matching the last layer's tangent features.

    Parameters
    ----------
    per_class
        Inputs of every class.
    steps, learning_rate, decays
        Of Adam; the rate, in units of the data's standard deviation, falls to zero along half a cosine.
    barycentre
        ``FreeSupport()``, or ``WeightedSupport()``, whose weights then count in statistics and in the result.
    class_weight, feature_weight, statistics_weight
        Factors of the three terms.
    features
        Layer whose inputs are matched; default: the last linear one.
    statistics
        Layers whose inputs' statistics are matched; default: all batch normalisations that the model knows of. For
        networks without, and in JAX, name norms or layers after activations by module, or by parameter.
    augmentation
        Flips, crops and shifts of every step; ``None``, or inputs that are vectors: none.
    soft_labels
        Whether targets are the network's probabilities at the inputs, less 1/C, in place of classes.
    limits
        Least and largest value of an input; needed for images.
    batch_size
        Inputs that are differentiated at once, whole classes at least.
    seed
        Of all draws.

    Notes
    -----
    Inputs start as noise with the data's mean and standard deviation. Barycentres are computed on the host. Cost per
    step: one forward and one backward pass of the m inputs, counted as m Jacobian rows.
    """

    per_class: int
    _: dataclasses.KW_ONLY
    steps: int = 2000
    learning_rate: float = 0.25
    decays: tuple[float, float] = (0.5, 0.9)
    barycentre: Barycentre = dataclasses.field(default_factory=FreeSupport)
    class_weight: float = 1.0
    feature_weight: float = 1.0
    statistics_weight: float = 10.0
    features: str | None = None
    statistics: tuple[str, ...] | None = None
    augmentation: Augmentation | None = dataclasses.field(default_factory=Augmentation)
    soft_labels: bool = False
    limits: Limits = None
    batch_size: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        keep(self, per_class=positive_integer("per_class", self.per_class))
        check_settings(self, "learning_rate")

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
        """Distilled inputs, class after class.

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
            Bytes that what layers hold of inputs, and gradients, may take beside the network and ``x``: fewer are
            looked at at once. Default: 256 points, and ``batch_size`` inputs.

        Raises
        ------
        TypeError
            Inputs without gradient, or a model that has none; labels that are missing or not integers.
        ValueError
            A class with fewer points than ``per_class``, images without ``limits``, an unknown layer, labels outside
            the network's classes, a memory limit that does not suffice for the inputs of a class, and what the model
            refuses.
        ImportError
            POT is not installed.
        dntk.StoreError
            A checkpoint of another run.
        """
        x = batches.whole(checked_inputs(model, x))
        differentiable = require_input_gradients(model, x)
        check_limits(self.limits, x)
        labels = required_labels(y, x)
        members = by_class(labels, model.n_outputs, at_least=self.per_class)
        require_transport()
        provenance = provenance_of(self, model, {"x": x, "y": labels})
        stored = checkpoint_at(checkpoint, every, provenance, model, x)
        at_once = inputs_at_once(differentiable, x, self.per_class, memory_limit)
        problem = MatchingProblem.of(self, differentiable, x, members, kept_beside(stored), at_once)
        descent = Descent(
            steps=self.steps,
            rates={"x": self.learning_rate * spread(x)},
            optimiser=Adam(decays=self.decays),
            project=lambda variables: {"x": within(variables["x"], self.limits)},
            checkpoint=stored,
        )
        state = descend({"x": _noise(x, problem.size, self.limits, self.seed)}, problem.evaluate, descent)
        return self._result(problem, state, labels, provenance)

    def _result(self, problem: MatchingProblem, state: State, like: Array, provenance: Provenance) -> DistilledData:
        model, inputs = problem.model, state.best["x"]
        xp, outputs = model.namespace, model(inputs)
        if self.soft_labels:
            targets = xp.exp(log_softmax(outputs)) - 1 / model.n_outputs
        else:
            classes = xp.arange(model.n_outputs, dtype=like.dtype, device=arrays.device_of(like))
            targets = xp.repeat(classes, self.per_class)
        return DistilledData(
            x=inputs,
            y=targets,
            weights=xp.astype(xp.concat([goal.weights for goal in problem.goals]) * self.per_class, outputs.dtype),
            history=state.history,
            provenance=provenance,
            step=state.best_step,
            stopped=state.stopped,
        )


def _noise(x: Array, size: int, limits: Limits, seed: int) -> Array:
    """Normal noise with the data's mean and standard deviation, in range."""
    xp = arrays.namespace(x)
    shape = (size, *x.shape[1:])
    count = size
    for side in x.shape[1:]:
        count *= side
    drawn = normals(seed=seed, stream="wasserstein-start", start=0, count=count + -count % 8, dtype=np.float64)
    noise = on_device_of(drawn[:count].reshape(shape), x)
    return within(xp.mean(x) + xp.std(x) * noise, limits)
