"""Descent along gradients with a memory of the best, a stop where it diverges, and checkpoints.

An objective gives a loss with its gradients at every step; random draws are functions of the seed and the step, so
that a run that was interrupted goes on from its last checkpoint as if nothing had happened.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from dntk import arrays
from dntk._checks import keep, not_negative
from dntk._progress import task
from dntk.archive import Format, Stored, StoreError, collect_beside, present, read, schema, to_host, write
from dntk.backend import backend_of
from dntk.identity import Identity, outputs_differ
from dntk.types import Array

Variables = Mapping[str, Array]

FORMAT = Format(
    name="dntk.Checkpoint",
    version=2,
    kind="checkpoint",
    reader="distill(..., checkpoint=path)",
    fields={
        "owner": schema.text,
        "place": schema.text,
        "step": schema.integer(),
        "best_step": schema.integer(),
        "best_judged": schema.number(finite=False),
        "first_judged": schema.number(finite=False),
        "stopped": schema.text,
        "history": schema.mapping(schema.items(schema.number(finite=False))),
    },
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluated:
    """What an objective says of its variables: gradients, measures by name, and the number that is to fall.

    ``judged`` is ``None`` at steps that are not judged; the first and the last one are.
    """

    gradients: Variables
    measures: Mapping[str, float]
    judged: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A file, the seconds between two writings, and who may go on from it.

    ``owner`` is a digest of the objective, its data and the network's arrays. ``network`` tells the rest of the
    network, and ``rounding`` is the unit of rounding of its dtype.
    """

    path: str | Path
    every: float
    owner: str
    network: Identity
    rounding: float

    def __post_init__(self) -> None:
        keep(self, every=not_negative("every", self.every, remedy="the seconds between two checkpoints"))


@runtime_checkable
class Optimiser(Protocol):
    """A rule of descent as a function: nothing is kept between calls but the state that is passed."""

    def start(self, x: Array) -> Variables:
        """State before the first step of an array like ``x``."""

    def step(
        self, x: Array, gradient: Array, state: Variables, *, learning_rate: float, number: int
    ) -> tuple[Array, Variables]:
        """The array and the state after step ``number``, counted from 1."""


def _four_times(first: float) -> float:
    return 4 * first


@dataclasses.dataclass(frozen=True, kw_only=True)
class Descent:
    """How variables are moved: steps, the rate of each variable at the start, and bounds.

    Rates fall to zero along half a cosine. ``project`` maps variables to where they may be, and ``worst`` the judged
    number of the start to the one at which a run has diverged.
    """

    steps: int
    rates: Mapping[str, float]
    optimiser: Optimiser
    project: Callable[[Variables], Variables]
    checkpoint: Checkpoint | None = None
    worst: Callable[[float], float] = _four_times

    def rate(self, step: int) -> float:
        """Share of the rates at a step."""
        return 0.5 * (1 + math.cos(math.pi * step / self.steps)) if self.steps else 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """All of a run at one step: variables, averages of the optimiser, the best so far, and what was measured."""

    step: int
    variables: Variables
    averages: Mapping[str, Variables]
    best: Variables
    best_step: int
    best_judged: float
    first_judged: float
    history: Mapping[str, tuple[float, ...]]
    stopped: str = ""


def descend(start: Variables, evaluate: Callable[[int, Variables], Evaluated], descent: Descent) -> State:
    """Move variables along their gradients; the result's ``best`` is where the judged number was smallest.

    The start is among what is judged, so that nothing ends worse than it began. A run ends early, and says why in
    ``stopped``, where a loss or a gradient is not finite, or the judged number is worse than ``descent.worst``.
    """
    state = _resumed(descent.checkpoint, start) or _fresh(start, descent)
    with task("descent", total=descent.steps + 1) as bar, _Writer(descent.checkpoint) as writer:
        bar.skip(state.step)
        while not state.stopped and state.step <= descent.steps:
            state = _advanced(state, evaluate, descent)
            bar.advance()
            writer.saw(state, last=bool(state.stopped) or state.step > descent.steps)
    return state


class _Writer:
    """Writes the state of a run now and then, at its end, and when it is interrupted by hand."""

    def __init__(self, checkpoint: Checkpoint | None) -> None:
        self._checkpoint, self._written = checkpoint, time.monotonic()
        self._state: State | None = None

    def saw(self, state: State, *, last: bool) -> None:
        """The run has come so far."""
        self._state = state
        if self._checkpoint is not None and (last or time.monotonic() - self._written >= self._checkpoint.every):
            _write(self._checkpoint, state)
            self._state, self._written = None, time.monotonic()

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is KeyboardInterrupt and self._checkpoint is not None and self._state is not None:
            _write(self._checkpoint, self._state)


