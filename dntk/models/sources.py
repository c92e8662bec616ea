"""Points that are read when they are needed: data sets, loaders, lists of examples, arrays on disk."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np

from dntk import arrays
from dntk._checks import kind_of
from dntk._foreign import require_one_split
from dntk.backend import backend_of
from dntk.models.nests import is_array, is_nest, leaves, mapped
from dntk.types import Array, Batch

_NO_POINTS = ("iloc", "get_column", "nnz")
"""Of pandas, polars and sparse matrices, whose [i] is no point."""

_TABLES = ("pandas", "polars", "pyarrow", "scipy")
"""Libraries whose columns and tables are to be made arrays by their users."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Points:
    """A source of points, read batch by batch and never all at once; made by :func:`points`.

    ``like`` is an array of the model that reads: batches come in its library, on its device, floats in its dtype.
    """

    source: Any
    collate: Callable[[list[Any]], Batch] | None = None
    device: Any = None
    size: int
    like: Array | None = None

    def __len__(self) -> int:
        """Number n of points."""
        return self.size

    def __getitem__(self, places: Any) -> Batch:
        """The batch of some points: an index, a slice, or indices."""
        chosen = range(self.size)[places] if isinstance(places, int | slice) else places
        return self.read([chosen] if isinstance(chosen, int) else [int(i) for i in chosen])

    def read(self, positions: Sequence[int]) -> Batch:
        """The batch of the points at some positions.

        Raises
        ------
        TypeError
            Examples that are put together by ``collate`` alone, such as texts.
        ValueError
            The source has another length than before; examples of several shapes; a ``collate`` that returns another
            number of points than it is given; NaN or infinite values.
        """
        if _length(self.source) != self.size:
            msg = (
                f"the source of points has {_length(self.source)} points, but had {self.size} when it was first read: "
                "pass a source that does not change while it is used."
            )
            raise ValueError(msg)
        batch = _rows(self.source, positions) if _is_stored_array(self.source) else self._collated(positions)
        if self.like is not None:
            batch = mapped(self._moved, batch)
        for name, part in leaves(batch, ""):
            _require_finite(name, part, positions)
        return batch

    def _collated(self, positions: Sequence[int]) -> Batch:
        many = getattr(self.source, "__getitems__", None)
        places = list(positions)
        examples = list(many(places)) if many is not None else [self.source[i] for i in places]
        if self.collate is None:
            return stacked(examples)
        batch = self.collate(examples)
        if not any(True for _ in leaves(batch)):
            kind = type(batch).__name__
            msg = f"`collate` made a batch without arrays (a {kind}): expected the array, or nest of arrays, that it "
            msg += "makes of the list of examples; return that."
            raise ValueError(msg)
        for name, part in leaves(batch, "batch"):
            if is_array(part) and (part.ndim == 0 or part.shape[0] != len(places)):
                msg = (
                    f"`collate` made {name} of shape {tuple(part.shape)} of {len(places)} examples: every array of a "
                    "batch must have one entry per example along its first axis."
                )
                raise ValueError(msg)
        return batch

    def _moved(self, part: Any) -> Array:
        like: Any = self.like
        if not is_array(part):
            kind, part = type(part).__name__, np.asarray(part)
            if part.dtype.kind not in "biuf":
                msg = f"examples become a batch with a {kind} in it: pass a `collate` that makes arrays of numbers."
                raise TypeError(msg)
        xp, device = arrays.namespace(like), arrays.device_of(like) if self.device is None else self.device
        if arrays.namespace(part) is not xp:
            part = backend_of(like).from_numpy(np.ascontiguousarray(backend_of(part).to_numpy(part)), device=device)
        elif arrays.device_of(part) != device:
            part = xp.asarray(part, device=device)
        return xp.astype(part, like.dtype, copy=False) if arrays.is_floating(part) else part


