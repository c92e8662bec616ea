"""Whether every row of a layer belongs to the input that its layout says, on the very inputs of a call.

The layouts were found on the inputs of the probe. A network that moves rows by what is in its data (routing to experts,
packed tokens, a batch sorted by length) may move them otherwise for others.
"""

from collections.abc import Iterator, Mapping

import torch

from dntk import arrays
from dntk_torch._pulling import Placed, by_layer
from dntk_torch.calls import Functions
from dntk_torch.capture import Capture, Pulled, Site, uses_of
from dntk_torch.layouts import LAYOUTS

_ROUNDING = 1000
"""Units of rounding, relative to the layer's largest cotangent, by which two passes may differ."""


def misplaced(captured: Capture, cotangents: torch.Tensor, placed: Mapping[str, Placed], epsilon: float) -> set[str]:
    """Names of parameters in whose layers a row belongs to another input, to several, or to none.

    The cotangents of Σ_i w_i ⟨u, f(x_i)⟩ with random w must be those of Σ_i ⟨u, f(x_i)⟩, each row times the w of its
    input; another input's differs with probability one. u mixes all functionals at random. What reaches a layer in
    rows that no output depends on has no gradient to misplace. Cost: two backward passes to the outputs of layers.
    """
    cotangents = cotangents.to(captured.outputs.dtype)  # in a coarser one, weights and products would round apart
    count, n = cotangents.shape[:2]
    generator = torch.Generator().manual_seed(22)
    mixture = torch.randn(count, generator=generator, dtype=torch.float64).to(cotangents)
    weights = (0.5 + torch.rand(n, generator=generator, dtype=torch.float64)).to(cotangents)
    plain = torch.einsum("q,qnc->nc", mixture, cotangents)
    passes = captured.passes(torch.stack([plain, weights[:, None] * plain]), keep=True)
    first, second = (by_layer(captured, [None if g is None else g[None] for g in found]) for found in passes)
    return {
        name
        for name, (sites, layout) in placed.items()
        if not all(_times(weights, *pair, epsilon) for pair in _pairs(captured, first, second, sites, layout, name))
    }


def _pairs(
    captured: Capture, first: Pulled, second: Pulled, sites: list[Site], layout: str, name: str
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Cotangents (1, n, ...) of both passes for every use of a parameter that its layout fits."""
    n = captured.outputs.shape[0]
    for site in sites:
        layer: torch.nn.Module | Functions = site.layer
        for call, one, two in zip(captured.calls[layer], first[layer], second[layer], strict=True):
            for use in uses_of(site, call, name):
                if one is None or two is None:
                    continue  # no block either
                laid = [LAYOUTS[layout](call.input, g, n, use.feature_axes) for g in (one, two)]
                if laid[0] is not None and laid[1] is not None:
                    yield laid[0].by_input, laid[1].by_input


def _times(weights: torch.Tensor, one: torch.Tensor, two: torch.Tensor, epsilon: float) -> bool:
    scaled = weights.to(one.dtype).reshape(1, -1, *(1,) * (one.ndim - 2)) * one
    size = float(two.abs().max()) if two.numel() else 0.0
    return not two.numel() or float((two - scaled).abs().max()) <= _ROUNDING * max(epsilon, arrays.epsilon(one)) * size
