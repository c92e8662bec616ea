"""Whether every row of a layer belongs to the input that its layout says, on the very inputs of a call.

The layouts were found on the inputs of the probe. A network that moves rows by what is in its data (routing to experts,
packed tokens, a batch sorted by length) may move them otherwise for others.
"""

import dataclasses
from collections.abc import Iterator, Mapping

import torch

from dntk import arrays
from dntk_torch._owners import Owners, Pulled, drawn_weights, scaled
from dntk_torch._pulling import Placed, by_layer
from dntk_torch.calls import Functions
from dntk_torch.capture import Capture, Site, uses_in, uses_of
from dntk_torch.layouts import LAYOUTS, Laid


def witnessed(captured: Capture, cotangents: torch.Tensor, epsilon: float) -> Owners:
    """Cotangents by which rows are compared with their inputs; u mixes all functionals at random, or is the only one.

    Cost: two backward passes to the outputs of layers, in 16 bits up to four. The first is that of the only functional.
    """
    count, n = cotangents.shape[:2]
    cotangents = cotangents.to(captured.outputs.dtype)  # in a coarser one, weights and products would round apart
    weights = drawn_weights(n, cotangents.dtype, epsilon).to(cotangents.device)
    functional = cotangents[0] if count == 1 else _mixed(cotangents)
    plain, *weighted = _passes(captured, [functional, *(each[:, None] * functional for each in weights)])
    return Owners(functional=functional, plain=plain, weighted=weighted, weights=weights, epsilon=epsilon)


def _mixed(cotangents: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(22)
    mixture = torch.randn(cotangents.shape[0], generator=generator, dtype=torch.float64).to(cotangents)
    return torch.einsum("q,qnc->nc", mixture, cotangents)


def numbered(captured: Capture, owners: Owners) -> Owners:
    """Owners that tell of every row which input it belongs to. Cost: one backward pass more."""
    functional = owners.functional
    places = torch.arange(len(functional), device=functional.device).to(functional) / len(functional)
    (found,) = _passes(captured, [(1 + places)[:, None] * functional])
    return dataclasses.replace(owners, numbered=found)


def _passes(captured: Capture, cotangents: list[torch.Tensor]) -> list[Pulled]:
    if not captured.order:  # no layer was called, and there is no pass
        return [by_layer(captured, ()) for _ in cotangents]
    passes = captured.passes(torch.stack(cotangents), keep=True)
    return [by_layer(captured, [None if g is None else g[None] for g in found]) for found in passes]


def misplaced(captured: Capture, owners: Owners, placed: Mapping[str, Placed]) -> set[str]:
    """Names of parameters in whose layers a row belongs to another input, to several, or to none.

    The cotangents of Σ_i w_i ⟨u, f(x_i)⟩ with random w must be those of Σ_i ⟨u, f(x_i)⟩, each row times the w of its
    input; another input's differs with probability one. What reaches a layer in rows that no output depends on has no
    gradient to misplace. All of them where rounding is too coarse to tell.
    """
    return {
        name
        for name, (sites, layout) in placed.items()
        if not all(
            one is not None and two is not None and scaled(two, one, weights, max(owners.epsilon, arrays.epsilon(one)))
            for weights, weighted in zip(owners.weights, owners.weighted, strict=True)
            for one, two in _pairs(captured, owners.plain, weighted, sites, layout, name)
        )
    }


def same_rows(captured: Capture, sites: list[Site], pulled: Pulled, name: str, layouts: tuple[str, str]) -> bool:
    """Whether two layouts give every row of all uses of a parameter to the same input."""
    n = captured.outputs.shape[0]
    for layer, place in uses_in(captured, sites, name):
        call, g = captured.calls[layer][place], pulled[layer][place]
        if g is None:
            continue
        numbers = torch.arange(g.numel(), dtype=torch.float64, device=g.device).reshape(g.shape)
        for axes in {use.feature_axes for site in sites for use in uses_of(site, call, name) if site.layer is layer}:
            one, two = (LAYOUTS[layout](call.input, numbers, n, axes) for layout in layouts)
            if one is None or two is None or not torch.equal(_by_input(one), _by_input(two)):
                return False
    return True


def _by_input(laid: Laid) -> torch.Tensor:
    """Cotangents (1, n, ...) of every input, whatever their order."""
    return laid.by_input.flatten(2).sort().values


def _pairs(
    captured: Capture, plain: Pulled, weighted: Pulled, sites: list[Site], layout: str, name: str
) -> Iterator[tuple[torch.Tensor | None, torch.Tensor | None]]:
    """Cotangents (1, n, ...) of both passes for every use of a parameter, ``None`` where its layout does not fit."""
    n = captured.outputs.shape[0]
    for site in sites:
        layer: torch.nn.Module | Functions = site.layer
        for call, one, two in zip(captured.calls[layer], plain[layer], weighted[layer], strict=True):
            for use in uses_of(site, call, name):
                if one is None or two is None:
                    continue  # no block either
                laid = [LAYOUTS[layout](call.input, g, n, use.feature_axes) for g in (one, two)]
                first, second = (None if found is None else found.by_input for found in laid)
                yield first, second