def points(source: Any, *, collate: Callable[[list[Any]], Batch] | None = None, device: Any = None) -> Points:
    """A source of points, to pass as ``x`` wherever inputs are taken.

    Parameters
    ----------
    source
        Anything with ``len`` and ``[i]``: a torch or Hugging Face data set, a list of examples, a memory map, a Zarr
        or HDF5 array. A ``DataLoader`` stands for its data set and its ``collate_fn``, in the data set's order,
        whether it shuffles or not.
    collate
        Puts a list of examples together to a batch, for example ``lambda texts: tokenizer(texts, padding=True,
        return_tensors="np")``; default: arrays and numbers are stacked, in nests each by itself.
    device
        Where batches go; default: the model's device.

    Raises
    ------
    TypeError
        ``source`` has no length or no ``[i]``, as iterators, which can be read once only.
    ValueError
        It is empty.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> model = dntk.MLP(weights=(rng.normal(size=(2, 3)),), biases=(None,))
    >>> source = [{"pixels": rng.normal(size=3), "label": 0} for _ in range(40)]
    >>> x = dntk.points(source, collate=lambda rows: np.stack([row["pixels"] for row in rows]))
    >>> len(x), dntk.ntk(model, x).shape
    (40, (40, 40))
    """
    if collate is not None and not callable(collate):
        msg = f"`collate` is {kind_of(collate)}: expected a function of a list of examples that returns their batch."
        raise TypeError(msg)
    require_one_split("source", source)
    if isinstance(source, Points):
        return dataclasses.replace(source, collate=collate or source.collate, device=device or source.device)
    if _is_loader(source):
        source, collate = source.dataset, collate or _collate_of(source)
    if not is_source(source) and not isinstance(source, list) and not is_array(source):
        msg = (
            f"{kind_of(source)} is no source of points: expected something with len(source) and source[i], as "
            "a data set, a list of examples or an array. What can be read once only has to become a list first."
        )
        raise TypeError(msg)
    size = _length(source)
    if size == 0:
        msg = "the source of points is empty: pass at least one point."
        raise ValueError(msg)
    return Points(source=source, collate=collate, device=device, size=size)


def is_source(x: Any) -> bool:
    """Whether points can be read from ``x`` by their positions, and it is no batch by itself."""
    if isinstance(x, str | bytes | memoryview | Mapping) or is_array(x) or any(hasattr(x, name) for name in _NO_POINTS):
        return False
    if type(x).__module__.partition(".")[0] in _TABLES or isinstance(x, np.matrix):
        return False
    if callable(getattr(x, "keys", None)):  # groups of Zarr; a data set may have a list of that name
        return False
    return isinstance(x, Points) or _is_loader(x) or (_is_indexable(x) and not is_nest(x))


def _is_indexable(x: Any) -> bool:
    if isinstance(x, type) or any(base.__name__ == "IterableDataset" for base in type(x).__mro__):
        return False  # a stream of PyTorch has [i] and may have a length, but no points by their positions
    return hasattr(x, "__getitem__") and (hasattr(x, "__len__") or _is_stored_array(x))


def _is_loader(x: Any) -> bool:
    """Whether ``x`` looks like a loader of PyTorch over a data set with positions."""
    return hasattr(x, "collate_fn") and _is_indexable(getattr(x, "dataset", None))


def _collate_of(loader: Any) -> Any:
    """A loader's own ``collate_fn``; ``TypeError`` where that puts no examples together."""
    if getattr(loader, "batch_sampler", loader) is None:
        msg = (
            "the DataLoader has batch_size=None, so that its collate_fn puts no examples together: pass its data set, "
            "dntk.points(loader.dataset), or dntk.points(loader, collate=...)."
        )
        raise TypeError(msg)
    return loader.collate_fn


def _is_stored_array(x: Any) -> bool:
    return all(hasattr(x, name) for name in ("shape", "dtype", "ndim"))


def _length(source: Any) -> int:
    size = source.shape[0] if _is_stored_array(source) else len(source)
    if size != size:  # NaN: Dask does not know how long its blocks are
        msg = "the source does not know how many points it has: call .compute_chunk_sizes() of the Dask array first."
        raise ValueError(msg)
    return int(size)


