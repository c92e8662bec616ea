"""The exact empirical neural tangent kernel, block by block."""

import dataclasses
from pathlib import Path
from typing import Any, overload

from jaxtyping import Float

from dntk import arrays
from dntk._checks import positive_integer
from dntk.kernels._storing import store_kernel
from dntk.kernels.assembly import form_of, kernel_of, pairs_of
from dntk.kernels.stored import StoredKernel
from dntk.models import batches
from dntk.models.base import Model, checked_inputs
from dntk.models.batching import choose_paired_batches
from dntk.outputs import KernelOutputs
from dntk.outputs.functionals import cotangents_for
from dntk.stores import Store, StoredShard, require_store
from dntk.types import Array, Inputs


@overload
def ntk(
    model: Model,
    x1: Inputs,
    x2: Inputs | None = None,
    *,
    outputs: KernelOutputs = "mean",
    batch_size: int | None = None,
    memory_limit: int | None = None,
    store: None = None,
    shard: None = None,
    client: None = None,
) -> Float[Array, "*kernel"]: ...


@overload
def ntk(
    model: Model,
    x1: Inputs,
    x2: Inputs | None = None,
    *,
    outputs: KernelOutputs = "mean",
    batch_size: int | None = None,
    memory_limit: int | None = None,
    store: Store | str | Path,
    shard: tuple[int, int] | None = None,
    client: Any = None,
) -> StoredKernel | StoredShard: ...


def ntk(
    model: Model,
    x1: Inputs,
    x2: Inputs | None = None,
    *,
    outputs: KernelOutputs = "mean",
    batch_size: int | None = None,
    memory_limit: int | None = None,
    store: Any = None,
    shard: Any = None,
    client: Any = None,
) -> Any:
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
        default: gradient blocks of 2 GiB. With ``store`` a tile and gradients.
    store
        A folder, or a :class:`dntk.Store`, for a kernel that does not have to fit in memory: it is computed and written
        tile by tile. The same call goes on there after an interruption, to the same bits; the folder of another
        network or of other data is refused. Not for ``"full"``.
    shard
        (i, n): part i of n, counted from 0, of a call that n processes share by its ``store`` alone; default and
        joining as for :func:`dntk.tangent_features`.
    client
        A ``dask.distributed.Client``, with ``store``: its workers make the tiles; see :func:`dntk.tangent_features`.

    Returns
    -------
    Array, StoredKernel or StoredShard
        Kernel of the model's dtype on its device, of float32 for a 16-bit one. With ``store`` a
        :class:`dntk.StoredKernel`, which is read tile by tile; of a part of several the :class:`dntk.StoredShard`.

    Raises
    ------
    TypeError, ValueError
        Inputs of another namespace, device, dtype or shape than the model takes, empty or not finite; outputs of
        the network that are not finite; an unknown ``outputs``; gradients that
        are not finite, or whose products overflow or underflow; a ``shard`` without a ``store``.
    dntk.StoreError
        The folder is of another call, or of other points.
    FileExistsError
        It has other files.
    OSError
        The disk is full, or (``ConnectionError``) the scheduler of ``client`` is gone; tiles that are there stay.

    Notes
    -----
    Every layer contributes by its cheapest exact form; no n × P Jacobian exists. Where the factors of all gradients
    do not fit the memory budget, "mean" and "each" take fewer outputs at a time, which costs a forward pass for
    each group; with b batches of inputs the network is differentiated b(b + 1)/2 times on pairs of batches. Source:
    Novak, Sohl-Dickstein and Schoenholz, *Fast finite width neural tangent kernel*, ICML 2022.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(16, 3)), rng.normal(size=(2, 16)) / 4
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> x = rng.normal(size=(40, 3))
    >>> dntk.ntk(model, x).shape, dntk.ntk(model, x[:5], x, outputs="each").shape
    ((40, 40), (2, 5, 40))
    >>> linear = dntk.MLP(weights=(rng.normal(size=(2, 3)),), biases=(None,))
    >>> np.allclose(dntk.ntk(linear, x), x @ x.T)  # of a linear model the kernel of its inputs
    True
    """
    if store is not None:
        return store_kernel(
            model,
            x1,
            x2,
            outputs=outputs,
            batch_size=batch_size,
            memory_limit=memory_limit,
            store=Store.of(store),
            shard=shard,
            client=client,
        )
    require_store(shard=shard, client=client)
    with arrays.checked_afterwards():
        x1, x2, order = _ordered(model, x1, x2, outputs, batch_size, memory_limit)
    return kernel_of(model, x1, x2, order.groups, order.batch, outputs)


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
        separable=form_of(outputs).joined is not None,
        held=2 * nbytes,
        memory_limit=memory_limit,
    )
    groups = [cotangents[a:b, :] for a, b in arrays.spans(cotangents.shape[0], chosen.functionals)]
    n, size = batches.count(x1), chosen.inputs
    rows = -(-n // size)
    # Within x1 a batch meets those after it, which are differentiated for it; else all of x2 for every batch.
    again = sum(n - stop for _, stop in arrays.spans(n, size)) if x2 is None else rows * batches.count(x2)
    return x1, x2, Order(groups=groups, batch=size, inputs=n + again, pairs=pairs_of(x1, x2, size), nbytes=nbytes)


def _kernel_bytes(model: Model, x1: Inputs, x2: Inputs, outputs: KernelOutputs, dtype: Any) -> int:
    """Bytes of the kernel."""
    matrices = {"each": model.n_outputs, "full": model.n_outputs**2}.get(str(outputs), 1)
    return matrices * batches.count(x1) * batches.count(x2) * model.namespace.finfo(dtype).bits // 8
