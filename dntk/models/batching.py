"""How many inputs are differentiated at once."""

import dataclasses
import functools
from typing import Protocol, runtime_checkable

from jaxtyping import Float

from dntk._checks import not_negative, positive_integer
from dntk.backend import free_memory
from dntk.models import batches
from dntk.models.base import Model
from dntk.types import Array, Inputs

BUDGET = 2**31
"""Bytes of gradient blocks that may be alive at once where no batch size is given, at most: 2 GiB.

Convolutions of half as many inputs at once run at nine tenths of the rate, and kernels differentiate again what does
not fit.
"""


ALONE = 2**30
"""The same where every input is used once, as for features and predictions: nothing is differentiated again."""


_SHARE = 4
"""Blocks take at most one part in so many of what is free: two copies of them may exist, and what is made of them."""


def default_bytes(model: Model, most: int) -> int:
    """``most``, or a quarter of what is free on the model's device where that is less, rounded down to a power of two.

    So batches, on which rounding depends, are the same on every machine with room, and the same again on one without
    as long as what is free does not halve.
    """
    free = free_memory(next(iter(model.parameters.values())))
    if free is None or free // _SHARE >= most:
        return most
    return 2 ** max(0, (free // _SHARE).bit_length() - 1)


@runtime_checkable
class SizedModel(Protocol):
    """A model that remembers how many bytes its gradient blocks take."""

    def block_bytes(self, x: Inputs, cotangents: Float[Array, "q c"]) -> tuple[int, int]:
        """Bytes per input for one functional, and for each further one."""


def measured_bytes(model: Model, x: Inputs, cotangents: Float[Array, "q c"]) -> tuple[int, int]:
    """Bytes of the gradient blocks of the first input for one functional, and for each further one."""
    first = further = 0
    for block in model.gradient_blocks(batches.first(x), cotangents[:1, ...]):
        first, further = first + block.nbytes, further + block.cotangent_nbytes
    return first, further


def choose_batch_size(
    model: Model,
    x: Inputs,
    cotangents: Float[Array, "q c"],
    batch_size: int | None,
    *,
    held: int = 0,
    working: tuple[int, int] = (0, 0),
    memory_limit: int | None = None,
    points: int | None = None,
) -> int:
    """``batch_size`` if given, else as many inputs as fit :func:`default_bytes`, measured on the first input.

    ``points`` are those that a result is of, where these are not all of ``x``.

    ``memory_limit`` is a bound in bytes on blocks, of which two copies may exist, on what is ``held`` beside them, and
    on what is ``working``: bytes for every input, and the most that there may be.

    Raises
    ------
    ValueError
        ``batch_size`` is no positive integer; not even the blocks of one input fit the memory limit.
    """
    _require_bytes(memory_limit)
    if batch_size is not None:
        return positive_integer("batch_size", batch_size, remedy="leave it out to have it chosen")
    n = batches.count(x) if points is None else points
    if n == 1 and memory_limit is None:
        return 1
    sizes = _sizes(model, x, cotangents)
    fitting = _fitting(sizes, n, cotangents.shape[0], default_bytes(model, ALONE))
    if memory_limit is None:
        return fitting
    each, (per, most) = 2 * (sizes[0] + (cotangents.shape[0] - 1) * sizes[1]), working
    left = memory_limit - held
    within = max((left - most) // max(1, each), left // max(1, each + per))
    if within < 1:
        raise ValueError(_too_little(memory_limit, held, each + min(per, most)))
    return min(fitting, within)


def _require_bytes(limit: object) -> None:
    """Raise ``ValueError`` unless a memory limit is a number, or none."""
    if limit is not None:
        not_negative("memory_limit", limit, remedy="a number of bytes, or None")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairedBatches:
    """``inputs`` are differentiated at once, for ``functionals`` of the functionals together."""

    inputs: int
    functionals: int


def choose_paired_batches(
    model: Model,
    x: Inputs,
    cotangents: Float[Array, "q c"],
    batch_size: int | None,
    *,
    separable: bool,
    held: int = 0,
    memory_limit: int | None = None,
) -> PairedBatches:
    """Batches for a kernel, all pairs of which have to be alive together where one does not suffice.

    ``memory_limit`` and ``held`` as for :func:`choose_batch_size`.

    With b batches the inputs are differentiated (b + 1)/2 times. ``separable`` kernels do not mix functionals, and
    need that less often with fewer functionals at once, each group at the cost of a forward pass of its own: the
    group with the fewest passes is taken, counting one for a forward and one for every backward pass.
    """
    _require_bytes(memory_limit)
    n, q = batches.count(x), cotangents.shape[0]
    if batch_size is not None or (n == 1 and memory_limit is None):
        return PairedBatches(
            inputs=1
            if batch_size is None
            else positive_integer("batch_size", batch_size, remedy="leave it out to have it chosen"),
            functionals=q,
        )
    sizes = _sizes(model, x, cotangents)
    budget = _within(memory_limit, held, sizes, 1 if separable else q, default_bytes(model, BUDGET), sides=2)
    fitting = functools.partial(_fitting, sizes, n, budget=budget, sides=2)
    groups = sorted({-(-q // parts) for parts in range(1, q + 1)}, reverse=True) if separable else [q]

    def passes(group: int) -> float:
        batches = -(-n // fitting(group))
        return -(-q // group) * (1 + group) * (batches + 1) / 2

    best = min(groups, key=passes)
    return PairedBatches(inputs=fitting(best), functionals=best)


def block_bytes(model: Model, x: Inputs, cotangents: Float[Array, "q c"]) -> int:
    """Bytes of the gradient blocks of one input for all functionals."""
    first, further = _sizes(model, x, cotangents)
    return first + (cotangents.shape[0] - 1) * further


def _sizes(model: Model, x: Inputs, cotangents: Float[Array, "q c"]) -> tuple[int, int]:
    measure = model.block_bytes if isinstance(model, SizedModel) else lambda *data: measured_bytes(model, *data)
    # One alone cannot show how bytes grow with inputs of several sizes, and points of a source have to be read.
    return measure(batches.first(x, 2) if batches.is_read(x) else x, cotangents)


def _within(limit: int | None, held: int, sizes: tuple[int, int], functionals: int, default: int, *, sides: int) -> int:
    """Bytes for blocks: the default, or half of what a limit leaves, as a batch is copied while it is worked on."""
    if limit is None:
        return default
    first, further = sizes
    each = sides * (first + (functionals - 1) * further)
    budget = (limit - held) // 2
    if budget < each:
        raise ValueError(_too_little(limit, held, 2 * each))
    return min(default, budget)


def _too_little(limit: int, held: int, each: int) -> str:
    return (
        f"`memory_limit`={limit:,} bytes do not suffice: the result and its parts take {held:,}, and gradients of "
        f"one input {each:,}. Pass at least {held + each:,}, fewer points, or a smaller sketch."
    )


def _fitting(sizes: tuple[int, int], n: int, functionals: int, budget: int, sides: int = 1) -> int:
    """Inputs of one batch of n, where ``sides`` batches are alive together unless one suffices."""
    first, further = sizes
    fitting = budget // max(1, first + (functionals - 1) * further)
    return n if fitting >= n else max(1, fitting // sides)
