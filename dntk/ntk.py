"""The exact empirical neural tangent kernel, block by block."""

from collections.abc import Callable

from jaxtyping import Float

from dntk import arrays
from dntk.batching import choose_batch_size
from dntk.gradient_blocks import GradientBlock
from dntk.ledger import count
from dntk.model import Model, outputs_of
from dntk.outputs import KernelOutputs, cotangents_for
from dntk.types import Array


def ntk(
    model: Model,
    x1: Array,
    x2: Array | None = None,
    *,
    outputs: KernelOutputs = "mean",
    batch_size: int | None = None,
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

    Returns
    -------
    Array
        Kernel of the model's dtype on its device.

    Raises
    ------
    TypeError, ValueError
        Inputs of another namespace, device, dtype or shape than the model takes, empty or not finite; outputs of
        the network that are not finite; an unknown ``outputs``.

    Notes
    -----
    Every layer contributes by its cheapest exact form; no n × P Jacobian exists. With b batches the network is
    differentiated b(b + 1)/2 times on pairs of batches. Source: Novak, Sohl-Dickstein and Schoenholz, *Fast finite
    width neural tangent kernel*, ICML 2022.
    """
    for name, x in (("x1", x1), ("x2", x2)):
        if x is not None:
            model.check_inputs(x, name)
    outputs_of(model, x1[:1, ...])  # some networks tell their number of outputs only by running
    cotangents = cotangents_for(outputs, model.n_outputs, xp=model.namespace, dtype=model.dtype, device=model.device)
    size = choose_batch_size(model, x1, cotangents, batch_size)
    # The two point axes come last while tiles are assembled, whatever leads.
    kernel = _assemble(model, x1, x2, cotangents, size, _CONTRIBUTIONS.get(outputs, _only))
    if outputs == "full":
        return model.namespace.permute_dims(kernel, (2, 3, 0, 1))
    return kernel


_Contribution = Callable[[GradientBlock, GradientBlock], Array]


def _assemble(
    model: Model,
    x1: Array,
    x2: Array | None,
    cotangents: Float[Array, "q c"],
    size: int,
    contribution: _Contribution,
) -> Array:
    """Kernel from tiles of batches; without ``x2`` only tiles on and above the diagonal are computed."""
    xp = model.namespace
    columns = list(arrays.spans((x1 if x2 is None else x2).shape[0], size))
    tiles: dict[tuple[int, int], Array] = {}
    rows = list(arrays.spans(x1.shape[0], size))
    for i, (start, stop) in enumerate(rows):
        left = _blocks(model, x1[start:stop, ...], cotangents)
        if x2 is None:
            tiles[i, i] = _symmetrised(_tile(left, left, contribution))
        for j, (a, b) in enumerate(columns):
            if x2 is None and j <= i:
                continue
            right = _blocks(model, (x1 if x2 is None else x2)[a:b, ...], cotangents)
            tiles[i, j] = _tile(left, right, contribution)
            if x2 is None:
                tiles[j, i] = _mirrored(tiles[i, j])
    return xp.concat(
        [xp.concat([tiles[i, j] for j in range(len(columns))], axis=-1) for i in range(len(rows))], axis=-2
    )


def _blocks(model: Model, x: Array, cotangents: Float[Array, "q c"]) -> list[GradientBlock]:
    count(jacobian_rows=x.shape[0] * cotangents.shape[0])
    return list(model.gradient_blocks(x, cotangents))


def _tile(left: list[GradientBlock], right: list[GradientBlock], contribution: _Contribution) -> Array:
    total = None
    for mine, theirs in zip(left, right, strict=True):
        part = contribution(mine, theirs)
        total = part if total is None else total + part
    assert total is not None
    return total


def _mirrored(tile: Array) -> Array:
    """The tile of the swapped batches: Θ_{ij,cd} = Θ_{ji,dc}."""
    xp = arrays.namespace(tile)
    return xp.permute_dims(tile, (1, 0, 3, 2)) if tile.ndim == 4 else tile.mT


def _symmetrised(tile: Array) -> Array:
    """Symmetric to the last bit, which products of rounded factors need not be."""
    return (tile + _mirrored(tile)) / 2


def _mean(left: GradientBlock, right: GradientBlock) -> Array:
    return left.mean_gram(right)


def _each(left: GradientBlock, right: GradientBlock) -> Array:
    return left.gram(right)


def _full(left: GradientBlock, right: GradientBlock) -> Array:
    return left.cross_gram(right)


def _only(left: GradientBlock, right: GradientBlock) -> Array:
    return left.gram(right)[0, ...]


_CONTRIBUTIONS: dict[object, _Contribution] = {"mean": _mean, "each": _each, "full": _full, "sum": _only}