def _advanced(state: State, evaluate: Callable[[int, Variables], Evaluated], descent: Descent) -> State:
    """The state after one more step; the last one, after all steps, is only looked at."""
    try:
        found = evaluate(state.step, state.variables)
    except ValueError as error:
        if state.step == 0:
            raise
        # Shapes and kinds were fine at the start: what is refused now is where the variables went.
        return dataclasses.replace(state, stopped=f"diverged at step {state.step}: {error}")
    new = {name: (*state.history.get(name, ()), value) for name, value in found.measures.items()}
    history = {**state.history, **new}  # not everything is measured at every step
    state = dataclasses.replace(state, history=history)
    if state.step == 0:
        assert found.judged is not None
        state = dataclasses.replace(state, first_judged=found.judged)
    stopped = _diverged(found, state, descent)
    if stopped:
        return dataclasses.replace(state, stopped=stopped)
    if found.judged is not None and (state.step == 0 or found.judged < state.best_judged):
        state = dataclasses.replace(state, best=state.variables, best_step=state.step, best_judged=found.judged)
    if state.step == descent.steps:
        return dataclasses.replace(state, step=state.step + 1)
    return _moved(state, found.gradients, descent)


def _diverged(found: Evaluated, state: State, descent: Descent) -> str:
    judged = state.first_judged if found.judged is None else found.judged
    finite = all(math.isfinite(number) for number in (judged, *found.measures.values()))
    for gradient in found.gradients.values():
        xp = arrays.namespace(gradient)
        finite = finite and bool(xp.all(xp.isfinite(gradient)))
    if not finite:
        return f"diverged at step {state.step}: the loss or its gradient is not finite; take a smaller learning_rate."
    if judged > descent.worst(state.first_judged) > 0:
        return (
            f"diverged at step {state.step}: the loss is {judged:.3g}, {state.first_judged:.3g} at the start; "
            "take a smaller learning_rate."
        )
    return ""


def _moved(state: State, gradients: Variables, descent: Descent) -> State:
    variables, averages = dict(state.variables), dict(state.averages)
    for name, gradient in gradients.items():
        variables[name], averages[name] = descent.optimiser.step(
            variables[name],
            gradient,
            averages[name],
            learning_rate=descent.rates[name] * descent.rate(state.step),
            number=state.step + 1,
        )
    return dataclasses.replace(state, step=state.step + 1, variables=descent.project(variables), averages=averages)


def _fresh(start: Variables, descent: Descent) -> State:
    return State(
        step=0,
        variables=start,
        averages={name: descent.optimiser.start(value) for name, value in start.items()},
        best=start,
        best_step=0,
        best_judged=math.inf,
        first_judged=math.inf,
        history={},
    )


def _write(checkpoint: Checkpoint, state: State) -> None:
    tensors = {f"now.{name}": value for name, value in state.variables.items()}
    tensors |= {f"best.{name}": value for name, value in state.best.items()}
    for name, averages in state.averages.items():
        tensors |= {f"average.{name}.{kind}": value for kind, value in averages.items()}
    tensors["outputs"] = checkpoint.network.outputs
    manifest: dict[str, Any] = {"owner": checkpoint.owner, "place": checkpoint.network.place}
    for field in ("step", "best_step", "best_judged", "first_judged", "stopped"):
        manifest[field] = getattr(state, field)
    manifest["history"] = {key: list(values) for key, values in state.history.items()}
    write(checkpoint.path, FORMAT, tensors, manifest)


def _resumed(checkpoint: Checkpoint | None, start: Variables) -> State | None:
    """The state of a checkpoint, ``None`` where there is none.

    Raises
    ------
    dntk.StoreError
        It is damaged, or of another objective, network or data.
    """
    if checkpoint is None or not present(checkpoint.path):
        return None
    collect_beside(checkpoint.path)
    stored = read(checkpoint.path, FORMAT)
    manifest = stored.manifest
    if manifest["owner"] != checkpoint.owner:
        msg = (
            f"{stored.path} is a checkpoint of another objective, network, seed or data: choose another path, or "
            "remove it."
        )
        raise StoreError(msg)
    _require_same_outputs(checkpoint.network, checkpoint.rounding, stored)
    like = next(iter(start.values()))
    backend, place = backend_of(like), arrays.device_of(like)

    def group(prefix: str) -> dict[str, Array]:
        names = [name for name in stored.arrays if name.startswith(prefix)]
        return {name.removeprefix(prefix): stored.place(name, backend, device=place) for name in names}

    for name, value in start.items():
        for group_name in ("now", "best"):
            # A run that diverged may be where nothing is finite; the best was judged.
            found = stored.array(f"{group_name}.{name}", "...", {}, kind="any" if group_name == "now" else "floating")
            if found.shape != tuple(value.shape):
                stored.refuse(f"has no array '{group_name}.{name}' of shape {tuple(value.shape)}")
    fields = {name: manifest[name] for name in ("step", "best_step", "best_judged", "first_judged", "stopped")}
    return State(
        variables=group("now."),
        averages={name: group(f"average.{name}.") for name in start},
        best=group("best."),
        history={key: tuple(values) for key, values in manifest["history"].items()},
        **fields,
    )


def _require_same_outputs(network: Identity, rounding: float, stored: Stored) -> None:
    """Raise unless the network makes of its parameters, which are the same, what it made of them."""
    before = stored.array("outputs", "n c", {})
    same_place = stored.manifest["place"] == network.place
    found = outputs_differ(to_host(network.outputs), before, rounding=rounding, same_place=same_place)
    if found:
        msg = f"{stored.path} is a checkpoint of another network: {found}. Choose another path, or remove it."
        raise StoreError(msg)
