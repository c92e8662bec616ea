"""Where a result goes on the disk, and what a part of one is."""

import dataclasses
from pathlib import Path
from typing import Any

from dntk._checks import keep, kind_of, positive_integer
from dntk.archive import expanded
from dntk.stores.shards import Shard


@dataclasses.dataclass(frozen=True)
class Store:
    """A folder for a result that does not have to fit in memory.

    Parameters
    ----------
    path
        The folder, which is made where it is missing. It belongs to one call: the same one goes on there.
    dtype
        Numbers on the disk: ``"float64"``, ``"float32"``, ``"float16"`` or ``"bfloat16"``; ``None``: as computed. 16
        bits halve the disk and the reading, and round every number by up to 2⁻¹¹ (float16, whose largest number is
        65,504) or 2⁻⁸ (bfloat16) of itself.
    rows
        Points of a chunk, the unit in which results are computed, checked and read again; ``None``: of 32 MiB at most.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(40, 3))
    >>> model = dntk.MLP(weights=(rng.normal(size=(2, 3)),), biases=(None,))
    >>> half = dntk.Store("features", dtype="float16")
    >>> phi = dntk.tangent_features(model, x, sketch=None, store=half)
    >>> whole = dntk.tangent_features(model, x, sketch=None)
    >>> np.allclose(phi.values, whole.values, rtol=2**-11, atol=2**-24)
    True
    """

    path: Any
    dtype: str | None = None
    rows: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.path, str | Path) or not str(self.path):
            msg = f"`store` is {kind_of(self.path)}: pass the path of a folder, or dntk.Store(path, dtype=...)."
            raise TypeError(msg)
        keep(self, path=expanded(self.path))
        if self.rows is not None:
            keep(self, rows=positive_integer("rows", self.rows, remedy="leave it out to have it chosen"))

    @staticmethod
    def of(store: Any) -> "Store":
        """A store from itself or from a path."""
        return store if isinstance(store, Store) else Store(store)


@dataclasses.dataclass(frozen=True)
class StoredShard:
    """A part of a result that is done, and is none by itself: ``dntk merge FOLDER`` joins all parts.

    Parameters
    ----------
    folder
        Where it is.
    shard
        Which part.
    points
        First point, and the one after the last.
    """

    folder: Path
    shard: Shard
    points: tuple[int, int]

    def __str__(self) -> str:
        first, last = self.points
        return f"{self.shard} in {self.folder}, points {first} to {last - 1}; join all with: dntk merge {self.folder}"


def require_store(*, shard: Any, client: Any = None) -> None:
    """Raise ``ValueError`` for what needs a ``store`` and has none."""
    if shard is not None:
        msg = f"`shard`={shard!r} without `store`: parts of a result meet in a folder, pass store='folder'."
        raise ValueError(msg)
    if client is not None:
        msg = "`client` without `store`: workers write tiles to a folder that they share, pass store='folder'."
        raise ValueError(msg)
