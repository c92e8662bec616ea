"""Which input every row of a layer belongs to, found and proved on the very inputs of a call."""

import dataclasses
from collections.abc import Hashable, Mapping, Sequence

import torch

from dntk import arrays
from dntk_torch.calls import Functions

Pulled = Mapping[torch.nn.Module | Functions, list[torch.Tensor | None]]
"""Cotangents (q, *output) of every call of a layer."""

ROUNDING = 1000
"""Units of rounding, relative to the layer's largest cotangent, by which two passes may differ."""


def tells_apart(epsilon: float) -> bool:
    """Whether weights of inputs can be told apart in numbers that are rounded so."""
    return epsilon * ROUNDING < 0.01


def drawn_weights(n: int, dtype: torch.dtype, epsilon: float) -> torch.Tensor:
    """Random weights (passes, n): another input's is the same with a probability below 1/3000."""
    generator = torch.Generator().manual_seed(22)
    if tells_apart(max(epsilon, torch.finfo(dtype).eps)):
        return (0.5 + torch.rand(1, n, generator=generator, dtype=torch.float64)).to(dtype)
    passes, most = (2, 15) if torch.finfo(dtype).max > 1e9 else (3, 4)
    powers = torch.randint(-most, most + 1, (passes, n), generator=generator)
    signs = 1 - 2 * torch.randint(0, 2, (passes, n), generator=generator)
    return torch.ldexp(signs.double(), powers).to(dtype)


def agree(found: torch.Tensor, expected: torch.Tensor, epsilon: float) -> bool:
    """Whether cotangents of two passes are the same up to rounding, and that is fine enough to tell."""
    return tells_apart(epsilon) and _within(found, expected, ROUNDING * epsilon)


def scaled(found: torch.Tensor, one: torch.Tensor, weights: torch.Tensor, epsilon: float) -> bool:
    """Whether cotangents (1, n, ...) are others times the weight of their input."""
    each = weights.to(one.dtype).reshape(1, -1, *(1,) * (one.ndim - 2))
    if tells_apart(epsilon):
        return agree(found, each * one, epsilon)
    powers = torch.frexp(each.float()).mantissa.abs() == 0.5  # of two, by which nothing is rounded
    return bool(powers.all()) and _within(found.float() / each, one.float(), epsilon)


def _within(found: torch.Tensor, expected: torch.Tensor, share: float) -> bool:
    if not found.numel():
        return True
    return float((found - expected).abs().max()) <= share * float(found.abs().max())


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Owners:
    """Cotangents (1, *output) of Σ_i w_i ⟨u_i, f(x_i)⟩ in three passes: w = 1, w_i = 1 + i / n, and random ``weights``.

    ``functional`` is u (n, C), and ``weights`` (passes, n) are those of all ``weighted`` passes. In 16 bits there are
    several, with powers of two, by which every number is scaled without rounding.

    A row that depends on one input only is scaled by the w of that: the second pass tells which it is, and the third
    proves it, as a row of several inputs, or of another one, is not scaled so but with probability zero. Without
    ``numbered`` it can be proved only where a layout says it.
    """

    functional: torch.Tensor
    plain: Pulled
    weighted: Sequence[Pulled]
    weights: torch.Tensor
    epsilon: float
    numbered: Pulled | None = None
    _known: dict[Hashable, torch.Tensor | None] = dataclasses.field(default_factory=dict, repr=False)

    def of_rows(self, layer: torch.nn.Module | Functions, place: int, lead: int) -> torch.Tensor | None:
        """Positions of the inputs that own the rows of a call, in its ``lead`` first axes; -1 without gradient.

        ``None`` where a row belongs to several inputs, or rounding is too coarse.
        """
        key = layer, place, lead
        if key not in self._known:
            self._known[key] = self._of_rows(layer, place, lead)
        return self._known[key]

    def _of_rows(self, layer: torch.nn.Module | Functions, place: int, lead: int) -> torch.Tensor | None:
        passes = [
            pulled[layer][place] for pulled in (self.plain, self.weighted[0], self.numbered) if pulled is not None
        ]
        found = [_rows(cotangents, lead) for cotangents in passes if cotangents is not None and lead > 0]
        if len(found) < 3:
            return None
        one, weighted, numbered = found
        n, sizes = self.weights.shape[1], (one * one).sum(1)
        share = (one * numbered).sum(1) / torch.where(sizes > 0, sizes, 1)
        owners = ((share - 1) * n).round().clamp(0, n - 1).nan_to_num().long()
        scaled = self.weights[0].double()[owners][:, None] * one
        epsilon = max(self.epsilon, *(arrays.epsilon(values) for values in passes if values is not None))
        return torch.where(sizes > 0, owners, -1) if agree(weighted, scaled, epsilon) else None


def _rows(cotangents: torch.Tensor, lead: int) -> torch.Tensor:
    rows = cotangents.shape[1 : 1 + lead].numel()
    return cotangents[0].reshape(rows, cotangents.numel() // max(1, rows)).double()
