"""Backward passes to what leaves layers, and what is kept of each."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from dntk.gradient_blocks import DenseBlock
from dntk_torch._owners import Owners, Pulled
from dntk_torch.calls import Functions
from dntk_torch.capture import Capture, Site, block_of

Placed = tuple[list[Site], str]
"""Where a parameter is used, and the layout in which its rule holds."""


def pull(
    captured: Capture,
    cotangents: torch.Tensor,
    factored: Mapping[str, Placed],
    stored: Mapping[str, Placed],
    owners: Owners | None = None,
) -> tuple[Pulled, dict[str, DenseBlock | None]]:
    """Cotangents (q, *output) of the calls that ``factored`` parameters need, and blocks of ``stored`` ones.

    The latter are sums over cotangents and much smaller: they are formed after every pass, whose
    cotangents need not be kept. ``None`` for a block that these inputs do not give. In memory the
    first axis of kept cotangents comes before that of the functionals, so that one product per
    input can serve all functionals. With ``owners`` the pass of an only functional has been made.
    """
    layers = [layer for layer, _ in captured.order]
    needed, count = _layers_of(factored), cotangents.shape[0]
    kept: list[torch.Tensor | None] = [None] * len(layers)
    parts: dict[str, list[DenseBlock | None]] = {name: [] for name in stored}
    passes = captured.passes(cotangents) if owners is None or count > 1 else [_only(owners)]
    for q, found in enumerate(passes):
        single = by_layer(captured, (None if grad is None else grad[None] for grad in found))
        for name, (sites, layout) in stored.items():
            block: Any = block_of(sites, captured, single, layout=layout, name=name, owners=owners)
            parts[name].append(block)
        for position, grad in enumerate(found):
            if layers[position] in needed:
                kept[position] = _collected(kept[position], grad, q, count)
    pulled = by_layer(captured, (None if values is None else values.movedim(1, 0) for values in kept))
    return pulled, {name: _stacked(found) for name, found in parts.items()}


def _only(owners: Owners) -> tuple[torch.Tensor | None, ...]:
    """Cotangents of every call, in the order of passes."""
    return tuple(None if grad is None else grad[0] for found in owners.plain.values() for grad in found)


def _layers_of(placed: Mapping[str, Placed]) -> set[torch.nn.Module | Functions]:
    return {site.layer for sites, _ in placed.values() for site in sites}


def by_layer(captured: Capture, values: Iterable[torch.Tensor | None]) -> Pulled:
    """Values of all calls, in the order of passes, by the layer that was called."""
    pulled: dict[torch.nn.Module | Functions, list[torch.Tensor | None]] = {layer: [] for layer in captured.calls}
    for (layer, _), value in zip(captured.order, values, strict=True):
        pulled[layer].append(value)
    return pulled


def _collected(kept: torch.Tensor | None, grad: torch.Tensor | None, q: int, count: int) -> torch.Tensor | None:
    """The cotangents so far (first, q, ...) with those of one more functional; ``None`` once one is missing."""
    if grad is None or (kept is None and q):
        return None
    if count == 1:
        return grad[:, None]
    if kept is None:
        kept = grad.new_empty((grad.shape[0], count, *grad.shape[1:]))
    kept[:, q] = grad
    return kept


def _stacked(parts: list[DenseBlock | None]) -> DenseBlock | None:
    """Blocks of one functional each as one block."""
    found = [part for part in parts if isinstance(part, DenseBlock)]
    if not found or len(found) < len(parts):
        return None
    return DenseBlock(name=found[0].name, offset=0, values=torch.cat([part.values for part in found]))
