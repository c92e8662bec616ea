"""Whether a network is a fixed function of one input at a time, as a kernel needs."""

from collections.abc import Callable, Mapping
from typing import Any

from dntk import arrays
from dntk.models import batches
from dntk.models.adapter._framework import Framework
from dntk.models.adapter._memo import CROWD, PROBES
from dntk.types import Array, Batch


def examine(
    run: Callable[[Batch], Array], x: Batch, framework: Framework, *, agree: Callable[[Array, Array], bool]
) -> int:
    """Number C of outputs, once a network proves a deterministic function of one input at a time.

    ``run`` takes inputs (n, ...) to outputs (n, C); ``agree`` compares two results. Cost: five forward passes of at
    most :data:`PROBES` inputs, and one of at most :data:`CROWD`.

    Raises
    ------
    ValueError
        Outputs are not finite, or vary from call to call or with the batch.
    """
    count, network = batches.count(x), framework.network
    probe = batches.first(x, min(PROBES, count))
    outputs = run(probe)
    arrays.require_finite(f"the {network}'s outputs", outputs)
    if not agree(run(probe), outputs):
        msg = (
            f"the {network} gives other outputs at a second call on the same inputs, so that it is no fixed function: "
            f"{framework.fixed}"
        )
        raise ValueError(msg)
    last, dependence = batches.count(probe) - 1, _dependence(framework)
    for row in {0, last} if last else ():
        try:
            alone = run(batches.span(probe, row, row + 1))
        except ValueError as error:  # such as statistics of one input
            raise dependence from error
        if not agree(alone, outputs[row : row + 1, :]):
            raise dependence
    if count > PROBES:
        crowd = batches.first(x, min(CROWD, count))
        together = run(crowd)
        if not agree(together[:PROBES, :], outputs):
            raise dependence
        require_own_rows(run, crowd, together, framework, agree=agree)
    return outputs.shape[1]


def require_own_rows(
    run: Callable[[Batch], Array],
    x: Batch,
    outputs: Array,
    framework: Framework,
    *,
    agree: Callable[[Array, Array], bool],
) -> None:
    """Raise ``ValueError`` unless the last few of the ``outputs`` at ``x`` are those of these few inputs alone.

    Cost: a forward pass of :data:`PROBES` inputs, fewer than ``x`` has.
    """
    arrays.require_finite(f"the {framework.network}'s outputs", outputs)
    few = batches.span(x, batches.count(x) - PROBES, batches.count(x))
    if not agree(outputs[-PROBES:, :], run(few)):
        raise _dependence(framework)


def _dependence(framework: Framework) -> ValueError:
    return ValueError(
        f"the {framework.network}'s output for an input depends on the rest of the batch (batch dependence), so that "
        f"its kernel is not defined: {framework.no_mixing}."
    )


def close(left: Array, right: Array, tolerance: float) -> bool:
    """Whether ``left`` has the shape of ``right``, and its entries to ``tolerance`` times the largest."""
    xp = arrays.namespace(right)
    return tuple(left.shape) == tuple(right.shape) and bool(
        xp.max(xp.abs(left - right)) <= tolerance * xp.max(xp.abs(right))
    )


def evaluate(run: Callable[[Batch], Any], x: Batch, framework: Framework, *, remedy: str = "") -> Any:
    """Outputs (n, C) of ``run`` at ``x``.

    Raises
    ------
    ValueError
        It fails by one of the framework's ``errors``, or returns no floating-point array (n, C).
    """
    try:
        outputs = run(x)
    except framework.not_its_fault:
        raise
    except framework.errors as error:
        inputs = f"inputs of {batches.described(x)}"
        ending = remedy or f"\nPass inputs of the shape that the {framework.network} takes: it has to run by itself."
        if isinstance(error, NotImplementedError):
            ending = "\nSay how it is called: dntk.as_model(net, forward=lambda net, batch: ...)."
        msg = f"the {framework.network} fails on {inputs}: {type(error).__name__}: {error}{ending}"
        raise ValueError(msg) from error
    require_outputs(outputs, batches.count(x), framework)
    return outputs


def _part_of(outputs: Any, framework: Framework) -> str:
    """How to take the outputs out of an answer: by the first key of a dict."""
    key = next(iter(outputs), None) if isinstance(outputs, Mapping) else None
    return framework.outputs_alone if key is None else framework.outputs_alone.replace("[0]", f"[{key!r}]")


def require_outputs(outputs: Any, n: int, framework: Framework) -> None:
    """Raise ``ValueError`` unless ``outputs`` is a floating-point array (n, C)."""
    subject = f"the {framework.network}"
    if not isinstance(outputs, framework.array):
        kind = f"{type(outputs).__module__}.{type(outputs).__qualname__}".removeprefix("builtins.")
        msg = f"{subject} returns a {kind}, not {framework.array_name}: {_part_of(outputs, framework)}."
        raise ValueError(msg)
    shape = tuple(outputs.shape)
    if len(shape) != 2 or shape[0] != n or shape[1] == 0:
        remedy = f"one row of outputs per input; {framework.two_axes}"
        if len(shape) == 3:
            remedy += "; of a language model take dntk.outputs.sequence_loss of the model"
        msg = f"{subject} returns shape {shape} for {n} inputs, expected (n, C): {remedy}."
        raise ValueError(msg)
    if not arrays.is_floating(outputs):
        msg = f"{subject}'s outputs have dtype {outputs.dtype}, not real floating point: {framework.floating}."
        raise ValueError(msg)
