"""Which parameters have a gradient at some inputs: only there can forms of their gradients be compared."""

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import torch

from dntk.models import batches
from dntk.models.adapter import showing
from dntk.models.nests import mapped
from dntk.types import Batch
from dntk_torch.called import cloned, device_of
from dntk_torch.lineage import Cut

Key = TypeVar("Key", bound=Hashable)
Gradients: TypeAlias = Mapping[Key, torch.Tensor | None]
"""Gradients, ``None`` where no way leads from the place to the outputs."""


def mixed_gradients(
    outputs: torch.Tensor, places: Mapping[Key, Any], cotangents: torch.Tensor, cuts: Sequence[Cut] = ()
) -> Gradients[Key]:
    """Gradients in parameters, or at edges, of a random mixture of all inputs' functionals (q, n, C).

    Zero where that of each functional is. Behind ``cuts`` they go on to what the values were made of. Cost: one
    backward pass to the places; none where no way leads there.
    """
    if not places or not outputs.requires_grad:
        return dict.fromkeys(places)
    mixed = torch.einsum("qn,qnc->nc", mixture(cotangents), cotangents).to(outputs.dtype)
    behind = [cut for cut in cuts if not cut.names.isdisjoint(places)]
    asked = [*places.values(), *(cut.leaf for cut in behind)]
    found = torch.autograd.grad(outputs, asked, mixed, retain_graph=True, allow_unused=True)
    gradients = dict(zip(places, found, strict=False))
    reached = [(cut.value, rest) for cut, rest in zip(behind, found[len(places) :], strict=True) if rest is not None]
    if reached:
        values, rests = zip(*reached, strict=True)
        more = torch.autograd.grad(values, list(places.values()), rests, retain_graph=True, allow_unused=True)
        gradients = {key: _sum(gradients[key], rest) for key, rest in zip(places, more, strict=True)}
    return gradients


def _sum(first: torch.Tensor | None, second: torch.Tensor | None) -> torch.Tensor | None:
    return second if first is None else first if second is None else first + second


def mixture(cotangents: torch.Tensor) -> torch.Tensor:
    """The random weights (q, n) of a mixture of functionals (q, n, C), the same at every call."""
    generator = torch.Generator().manual_seed(23)
    return (0.5 + torch.rand(cotangents.shape[:2], generator=generator, dtype=torch.float64)).to(cotangents)


def is_zero(gradient: torch.Tensor | None) -> bool:
    """Whether there is no gradient."""
    return gradient is None or not (gradient.is_nested or bool(gradient.to_dense().any()))


def inputs_showing(x: Batch, names: Collection[str], known: Batch, shown: Callable[[Batch], Collection[str]]) -> Batch:
    """Inputs that are ``known``, and few of ``x``, at one of which each of ``names`` is ``shown``."""
    device = device_of(x)
    inputs = mapped(lambda part: torch.as_tensor(part, device=device), known)
    for position in showing(x, names, shown):
        inputs = batches.joined(inputs, batches.span(x, position, position + 1))
    return cloned(inputs)
