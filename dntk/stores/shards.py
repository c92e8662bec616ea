"""Which part of the chunks is whose, without communication."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from dntk._checks import is_integer


@dataclasses.dataclass(frozen=True)
class Shard:
    """Part ``index`` of ``count`` parts, counted from 0."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"shard {self.index} of {self.count}"

    def numbers(self, chunks: int) -> range:
        """The chunks that are its own, neighbours all; none where there are more shards than chunks."""
        return range(self.index * chunks // self.count, (self.index + 1) * chunks // self.count)


WHOLE = Shard(0, 1)
"""All of it."""


def shard_of(given: Any = None, environment: Mapping[str, str] | None = None) -> Shard:
    """The part that is meant: (i, n), or that of this process by what started it.

    Without ``given``: ``RANK`` of ``WORLD_SIZE`` where there are several ranks (torchrun), else the place of
    ``SLURM_ARRAY_TASK_ID`` among the ``SLURM_ARRAY_TASK_COUNT`` tasks of a Slurm array, else ``SLURM_PROCID`` of
    ``SLURM_NTASKS``, else all.

    Raises
    ------
    ValueError
        ``given`` is no pair of whole numbers with 0 ≤ i < n, or the variables contradict each other.
    """
    if isinstance(given, Shard):
        given = (given.index, given.count)
    if given is None:
        given = _by_environment(os.environ if environment is None else environment)
    if not (isinstance(given, tuple | list) and len(given) == 2 and all(is_integer(part) for part in given)):
        msg = f"`shard`={given!r}: expected a pair (i, n), part i of n counted from 0, such as (3, 16)."
        raise ValueError(msg)
    index, count = (int(part) for part in given)
    if not 0 <= index < count:
        msg = f"`shard`=({index}, {count}): parts are counted from 0, pass (i, n) with 0 <= i < n."
        raise ValueError(msg)
    return Shard(index, count)


def _by_environment(names: Mapping[str, str]) -> tuple[int, int]:
    for index, count in (("RANK", "WORLD_SIZE"), ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT")):
        if index in names and count in names and _number(names, count) > 1:
            place = _number(names, index)
            if index.startswith("SLURM"):  # tasks of an array are numbered from a first one, in steps
                least = _number(names, "SLURM_ARRAY_TASK_MIN", 0)
                place = (place - least) // max(1, _number(names, "SLURM_ARRAY_TASK_STEP", 1))
            return place, _number(names, count)
    if "SLURM_PROCID" in names and _number(names, "SLURM_NTASKS", 1) > 1:
        return _number(names, "SLURM_PROCID"), _number(names, "SLURM_NTASKS")
    return 0, 1


def _number(names: Mapping[str, str], name: str, default: int | None = None) -> int:
    value = names.get(name, "" if default is None else str(default))
    try:
        return int(value)
    except ValueError:
        msg = f"the variable {name} is {value!r}, no whole number: pass shard=(i, n)."
        raise ValueError(msg) from None
