"""The loss of matching every class's features and statistics, as a function of inputs."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float

from dntk import arrays
from dntk._checks import positive_integer
from dntk._progress import task
from dntk.archive import to_host
from dntk.backend import backend_of
from dntk.checkpoints import Checkpoints
from dntk.distill.data.augmentation import Augmentation
from dntk.distill.data.barycentres import Barycentre
from dntk.distill.data.class_statistics import Moments, mismatch, moments, unit
from dntk.distill.data.descent import Evaluated, Variables
from dntk.distill.data.draws import Indices, take
from dntk.distill.data.prediction_losses import log_softmax
from dntk.distill.data.pulling import pull_observed
from dntk.models.base import POINTS
from dntk.models.batching import choose_batch_size
from dntk.models.input_gradients import InputDifferentiable
from dntk.types import Array

_JUDGED = 50
"""Steps between two looks at the loss without augmentation."""


def inputs_at_once(model: InputDifferentiable, x: Array, per_class: int, memory_limit: int | None) -> int | None:
    """Inputs whose layers are differentiated at once within a memory limit, if there is one.

    Raises
    ------
    ValueError
        The limit is no positive integer, or does not suffice for the inputs of one class.
    """
    if memory_limit is None:
        return None
    limit = positive_integer("memory_limit", memory_limit, remedy="a number of bytes, or None")
    xp = model.namespace
    one = xp.ones((1, model.n_outputs), dtype=arrays.kernel_dtype(xp, model.dtype), device=model.device)
    found = choose_batch_size(model, x, one, None, memory_limit=limit)
    if found < per_class:
        msg = (
            f"`memory_limit`={limit:,} bytes do not suffice: they hold gradients of {found} inputs, and a class has "
            f"{per_class}. Pass about {limit * per_class // found:,}, or a smaller `per_class`."
        )
        raise ValueError(msg)
    return found


@runtime_checkable
class _Settings(Protocol):
    """Fields of the objective that the loss depends on; :class:`Wasserstein` says what they mean."""

    @property
    def per_class(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def barycentre(self) -> Barycentre: ...
    @property
    def class_weight(self) -> float: ...
    @property
    def feature_weight(self) -> float: ...
    @property
    def statistics_weight(self) -> float: ...
    @property
    def features(self) -> str | None: ...
    @property
    def statistics(self) -> tuple[str, ...] | None: ...
    @property
    def augmentation(self) -> Augmentation | None: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def seed(self) -> int: ...


@dataclasses.dataclass(frozen=True)
class Goal:
    """What the inputs of one class are to match: features with weights that sum to one, and statistics by layer."""

    features: Float[Array, "k d"]
    weights: Float[Array, " k"]
    statistics: dict[str, Moments]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MatchingProblem:
    """The loss as a function of inputs."""

    objective: _Settings
    model: InputDifferentiable
    head: str
    goals: list[Goal]
    at_once: int | None = None

    @property
    def size(self) -> int:
        """Number m of inputs."""
        return len(self.goals) * self.objective.per_class

    @classmethod
    def of(
        cls,
        objective: _Settings,
        model: InputDifferentiable,
        x: Array,
        members: list[Indices],
        kept: Checkpoints | None,
        at_once: int | None = None,
    ) -> "MatchingProblem":
        """The problem for the points of every class at ``members``; what classes are to match is kept, if asked."""
        head = objective.features or model.head(x)
        names = model.batch_norms() if objective.statistics is None else objective.statistics
        goals = []
        with task("classes", total=len(members), unit="classes") as bar:
            for label, places in enumerate(bar.over(members)):
                make = functools.partial(_goal, objective, model, x, (label, places), head, names, at_once)
                goals.append(make() if kept is None else _kept_goal(kept, label, make, x))
        return cls(objective=objective, model=model, head=head, goals=goals, at_once=at_once)

    def evaluate(self, step: int, variables: Variables) -> Evaluated:
        """The loss under the augmentation of a step, with its gradient; now and then the loss without, to judge by."""
        own, inputs = self.objective, variables["x"]
        if own.augmentation is None or inputs.ndim < 3:
            terms, gradient = self._loss(inputs, differentiated=True)
            return Evaluated(gradients={"x": gradient}, measures=terms, judged=terms["loss"])
        maps = own.augmentation.maps(inputs, seed=own.seed, step=step)
        terms, gradient = self._loss(maps.forward(inputs), differentiated=True)
        judged = None
        if step % _JUDGED == 0 or step == own.steps:
            judged = self._loss(inputs, differentiated=False)[0]["loss"]
            terms["plain_loss"] = judged
        return Evaluated(gradients={"x": maps.adjoint(gradient)}, measures=terms, judged=judged)

    def _loss(self, inputs: Array, *, differentiated: bool) -> tuple[dict[str, float], Array]:
        """Terms of the loss, averaged over classes, and the gradient of their sum."""
        totals = {"loss": 0.0, "class": 0.0, "features": 0.0, "statistics": 0.0}
        pieces = []
        for first, last in self._groups():
            k = self.objective.per_class
            part = inputs[first * k : last * k, ...]
            names = tuple(dict.fromkeys((self.head, *self.goals[0].statistics)))
            seen = self.model.observe(part, names)
            terms, outputs, cotangents = self._terms(seen.outputs, seen.inputs, first)
            for name, value in terms.items():
                totals[name] += value / len(self.goals)
            if differentiated:
                pieces.append(pull_observed(seen, outputs, cotangents))
        totals["loss"] = totals["class"] + totals["features"] + totals["statistics"]
        xp = self.model.namespace
        return totals, xp.concat(pieces, axis=0) if differentiated else inputs

    def _groups(self) -> Iterator[tuple[int, int]]:
        """Classes [first, last) that are taken at once."""
        own = self.objective
        size = own.batch_size if self.at_once is None else min(own.batch_size, self.at_once)
        yield from arrays.spans(len(self.goals), max(1, size // own.per_class))

    def _terms(
        self, outputs: Float[Array, "n c"], inputs: Mapping[str, Array], first: int
    ) -> tuple[dict[str, float], Float[Array, "n c"], dict[str, Array]]:
        """Sums over some classes, and derivatives, divided by the number of all classes, in outputs and layers."""
        own, xp, k = self.objective, self.model.namespace, self.objective.per_class
        terms = dict.fromkeys(("class", "features", "statistics"), 0.0)
        slopes: list[Array] = []
        cotangents: dict[str, list[Array]] = {name: [] for name in inputs}
        for place in range(outputs.shape[0] // k):
            goal, rows = self.goals[first + place], slice(place * k, (place + 1) * k)
            logs = log_softmax(outputs[rows, :])
            target = xp.arange(logs.shape[1], device=arrays.device_of(logs)) == first + place
            wanted = xp.astype(target, logs.dtype)[None, :]
            terms["class"] -= own.class_weight * float(xp.mean(xp.sum(logs * wanted, axis=1)))
            slopes.append((xp.exp(logs) - wanted) * (own.class_weight / k))
            for name, every in inputs.items():
                values = every[rows, :, :]
                total = xp.zeros_like(values)
                if name == self.head:
                    norm, along = unit(xp.reshape(values, goal.features.shape) - goal.features)
                    terms["features"] += own.feature_weight * norm
                    total = total + own.feature_weight * xp.reshape(along, values.shape)
                if name in goal.statistics:
                    left, along = mismatch(values, goal.weights, goal.statistics[name])
                    terms["statistics"] += own.statistics_weight * left
                    total = total + own.statistics_weight * along
                cotangents[name].append(total)
        share = 1 / len(self.goals)
        return terms, xp.concat(slopes) * share, {name: xp.concat(parts) * share for name, parts in cotangents.items()}


def _goal(
    objective: _Settings,
    model: InputDifferentiable,
    x: Array,
    members: tuple[int, Indices],
    head: str,
    names: tuple[str, ...],
    at_once: int | None,
) -> Goal:
    """What the inputs of a class, given with the places of its points, are to match."""
    label, places = members
    features, statistics = _observed(model, x, places, (head, *names), at_once)
    support, weights = objective.barycentre.summarise(
        to_host(features).astype("f8"), objective.per_class, seed=objective.seed + label
    )
    return Goal(on_device_of(support, features), on_device_of(weights, features), statistics)


def _kept_goal(kept: Checkpoints, label: int, make: Callable[[], Goal], like: Array) -> Goal:
    """The goal of a class from the folder, where it is put if it is not there."""

    def entry() -> tuple[dict[str, Array], dict[str, Any]]:
        goal = make()
        tensors = {"features": goal.features, "weights": goal.weights}
        for name, found in goal.statistics.items():
            tensors |= {f"mean.{name}": found.mean, f"variance.{name}": found.variance}
        return tensors, {name: found.count for name, found in goal.statistics.items()}

    found, counts = kept.kept(f"class-{label}", entry, like)
    with kept.building(f"class-{label}"):
        statistics = {
            name: Moments(mean=found[f"mean.{name}"], variance=found[f"variance.{name}"], count=count)
            for name, count in counts.items()
        }
        return Goal(found["features"], found["weights"], statistics)


def _observed(
    model: InputDifferentiable, x: Array, places: Indices, layers: tuple[str, ...], at_once: int | None
) -> tuple[Float[Array, "n d"], dict[str, Moments]]:
    """Penultimate features of a class's points, and the moments of what enters layers."""
    xp = model.namespace
    features: list[Array] = []
    statistics: dict[str, Moments] = {}
    head, *names = layers
    for start, stop in arrays.spans(len(places), min(POINTS, at_once or POINTS)):
        seen = model.observe(take(x, places[start:stop]), tuple(dict.fromkeys(layers)))
        features.append(xp.reshape(seen.inputs[head], (stop - start, -1)))
        for name in names:
            found = moments(seen.inputs[name])
            statistics[name] = statistics[name].merged(found) if name in statistics else found
    return xp.concat(features, axis=0), statistics


def on_device_of(values: object, like: Array) -> Array:
    """A host array as one of ``like``'s library, device and dtype."""
    backend, xp = backend_of(like), arrays.namespace(like)
    return xp.astype(backend.from_numpy(values, device=arrays.device_of(like)), like.dtype)
