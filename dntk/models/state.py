"""Everything that a network's outputs depend on, as far as its model can tell."""

from collections.abc import Hashable, Mapping
from typing import Any, Protocol, runtime_checkable

from dntk.models.base import Model
from dntk.types import Array


@runtime_checkable
class Stateful(Protocol):
    """A model that tells what its outputs depend on beside the selected parameters."""

    @property
    def state(self) -> Mapping[str, Array]:
        """All arrays by name: parameters, selected or not, and buffers such as running statistics; not copied."""

    @property
    def structure(self) -> Hashable:
        """What else is cheaply told, such as layers and their settings; compared within one process only."""


def state_of(model: Model) -> Mapping[str, Array]:
    """All arrays of a model; the selected parameters where it tells no more."""
    return model.state if isinstance(model, Stateful) else model.parameters


def structure_of(model: Any) -> Hashable:
    """What a model tells of its structure, ``None`` where it tells nothing."""
    return model.structure if isinstance(model, Stateful) else None
