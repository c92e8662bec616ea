"""Tangent features of a network, in memory, kept with checkpoints, or on the disk."""

from pathlib import Path
from typing import Any, overload

from jaxtyping import Float

from dntk import arrays
from dntk.checkpoints import Checkpoints, KeptRows, digest
from dntk.features._storing import hold_features, store_features
from dntk.features.in_memory import TangentFeatures
from dntk.features.stored import StoredFeatures
from dntk.models.base import Model, checked_inputs, require_model
from dntk.outputs import FeatureOutputs
from dntk.outputs.functionals import cotangents_for
from dntk.sketch import Sketch
from dntk.sketch.application import bind, sketched_gradients
from dntk.sketch.resolution import AnySketch, check_sketch, resolved
from dntk.stores import Store, StoredShard, require_store
from dntk.types import Array, Inputs


@overload
def tangent_features(
    model: Model,
    x: Array,
    *,
    sketch: AnySketch = "auto",
    outputs: FeatureOutputs = "each",
    batch_size: int | None = None,
    memory_limit: int | None = None,
    store: None = None,
    shard: None = None,
    client: None = None,
) -> TangentFeatures: ...


@overload
def tangent_features(
    model: Model,
    x: Array,
    *,
    sketch: AnySketch = "auto",
    outputs: FeatureOutputs = "each",
    batch_size: int | None = None,
    memory_limit: int | None = None,
    store: Store | str | Path,
    shard: tuple[int, int] | None = None,
    client: Any = None,
) -> StoredFeatures | StoredShard: ...


@overload
def tangent_features(
    model: Model,
    x: Array,
    *,
    sketch: AnySketch = "auto",
    outputs: FeatureOutputs = "each",
    batch_size: int | None = None,
    memory_limit: int | None = None,
    store: None = None,
    shard: None = None,
    client: object,
) -> StoredFeatures: ...