def _require_finite(name: str, part: Any, positions: Sequence[int]) -> None:
    """Raise ``ValueError`` that names the first point, counted in the source, where a batch is not finite."""
    if not is_array(part) or part.ndim == 0 or not arrays.is_floating(part):
        return
    xp = arrays.namespace(part)
    if bool(xp.all(xp.isfinite(part))):
        return
    finite = xp.all(xp.isfinite(xp.reshape(part, (part.shape[0], -1))), axis=1)
    bad = [position for position, fine in zip(positions, finite, strict=True) if not bool(fine)]
    inside = f" in its part {name}" if name else ""
    msg = (
        f"the source of points has NaN or infinite values{inside} in {len(bad)} of the {len(positions)} points that "
        f"were read together (first: point {bad[0]} of the source). Remove or impute them before calling."
    )
    raise ValueError(msg)


def _rows(stored: Any, positions: Sequence[int]) -> Any:
    """Rows of an array on disk, in one piece for every run of neighbours."""
    order = np.argsort(np.asarray(positions, dtype=np.int64), kind="stable")
    ascending = np.asarray(positions, dtype=np.int64)[order]
    unique, inverse = np.unique(ascending, return_inverse=True)
    cuts = np.flatnonzero(np.diff(unique) != 1) + 1
    runs = [_on_host(stored[int(run[0]) : int(run[-1]) + 1, ...]) for run in np.split(unique, cuts)]
    rows = runs[0] if len(runs) == 1 else np.concatenate(runs)
    if len(unique) == len(order) and np.array_equal(order, np.arange(len(order))):
        return rows
    back = np.empty_like(order)
    back[order] = inverse
    return rows[back]


def _on_host(x: Any) -> Any:
    return np.asarray(backend_of(x).to_numpy(x) if is_array(x) else x)


def stacked(examples: list[Any]) -> Batch:
    """A batch of examples: numbers and arrays stacked, in nests each by itself.

    Raises
    ------
    TypeError
        Texts, or objects that are no arrays.
    ValueError
        Examples of several shapes, or with different parts.
    """
    example = examples[0]
    _require_same_parts(examples)
    if isinstance(example, Mapping):
        return {key: stacked([other[key] for other in examples]) for key in example}
    if isinstance(example, list | tuple) and not all(isinstance(part, Number) for part in example):
        columns = [stacked(list(column)) for column in zip(*examples, strict=True)]
        return type(example)(*columns) if hasattr(example, "_fields") else tuple(columns)
    if isinstance(example, str | bytes) or not (isinstance(example, Number | list | tuple) or _converts(example)):
        msg = (
            f"examples are of type {type(example).__name__}, which become no array by themselves: pass dntk.points("
            "source, collate=...), for texts with collate=lambda texts: tokenizer(texts, padding=True, "
            'return_tensors="np").'
        )
        raise TypeError(msg)
    parts = [part if is_array(part) else np.asarray(part) for part in examples]
    shapes = {tuple(part.shape) for part in parts}
    if len(shapes) > 1:
        shown = ", ".join(str(shape) for shape in sorted(shapes)[:3])
        msg = (
            f"examples have several shapes ({shown}): pass dntk.points(source, collate=...) with a collate that pads "
            "them, and a mask where the network takes one."
        )
        raise ValueError(msg)
    return arrays.namespace(*parts).stack(parts)


def _require_same_parts(examples: list[Any]) -> None:
    """Raise ``ValueError`` where examples have other keys, or another number of parts, than the first one."""
    kinds = [_parts_in_words(example) for example in examples]
    for place, kind in enumerate(kinds):
        if kind != kinds[0]:
            msg = (
                f"examples have different parts: the first one is {kinds[0]}, another one (number {place} of those "
                f"read together) {kind}. Give all of them the same parts, or pass dntk.points(source, collate=...)."
            )
            raise ValueError(msg)


def _parts_in_words(example: Any) -> str:
    if isinstance(example, Mapping):
        return f"a mapping of {sorted(map(str, example))}"
    if isinstance(example, list | tuple) and not all(isinstance(part, Number) for part in example):
        return f"a {type(example).__name__} of {len(example)}"
    return "one array"


def _converts(x: Any) -> bool:
    return is_array(x) or hasattr(x, "__array_interface__") or hasattr(x, "__array__")
