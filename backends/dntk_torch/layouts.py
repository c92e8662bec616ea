"""Where the inputs of a batch lie in what enters a layer, and what leaves it."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch

from dntk.gradient_blocks import DenseBlock, GradientBlock


@dataclasses.dataclass(frozen=True, kw_only=True)
class Laid:
    """A layer's input (n, ...) and the cotangents (q, n, ...) of its output, the inputs of the batch first.

    With ``joined`` > 1 both have so many rows for every input, one after the other: (n · joined, ...).
    """

    inputs: torch.Tensor
    cotangents: torch.Tensor
    joined: int = 1

    @property
    def by_input(self) -> torch.Tensor:
        """Cotangents (q, n, ...)."""
        g = self.cotangents
        return g if self.joined == 1 else g.reshape(g.shape[0], -1, self.joined, *g.shape[2:])

    def block(self, rule: Callable[[torch.Tensor, torch.Tensor], GradientBlock]) -> GradientBlock:
        """The block of a rule, whose rows are those of the batch."""
        found = rule(self.inputs, self.cotangents)
        return found if self.joined == 1 else _summed(found, self.joined)


def _summed(block: Any, joined: int) -> GradientBlock:
    """The sum over every input's rows."""
    if isinstance(block, DenseBlock):
        stored: Any = block.values
        values = stored.unflatten(1, (-1, joined)).sum(2)
        return dataclasses.replace(block, values=values)
    cotangents = block.cotangents.unflatten(1, (-1, joined)).flatten(2, 3)
    rows = "inputs" if hasattr(block, "inputs") else "ids"
    joined_rows = getattr(block, rows).unflatten(0, (-1, joined)).flatten(1, 2)
    return dataclasses.replace(block, cotangents=cotangents, **{rows: joined_rows})


def _batch_first(a: torch.Tensor, g: torch.Tensor, n: int, features: int | None) -> Laid | None:
    enough = a.ndim > (1 if features is None else features)
    return Laid(inputs=a, cotangents=g) if enough and a.shape[0] == g.shape[1] == n else None


def _batch_second(a: torch.Tensor, g: torch.Tensor, n: int, features: int | None) -> Laid | None:
    if features is None or a.ndim < features + 2 or a.shape[1] != n or g.shape[2] != n:
        return None
    return Laid(inputs=a.movedim(1, 0), cotangents=g.movedim(2, 1))


def _batch_flattened(a: torch.Tensor, g: torch.Tensor, n: int, features: int | None) -> Laid | None:
    """Positions joined to the batch, all of one input in a row."""
    if features is None:
        return Laid(inputs=a, cotangents=g, joined=a.shape[0] // n) if _joined(a, g, n) else None
    lead = a.ndim - features
    if lead < 1 or a.shape[:lead].numel() % n or g.shape[1 : 1 + lead] != a.shape[:lead]:
        return None
    cotangents = g.reshape(g.shape[0], n, -1, *g.shape[1 + lead :])
    return Laid(inputs=a.reshape(n, -1, *a.shape[lead:]), cotangents=cotangents)


def _batch_flattened_second(a: torch.Tensor, g: torch.Tensor, n: int, features: int | None) -> Laid | None:
    """Positions joined to the batch, all inputs of one position in a row."""
    if not _joined(a, g, n) or (features is not None and a.ndim != features + 1):
        return None
    joined = a.shape[0] // n
    a, g = a.unflatten(0, (joined, n)).movedim(1, 0), g.unflatten(1, (joined, n)).movedim(2, 1)
    if features is None:
        return Laid(inputs=a.flatten(0, 1), cotangents=g.flatten(1, 2), joined=joined)
    return Laid(inputs=a, cotangents=g)


def apart(a: torch.Tensor, g: torch.Tensor, n: int, features: int | None, owners: torch.Tensor | None) -> Laid | None:
    """Rows in any order, put together by the inputs that own them (-1: none), and filled up with rows of zeros."""
    lead = leading_axes(a, features)
    if owners is None or lead < 1 or g.shape[1 : 1 + lead] != a.shape[:lead] or len(owners) != a.shape[:lead].numel():
        return None
    order = torch.argsort(owners, stable=True)
    order = order[int((owners < 0).sum()) :]
    counts = torch.bincount(owners[order], minlength=n)
    most = max(1, int(counts.max()))
    place = torch.arange(len(order), device=a.device) - (counts.cumsum(0) - counts)[owners[order]]
    slots = owners[order] * most + place
    inputs = a.new_zeros((n * most, *a.shape[lead:]))
    inputs[slots] = a.reshape(-1, *a.shape[lead:])[order]
    cotangents = g.new_zeros((g.shape[0], n * most, *g.shape[1 + lead :]))
    cotangents[:, slots] = g.reshape(g.shape[0], -1, *g.shape[1 + lead :])[:, order]
    if features is None:
        return Laid(inputs=inputs, cotangents=cotangents, joined=most)
    return Laid(inputs=inputs.unflatten(0, (n, most)), cotangents=cotangents.unflatten(1, (n, most)))


def leading_axes(a: torch.Tensor, features: int | None) -> int:
    """How many axes count rows, each of which a layer treats like all others."""
    return 1 if features is None else a.ndim - features


def _joined(a: torch.Tensor, g: torch.Tensor, n: int) -> bool:
    return a.ndim > 1 and g.ndim > 2 and a.shape[0] == g.shape[1] and a.shape[0] % n == 0


APART = "rows apart"
"""The layout of :func:`apart`, for which owners of rows have to be found on the inputs of every call."""

LAYOUTS: Mapping[str, Callable[[torch.Tensor, torch.Tensor, int, int | None], Laid | None]] = {
    "batch first": _batch_first,
    "batch second": _batch_second,
    "batch flattened": _batch_flattened,
    "batch flattened second": _batch_flattened_second,
}
"""(input a, cotangents g (q, ...), number n of inputs, trailing axes that the layer transforms) to both as they lie."""
