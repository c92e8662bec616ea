"""Results of workers with what they cost, which the ledger of the caller gets."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import dask.sizeof

from dntk.ledger import LedgerRecorder, count


@dataclasses.dataclass(frozen=True)
class Counted:
    """A result, and the rows, passes and operations that it took; without seconds, which are the caller's."""

    value: Any
    cost: Mapping[str, Any]

    @staticmethod
    def of(make: Callable[[], Any], parts: Iterable["Counted"] = ()) -> "Counted":
        """What a call makes, of counted parts where there are any."""
        recorder = LedgerRecorder()
        with recorder.stage("task") as counter:
            for part in parts:
                count(**part.cost)
            value = make()
        return Counted(value, {**dataclasses.asdict(counter), "nbytes": 0, "seconds": 0.0})

    def __sizeof__(self) -> int:
        return int(dask.sizeof.sizeof(self.value))

    def taken(self) -> Any:
        """The result; its cost is counted here."""
        count(**self.cost)
        return self.value
