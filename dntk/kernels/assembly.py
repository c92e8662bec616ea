"""Kernels put together from tiles of batches, block of gradients by block."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator

from jaxtyping import Float

from dntk import arrays
from dntk._progress import Task, task
from dntk.gradient_blocks import FactoredBlock, GradientBlock
from dntk.ledger import count
from dntk.models import batches
from dntk.models._finite_results import require_finite_result, require_no_underflow
from dntk.models.base import Model
from dntk.outputs import KernelOutputs
from dntk.types import Array, Batch, Inputs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Form:
    """What a block contributes to a kernel, and where that has its axes of inputs."""

    contribution: Callable[[GradientBlock, GradientBlock], Array]
    joined: Callable[[list[Array], list[int]], Array] | None = None
    """Kernel of all functionals from those of groups of given sizes; ``None`` where it is not made of such."""
    axes: tuple[int, int] = (-2, -1)

    def whole(self, kernels: list[Array], groups: list[Array]) -> Array:
        """Kernel of all groups of functionals."""
        if len(kernels) == 1:
            return kernels[0]
        assert self.joined is not None
        return self.joined(kernels, [group.shape[0] for group in groups])

    def mirrored(self, tile: Array) -> Array:
        """The tile of the swapped batches: Θ_{ij,cd} = Θ_{ji,dc}."""
        return arrays.namespace(tile).permute_dims(tile, (2, 3, 0, 1)) if tile.ndim == 4 else tile.mT

    def tile(self, left: Iterable[GradientBlock], right: Iterable[GradientBlock] | None) -> Array:
        """Sum over blocks, taken one by one; ``None`` for the same inputs on both sides."""
        total: Array | None = None
        pairs = ((block, block) for block in left) if right is None else _paired(left, right)
        for mine, theirs in pairs:
            part = self.contribution(mine, theirs)
            total = part if total is None else _added(total, part)
        assert total is not None
        return total


def _paired(
    left: Iterable[GradientBlock], right: Iterable[GradientBlock]
) -> Iterator[tuple[GradientBlock, GradientBlock]]:
    """Blocks of the same coordinates.

    A weight and its bias may be one block for one batch, and two for another, of which an expert was sent no row.
    """
    ours, theirs = iter(left), iter(right)
    mine, other = next(ours, None), next(theirs, None)
    while mine is not None and other is not None:
        if mine.size > other.size:
            mine, ours = _split(mine, ours)
        elif other.size > mine.size:
            other, theirs = _split(other, theirs)
        if (mine.offset, mine.size) != (other.offset, other.size):
            raise _unlike(mine, other)
        yield mine, other
        mine, other = next(ours, None), next(theirs, None)
    if mine is not other:
        raise _unlike(mine, other)


def _split(block: GradientBlock, others: Iterator[GradientBlock]) -> tuple[GradientBlock, Iterator[GradientBlock]]:
    """The weight of a block, and its bias before the others."""
    if not isinstance(block, FactoredBlock):
        return block, others
    weight, *bias = block.separated()
    return weight, itertools.chain(bias, others)


def _unlike(mine: GradientBlock | None, other: GradientBlock | None) -> ValueError:
    shown = [
        "nothing" if block is None else f"{block.name!r} at {block.offset}, of {block.size} coordinates"
        for block in (mine, other)
    ]
    return ValueError(
        f"the model's gradient blocks of two batches are not of the same parameters: {shown[0]} beside {shown[1]}. "
        "Its gradient_blocks must yield every parameter once, in the order of the flattened vector."
    )


def _added(total: Array, part: Array) -> Array:
    total += part
    return total


def _assemble(
    model: Model, x1: Inputs, x2: Inputs | None, cotangents: Float[Array, "q c"], size: int, form: Form, bar: Task
) -> Array:
    """Kernel from tiles of batches; without ``x2`` only tiles on and above the diagonal are computed."""
    xp = model.namespace
    rows = list(arrays.spans(batches.count(x1), size))
    columns = rows if x2 is None else list(arrays.spans(batches.count(x2), size))
    tiles: dict[tuple[int, int], Array] = {}
    for i, (start, stop) in enumerate(rows):
        left: Iterable[GradientBlock] = _blocks(model, batches.span(x1, start, stop), cotangents)
        if len(columns) > 1:  # used more than once: kept, where otherwise one block at a time exists
            left = list(left)
        if x2 is None:
            tiles[i, i] = form.tile(left, None)
            bar.advance((stop - start) ** 2)
        for j, (a, b) in enumerate(columns):
            if x2 is None and j <= i:
                continue
            right = _blocks(model, batches.span(x1 if x2 is None else x2, a, b), cotangents)
            tiles[i, j] = form.tile(left, right)
            bar.advance((stop - start) * (b - a))
            if x2 is None:
                tiles[j, i] = form.mirrored(tiles[i, j])
    if len(tiles) == 1:
        return tiles[0, 0]
    lines = [xp.concat([tiles[i, j] for j in range(len(columns))], axis=form.axes[1]) for i in range(len(rows))]
    return xp.concat(lines, axis=form.axes[0])


def _blocks(model: Model, x: Batch, cotangents: Float[Array, "q c"]) -> Iterator[GradientBlock]:
    count(jacobian_rows=batches.count(x) * cotangents.shape[0])
    return model.gradient_blocks(x, cotangents)


def pairs_of(x1: Inputs, x2: Inputs | None, size: int) -> int:
    """Pairs of inputs that are computed: of inputs with themselves those of batches on and above the diagonal."""
    n = batches.count(x1)
    if x2 is not None:
        return n * batches.count(x2)
    return (n * n + sum((stop - start) ** 2 for start, stop in arrays.spans(n, size))) // 2


def kernel_of(
    model: Model, x1: Inputs, x2: Inputs | None, groups: list[Array], size: int, outputs: KernelOutputs
) -> Float[Array, "*kernel"]:
    """Kernel of checked inputs, group of functionals by group, so many inputs at once; see :func:`dntk.ntk`."""
    form, pairs = form_of(outputs), pairs_of(x1, x2, size)
    with task("kernel", total=len(groups) * pairs, unit="pairs") as bar, arrays.checked_afterwards():
        kernel = form.whole([_assemble(model, x1, x2, group, size, form, bar) for group in groups], groups)
    cotangents = model.namespace.concat(groups, axis=0) if len(groups) > 1 else groups[0]
    inputs = {"x1": x1} if x2 is None else {"x1": x1, "x2": x2}
    require_finite_result(kernel, model, inputs, cotangents, size)
    require_no_underflow(kernel, model, inputs, cotangents, size, with_itself=x2 is None)
    return model.namespace.permute_dims(kernel, (1, 3, 0, 2)) if outputs == "full" else kernel


def form_of(outputs: KernelOutputs) -> Form:
    """What makes the kernel of these outputs."""
    return _FORMS.get(outputs, _ONLY)


def _averaged(kernels: list[Array], sizes: list[int]) -> Array:
    """Mean over functionals from the means over groups of them."""
    total = kernels[0] * (sizes[0] / sum(sizes))
    for kernel, size in zip(kernels[1:], sizes[1:], strict=True):
        total += kernel * (size / sum(sizes))
    return total


def _listed(kernels: list[Array], _sizes: list[int]) -> Array:
    return arrays.namespace(kernels[0]).concat(kernels, axis=0)


_ONLY = Form(contribution=lambda left, right: left.gram(right)[0, ...])
_FORMS: dict[object, Form] = {
    "mean": Form(contribution=lambda left, right: left.mean_gram(right), joined=_averaged),
    "each": Form(contribution=lambda left, right: left.gram(right), joined=_listed),
    "full": Form(contribution=lambda left, right: left.cross_gram(right), axes=(1, 3)),
    "sum": _ONLY,
}
