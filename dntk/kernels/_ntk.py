"""The exact empirical neural tangent kernel, block by block."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk._checks import positive_integer
from dntk._progress import Task, task
from dntk.gradient_blocks import GradientBlock
from dntk.ledger import count
from dntk.models import batches
from dntk.models._finite_results import require_finite_result, require_no_underflow
from dntk.models.base import Model, checked_inputs
from dntk.models.batching import choose_paired_batches
from dntk.outputs import KernelOutputs
from dntk.outputs.functionals import cotangents_for
from dntk.types import Array, Batch, Inputs


def ntk(
    model: Model,
    x1: Inputs,
    x2: Inputs | None = None,
    *,
    outputs: KernelOutputs = "mean",
    batch_size: int | None = None,
    memory_limit: int | None = None,
) -> Float[Array, "*kernel"]:
    """Exact neural tangent kernel between inputs, K^c_ij = ⟨∇_θ f_c(x_i), ∇_θ f_c(x_j)⟩.

    Parameters
    ----------
    model
        From :func:`dntk.as_model`.
    x1, x2
        Inputs; ``x2=None`` means ``x1``, and the kernel is then symmetric bit for bit.
    outputs
        ``"mean"``: (n1, n2), (1/C) Σ_c K^c. ``"each"``: (C, n1, n2). ``"full"``: (n1, n2, C, C). ``"sum"``: (n1, n2),
        the kernel of (1/√C) Σ_c f_c (pNTK), one backward pass. An integer c: (n1, n2), K^c, one backward pass.
    batch_size
        Inputs differentiated at once; default: as many as keep gradient blocks within a memory budget.
    memory_limit
        Bytes that the kernel, while it is put together, and gradients may take beside the network and the inputs;
        default: gradient blocks of 2 GiB.

    Returns
    -------
    Array
        Kernel of the model's dtype on its device, of float32 for a 16-bit one.

    Raises
    ------
    TypeError, ValueError
        Inputs of another namespace, device, dtype or shape than the model takes, empty or not finite; outputs of
        the network that are not finite; an unknown ``outputs``; gradients that
        are not finite, or whose products overflow or underflow.

    Notes
    -----
    Every layer contributes by its cheapest exact form; no n × P Jacobian exists. Where the factors of all gradients
    do not fit the memory budget, "mean" and "each" take fewer outputs at a time, which costs a forward pass for
    each group; with b batches of inputs the network is differentiated b(b + 1)/2 times on pairs of batches. Source:
    Novak, Sohl-Dickstein and Schoenholz, *Fast finite width neural tangent kernel*, ICML 2022.
    """
    with arrays.checked_afterwards():
        x1, x2, order = _ordered(model, x1, x2, outputs, batch_size, memory_limit)
    form, groups, size = _form(outputs), order.groups, order.batch
    with task("kernel", total=len(groups) * order.pairs, unit="pairs") as bar, arrays.checked_afterwards():
        kernel = form.whole([_assemble(model, x1, x2, group, size, form, bar) for group in groups], groups)
    cotangents = model.namespace.concat(groups, axis=0) if len(groups) > 1 else groups[0]
    inputs = {"x1": x1} if x2 is None else {"x1": x1, "x2": x2}
    require_finite_result(kernel, model, inputs, cotangents, size)
    require_no_underflow(kernel, model, inputs, cotangents, size, with_itself=x2 is None)
    return model.namespace.permute_dims(kernel, (1, 3, 0, 2)) if outputs == "full" else kernel


@dataclasses.dataclass(frozen=True, kw_only=True)
class Order:
    """In what order a kernel is computed, and with that how often inputs are differentiated.

    Parameters
    ----------
    groups
        Functionals that are taken together, each group by itself for all inputs.
    batch
        Inputs that are differentiated at once.
    inputs
        How many inputs are differentiated for each group, those counted again that are needed again.
    pairs
        Pairs of inputs whose gradients are multiplied for each group.
    nbytes
        Of the kernel.
    """

    groups: list[Array]
    batch: int
    inputs: int
    pairs: int
    nbytes: int


def order_of(
    model: Model,
    x1: Inputs,
    x2: Inputs | None = None,
    *,
    outputs: KernelOutputs = "mean",
    batch_size: int | None = None,
    memory_limit: int | None = None,
) -> Order:
    """What :func:`ntk` will do with these arguments; it raises what that raises of them."""
    return _ordered(model, x1, x2, outputs, batch_size, memory_limit)[2]


def _ordered(
    model: Model,
    x1: Inputs,
    x2: Inputs | None,
    outputs: KernelOutputs,
    batch_size: int | None,
    memory_limit: int | None,
) -> tuple[Inputs, Inputs | None, Order]:
    """Checked inputs, and the order of the computation."""
    if batch_size is not None:
        batch_size = positive_integer("batch_size", batch_size, remedy="leave it out to have it chosen")
    x1 = checked_inputs(model, x1, "x1")
    x2 = None if x2 is None else checked_inputs(model, x2, "x2")
    place = {"xp": model.namespace, "dtype": arrays.kernel_dtype(model.namespace, model.dtype), "device": model.device}
    cotangents = cotangents_for(outputs, model.n_outputs, **place)
    nbytes = _kernel_bytes(model, x1, x1 if x2 is None else x2, outputs, place["dtype"])
    chosen = choose_paired_batches(
        model,
        x1,
        cotangents,
        batch_size,
        separable=_form(outputs).joined is not None,
        held=2 * nbytes,
        memory_limit=memory_limit,
    )
    groups = [cotangents[a:b, :] for a, b in arrays.spans(cotangents.shape[0], chosen.functionals)]
    n, size = batches.count(x1), chosen.inputs
    rows = -(-n // size)
    # Within x1 a batch meets those after it, which are differentiated for it; else all of x2 for every batch.
    again = sum(n - stop for _, stop in arrays.spans(n, size)) if x2 is None else rows * batches.count(x2)
    return x1, x2, Order(groups=groups, batch=size, inputs=n + again, pairs=_pairs(x1, x2, size), nbytes=nbytes)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Form:
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
        pairs = ((block, block) for block in left) if right is None else zip(left, right, strict=True)
        for mine, theirs in pairs:
            part = self.contribution(mine, theirs)
            total = part if total is None else _added(total, part)
        assert total is not None
        return total


def _added(total: Array, part: Array) -> Array:
    total += part
    return total


def _assemble(
    model: Model, x1: Inputs, x2: Inputs | None, cotangents: Float[Array, "q c"], size: int, form: _Form, bar: Task
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


def _kernel_bytes(model: Model, x1: Inputs, x2: Inputs, outputs: KernelOutputs, dtype: Any) -> int:
    """Bytes of the kernel."""
    matrices = {"each": model.n_outputs, "full": model.n_outputs**2}.get(str(outputs), 1)
    return matrices * batches.count(x1) * batches.count(x2) * model.namespace.finfo(dtype).bits // 8


def _pairs(x1: Inputs, x2: Inputs | None, size: int) -> int:
    """Pairs of inputs that are computed: of inputs with themselves those of batches on and above the diagonal."""
    n = batches.count(x1)
    if x2 is not None:
        return n * batches.count(x2)
    return (n * n + sum((stop - start) ** 2 for start, stop in arrays.spans(n, size))) // 2


def _blocks(model: Model, x: Batch, cotangents: Float[Array, "q c"]) -> Iterator[GradientBlock]:
    count(jacobian_rows=batches.count(x) * cotangents.shape[0])
    return model.gradient_blocks(x, cotangents)


def _form(outputs: KernelOutputs) -> _Form:
    return _FORMS.get(outputs, _ONLY)


def _averaged(kernels: list[Array], sizes: list[int]) -> Array:
    """Mean over functionals from the means over groups of them."""
    total = kernels[0] * (sizes[0] / sum(sizes))
    for kernel, size in zip(kernels[1:], sizes[1:], strict=True):
        total += kernel * (size / sum(sizes))
    return total


def _listed(kernels: list[Array], _sizes: list[int]) -> Array:
    return arrays.namespace(kernels[0]).concat(kernels, axis=0)


_ONLY = _Form(contribution=lambda left, right: left.gram(right)[0, ...])
_FORMS: dict[object, _Form] = {
    "mean": _Form(contribution=lambda left, right: left.mean_gram(right), joined=_averaged),
    "each": _Form(contribution=lambda left, right: left.gram(right), joined=_listed),
    "full": _Form(contribution=lambda left, right: left.cross_gram(right), axes=(1, 3)),
    "sum": _ONLY,
}