def tangent_features(
    model: Model,
    x: Array,
    *,
    sketch: AnySketch = "auto",
    outputs: FeatureOutputs = "each",
    batch_size: int | None = None,
    memory_limit: int | None = None,
    store: Any = None,
    shard: Any = None,
    client: Any = None,
) -> TangentFeatures | StoredShard:
    """Sketched tangent features ψ_c(x) = S ∇_θ f_c(x) of every input.

    Parameters
    ----------
    model
        From :func:`dntk.as_model`.
    x
        Inputs.
    sketch
        For example ``dntk.sketch.SparseSign(4096)``, or a plan of :func:`dntk.sketch.choose`, or ``"auto"``: all P
        coordinates up to 4,096 parameters, else the plan for these points, a relative kernel error of 5% at 95%
        confidence. ``None`` keeps all P coordinates (small models only).
    outputs
        ``"each"``: all C outputs. ``"sum"``: the one functional (1/√C) Σ_c f_c. An integer: that output. The latter
        two cost one backward pass and give features of one output.
    batch_size
        Inputs differentiated at once; default: as many as keep gradient blocks within a memory budget.
    memory_limit
        Bytes that the features, while they are put together, and gradients may take beside the network and ``x``;
        default: gradient blocks of 1 GiB. With ``store`` a chunk and gradients.
    store
        A folder, or a :class:`dntk.Store`, for features that do not have to fit in memory: they are computed and
        written chunk by chunk. The same call goes on there after an interruption, to the same bits; the folder of
        another network, sketch, or data is refused.
    shard
        (i, n): part i of n, counted from 0, of a call that n processes share by its ``store`` alone. Default: the place
        of this process among those that torchrun or Slurm started (``RANK`` of ``WORLD_SIZE``, the place in a job
        array, ``SLURM_PROCID`` of ``SLURM_NTASKS``). Where all are done, ``dntk merge FOLDER`` joins them.
    client
        A ``dask.distributed.Client``: its workers make the chunks, in the ``store``, a folder that all of them share;
        without one the chunks stay in the memory of the workers that made them. The network travels once to each of
        them. The bits are those of one process with a ``store``.

    Returns
    -------
    TangentFeatures
        Values (C or 1, n, k) of the model's dtype on its device, accumulated in float64 where the device has it;
        ``.sketch`` is the sketch bound to the model's P. With ``store`` or ``client``: :class:`dntk.StoredFeatures`,
        which are read chunk by chunk; of a part of several the :class:`dntk.StoredShard`.

    Raises
    ------
    TypeError, ValueError
        As :func:`dntk.ntk`; also a sketch bound to another number of parameters, a ``shard`` without a ``store``.
    dntk.StoreError
        The folder is of another call, or of other points.
    FileExistsError
        It has other files.
    OSError
        The disk is full, or (``ConnectionError``) the scheduler of ``client`` is gone; chunks that are there stay.

    Notes
    -----
    Memory O(batch · C · k + the blocks of one batch + one chunk): neither n × P nor P × k exists. Stored features are
    the same to the last bit whatever the shards and whatever machine of one kind computes them: how many inputs are
    differentiated at once, which rounding depends on, is chosen by the first and kept in the folder. (A batch that does
    not fit the memory after all is halved, with a warning in the log: its rows are the same to rounding.)

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(16, 3)), rng.normal(size=(2, 16)) / 4
    >>> model = dntk.MLP(weights=weights, biases=(None, None))
    >>> x = rng.normal(size=(40, 3))
    >>> phi = dntk.tangent_features(model, x, sketch=dntk.sketch.SparseSign(32))
    >>> phi.values.shape, phi.kernel().shape
    ((2, 40, 32), (40, 40))
    >>> whole = dntk.tangent_features(model, x, sketch=None)  # all 80 parameters
    >>> whole.dim, np.allclose(whole.kernel(), dntk.ntk(model, x))
    (80, True)
    """
    if store is not None:
        bound, cotangents, x = _prepared(model, x, sketch, outputs)
        return store_features(
            model,
            x,
            bound,
            cotangents,
            outputs=outputs,
            batch_size=batch_size,
            memory_limit=memory_limit,
            store=Store.of(store),
            shard=shard,
            client=client,
        )
    require_store(shard=shard)
    if client is not None:
        bound, cotangents, x = _prepared(model, x, sketch, outputs)
        return hold_features(
            model, x, bound, cotangents, batch_size=batch_size, memory_limit=memory_limit, client=client
        )
    return kept_features(
        model, x, sketch=sketch, outputs=outputs, batch_size=batch_size, memory_limit=memory_limit, kept=None
    )


def kept_features(
    model: Model,
    x: Array,
    *,
    sketch: AnySketch,
    outputs: FeatureOutputs = "each",
    batch_size: int | None = None,
    memory_limit: int | None = None,
    kept: tuple[Checkpoints, str] | None,
    client: Any = None,
) -> TangentFeatures:
    """As :func:`tangent_features`; with a folder and a name their batches are kept there, or found there.

    The name tells points apart; another sketch, output or batch size has entries of its own. Workers of a ``client``
    make batches of several; what they make comes into this process's memory.
    """
    bound, cotangents, x = _prepared(model, x, sketch, outputs)
    rows = None if kept is None else KeptRows(kept[0], f"{kept[1]}-{digest(bound, outputs)}")
    values = sketched_gradients(
        model, x, bound, cotangents, batch_size, memory_limit=memory_limit, kept=rows, client=client
    )
    return TangentFeatures(values, bound)


def _prepared(
    model: Model, x: Array, sketch: AnySketch, outputs: FeatureOutputs
) -> tuple[Sketch | None, Float[Array, "q c"], Inputs]:
    """The bound sketch, the functionals of the outputs, and checked inputs."""
    xp = require_model(model).namespace
    check_sketch(sketch)
    if outputs in ("mean", "full"):
        msg = f"features have no `outputs`={outputs!r}: take 'each', then ask for .kernel(outputs={outputs!r})."
        raise ValueError(msg)
    inputs = checked_inputs(model, x)
    dtype = arrays.kernel_dtype(xp, model.dtype)
    cotangents = cotangents_for(outputs, model.n_outputs, xp=xp, dtype=dtype, device=model.device)
    meant = resolved(sketch, model, inputs, outputs=outputs)
    return (None if meant is None else bind(meant, model)), cotangents, inputs
