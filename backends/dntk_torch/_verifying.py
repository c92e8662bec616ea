"""Layouts in which the rules of layers hold, compared with autograd's gradient on a few inputs."""

import dataclasses
from collections.abc import Mapping

import torch

from dntk.gradient_blocks import DenseBlock, GradientBlock
from dntk_torch._evidence import is_zero
from dntk_torch._owners import Owners, Pulled
from dntk_torch._placing import misplaced, numbered, same_rows, witnessed
from dntk_torch._pulling import pull
from dntk_torch._testing import Test
from dntk_torch.called import device_of
from dntk_torch.capture import Capture, Site, block_of, capture, uses_in, watched
from dntk_torch.execution import detached, differentiable
from dntk_torch.layouts import APART, LAYOUTS


@dataclasses.dataclass(frozen=True)
class Layout:
    """A layout in which a parameter's rule holds, and whether the rule stores gradients."""

    name: str
    stored: bool
    told: frozenset[int]


class UnobservableError(Exception):
    """The network fails where calls of functions are recorded."""


def most_layouts(
    test: Test, sites: Mapping[str, list[Site]], escaped: dict[str, str]
) -> tuple[dict[str, Layout], bool]:
    """The layouts that hold, and whether outputs must be shielded for most of them."""
    plain = _verified_layouts(test, sites, escaped, shielded=False)
    shielded = {} if len(plain) == len(sites) else _verified_layouts(test, sites, escaped, shielded=True)
    return (shielded, True) if len(shielded) > len(plain) else (plain, False)


def _verified_layouts(
    test: Test, sites: Mapping[str, list[Site]], escaped: dict[str, str], *, shielded: bool
) -> dict[str, Layout]:
    """For each parameter whose layer's rule holds, the layout in which it does."""
    values = detached(test.module, list(sites))
    with differentiable(device_of(test.x)):
        try:
            captured = capture(test.module, values, test.x, watched(sites), shielded=shielded)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            # It ran before, unobserved; code of the user's may refuse modes of torch in any way.
            raise UnobservableError from error
        escaped.update(captured.escaped)
        if not captured.outputs.requires_grad:
            return {}
        placed = {name: (found, "") for name, found in sites.items()}
        pulled, _ = pull(captured, test.functional.expand(1, *test.outputs_shape), placed, {})
    layouts, rivals = {}, {}
    for name, found in sites.items():
        layout, others = _first_layout(test, found, captured, pulled, name)
        if layout is not None:
            layouts[name] = layout
        if others:
            rivals[name] = others
    if rivals:
        layouts |= _believed(test, {name: layouts[name] for name in rivals}, rivals, sites, shielded=shielded)
    apart = {name: found for name, found in sites.items() if name not in layouts}
    return layouts | (_verified_apart(test, apart, shielded=shielded) if apart else {})


def _first_layout(
    test: Test, sites: list[Site], captured: Capture, pulled: Pulled, name: str
) -> tuple[Layout | None, list[str]]:
    """The first layout in which a parameter's rule holds, and others that give rows to other inputs and fit, too.

    Gradients that are nearly the same for all inputs fit several.
    """
    fitting = ((layout, _fitting(test, sites, captured, pulled, layout, name)) for layout in LAYOUTS)
    found = [(layout, block) for layout, block in fitting if block is not None]
    if not found:
        return None, []
    (first, block), *others = found
    rivals = [other for other, _ in others if not same_rows(captured, sites, pulled, name, (first, other))]
    return Layout(first, _is_stored(test, block), _told(captured, sites, pulled, name)), rivals


def _believed(
    test: Test,
    layouts: Mapping[str, Layout],
    rivals: Mapping[str, list[str]],
    sites: Mapping[str, list[Site]],
    *,
    shielded: bool,
) -> dict[str, Layout]:
    """Layouts with rivals: uses count as compared where rows, by weights of their inputs, belong to none of the rivals.

    They do not tell where few rows have gradients. Cost: a forward pass, and two backward passes or more.
    """
    values = detached(test.module, list(layouts))
    with differentiable(device_of(test.x)):
        captured = capture(
            test.module, values, test.x, watched({name: sites[name] for name in layouts}), shielded=shielded
        )
        owners = witnessed(captured, test.functional.expand(1, *test.outputs_shape), test.epsilon)

    def refuted(name: str) -> bool:
        return all(misplaced(captured, owners, {name: (sites[name], rival)}) for rival in rivals[name])

    return {
        name: layout if refuted(name) else dataclasses.replace(layout, told=frozenset())
        for name, layout in layouts.items()
    }


def _verified_apart(test: Test, sites: Mapping[str, list[Site]], *, shielded: bool) -> dict[str, Layout]:
    """The layout of rows in any order, for each parameter all of whose rows belong to one input each."""
    values = detached(test.module, list(sites))
    cotangents = test.functional.expand(1, *test.outputs_shape)
    with differentiable(device_of(test.x)):
        captured = capture(test.module, values, test.x, watched(sites), shielded=shielded)
        if not captured.outputs.requires_grad:
            return {}
        owners = numbered(captured, witnessed(captured, cotangents, test.epsilon))
        pulled, _ = pull(captured, cotangents, {name: (found, APART) for name, found in sites.items()}, {})
    blocks = {name: _fitting(test, found, captured, pulled, APART, name, owners) for name, found in sites.items()}
    return {
        name: Layout(APART, _is_stored(test, block), _told(captured, sites[name], pulled, name))
        for name, block in blocks.items()
        if block is not None
    }


def _told(captured: Capture, sites: list[Site], pulled: Pulled, name: str) -> frozenset[int]:
    """Uses of a parameter, by their order, whose results have a gradient."""
    found = [pulled[layer][place] for layer, place in uses_in(captured, sites, name)]
    return frozenset(order for order, cotangents in enumerate(found) if not is_zero(cotangents))


def _is_stored(test: Test, block: GradientBlock) -> bool:
    return isinstance(block, DenseBlock) and test.gradients[block.name].ndim == 1


def _fitting(
    test: Test,
    sites: list[Site],
    captured: Capture,
    pulled: Pulled,
    layout: str,
    name: str,
    owners: Owners | None = None,
) -> GradientBlock | None:
    try:
        block = block_of(sites, captured, pulled, layout=layout, name=name, owners=owners)
    except (RuntimeError, IndexError):
        return None  # shapes that the rule does not know, such as a convolution without batch
    return block if block is not None and test.passes(block) else None
