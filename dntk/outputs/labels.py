"""Where the labels of a transformed model come from, and how classes are read off."""

import dataclasses
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from jaxtyping import Bool, Float, Integer

from dntk import arrays
from dntk._checks import is_integer
from dntk._target_checks import check_labels
from dntk.metrics import predicted_labels
from dntk.types import Array

Label: TypeAlias = int | Literal["predicted"] | None
"""One class for all inputs, the class that the network predicts, or labels that come with the inputs."""


@runtime_checkable
class LabelSource(Protocol):
    """What yields the labels of a batch."""

    def labels(self, given: Array | None, outputs: Float[Array, "n c"], name: str) -> Array | None:
        """Checked labels at ``outputs``; ``given`` came with the inputs, which messages call ``name``."""

    def check(self, given: Array | None, n_outputs: int, name: str) -> None:
        """Raise unless labels can be had."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FromInputs:
    """Labels that come with the inputs: integer classes, or where ``targets`` says so floating-point targets."""

    targets: bool = False

    def labels(self, given: Array | None, outputs: Float[Array, "n c"], name: str) -> Array:
        """The labels that came, targets in the shape and dtype of the outputs."""
        self.check(given, outputs.shape[1], name)
        assert given is not None
        xp = arrays.namespace(outputs)
        if not arrays.is_floating(given):
            return given
        return xp.astype(xp.reshape(given, tuple(outputs.shape)), outputs.dtype, copy=False)

    def check(self, given: Array | None, n_outputs: int, name: str) -> None:
        """Raise ``ValueError`` for no labels or ones out of range, ``TypeError`` for no classes."""
        if given is None:
            msg = (
                f"`{name}` has no labels: pass dntk.outputs.labelled({name}, y) in its place, or make the model for "
                "one class (y=3) or for the predicted class (y='predicted')."
            )
            raise ValueError(msg)
        if self.targets and arrays.is_floating(given):
            n = given.shape[0]
            if tuple(given.shape) != (n, n_outputs) and (n_outputs > 1 or given.ndim != 1):
                msg = (
                    f"the targets of `{name}` have shape {tuple(given.shape)}, expected ({n}, {n_outputs}) as outputs."
                )
                raise ValueError(msg)
            return
        check_labels(f"labels of {name}", given, points=given.shape[0])
        xp = arrays.namespace(given)
        _require_classes(f"the labels of `{name}`", int(xp.min(given)), int(xp.max(given)), n_outputs)


@dataclasses.dataclass(frozen=True)
class OneClass:
    """One class for all inputs."""

    label: int

    def labels(self, given: Array | None, outputs: Float[Array, "n c"], name: str) -> Integer[Array, " n"]:
        """The class, once per input."""
        self.check(given, outputs.shape[1], name)
        xp = arrays.namespace(outputs)
        return xp.full((outputs.shape[0],), self.label, device=arrays.device_of(outputs))

    def check(self, given: Array | None, n_outputs: int, name: str) -> None:
        """Raise ``ValueError`` for a class that the network does not have, or labels that would be ignored."""
        _refuse_labels(given, name, f"its class is fixed, y={self.label}")
        _require_classes("`y`", self.label, self.label, n_outputs)


@dataclasses.dataclass(frozen=True)
class Predicted:
    """The class of the largest output, held fixed when differentiating, which it is almost everywhere."""

    def labels(self, given: Array | None, outputs: Float[Array, "n c"], name: str) -> Integer[Array, " n"]:
        """The predicted classes."""
        self.check(given, outputs.shape[1], name)
        return predicted_labels(outputs)

    def check(self, given: Array | None, n_outputs: int, name: str) -> None:  # noqa: ARG002 - every network predicts
        """Raise ``ValueError`` for labels that would be ignored."""
        _refuse_labels(given, name, "its class is the predicted one")


@dataclasses.dataclass(frozen=True)
class Unused:
    """No labels at all."""

    def labels(self, given: Array | None, outputs: Float[Array, "n c"], name: str) -> None:
        """None."""
        self.check(given, outputs.shape[1], name)

    def check(self, given: Array | None, n_outputs: int, name: str) -> None:  # noqa: ARG002 - nothing depends on it
        """Raise ``ValueError`` for labels that would be ignored."""
        _refuse_labels(given, name, "it is a function of the outputs alone")


def label_source(y: Any, *, targets: bool = False) -> LabelSource:
    """Source that the argument ``y`` of a transform names.

    Raises
    ------
    TypeError
        ``y`` is an array or something else.
    ValueError
        A negative class, or another word than ``"predicted"``.
    """
    if y is None:
        return FromInputs(targets=targets)
    if isinstance(y, str) and y == "predicted":
        return Predicted()
    if is_integer(y):
        if y >= 0:
            return OneClass(int(y))
        msg = f"`y`={y}: classes are counted from 0."
        raise ValueError(msg)
    if isinstance(y, str):
        msg = f"`y`={y!r}: expected None, an integer class, or 'predicted'."
        raise ValueError(msg)
    msg = (
        f"`y` is a {type(y).__name__}: expected None, one integer class, or 'predicted'. Labels of inputs go with the "
        "inputs, so that batches keep them together: leave y out and pass dntk.outputs.labelled(x, y) as x."
    )
    raise TypeError(msg)


def is_label(labels: Integer[Array, " n"], n_classes: int) -> Bool[Array, "n c"]:
    """Whether a class is the label."""
    xp = arrays.namespace(labels)
    classes = xp.arange(n_classes, device=arrays.device_of(labels))
    return xp.astype(labels, classes.dtype)[:, None] == classes[None, :]


def _require_classes(what: str, least: int, largest: int, n_outputs: int) -> None:
    classes = max(2, n_outputs)  # one output is the logit of class 1 against class 0
    if least < 0 or largest >= classes:
        missing = least if least < 0 else largest
        msg = f"{what}: there is no class {missing}, the network has classes 0 to {classes - 1}."
        raise ValueError(msg)


def _refuse_labels(given: Array | None, name: str, why: str) -> None:
    if given is not None:
        msg = f"`{name}` comes with labels that this model does not take ({why}): pass the inputs alone, {name}.x."
        raise ValueError(msg)
