"""Checks on a few inputs, before any number is believed.

The cheap form of a parameter's per-sample gradients G_i is used only where Σ_i w_i G_i agrees with
autograd's own gradient of Σ_i w_i ⟨u, f(x_i)⟩ for random w and u. Agreement for random weights w is
agreement of every G_i, with probability one. Products with the Jacobian are compared in the same
way with the gradient.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Mapping

import torch

from dntk.gradient_blocks import DenseBlock, GradientBlock
from dntk.gradient_blocks._require_finite import require_finite
from dntk.types import Batch
from dntk_torch._elsewhere import sites_alone
from dntk_torch._evidence import is_zero
from dntk_torch._owners import Owners, Pulled
from dntk_torch._placing import numbered, witnessed
from dntk_torch._pulling import pull
from dntk_torch._testing import Test
from dntk_torch._watching import Rows, rows_of
from dntk_torch.called import cloned, device_of
from dntk_torch.calls import Functions
from dntk_torch.capture import (
    Capture,
    Site,
    block_of,
    capture,
    sites_in_functions,
    sites_of,
    uses_in,
    watched,
)
from dntk_torch.execution import detached, differentiable
from dntk_torch.layouts import APART, LAYOUTS
from dntk_torch.per_sample import (
    PerSample,
    by_loop,
    by_vmap,
)
from dntk_torch.precision import runnable
from dntk_torch.requirements import require_no_remembered_values, with_owners


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """How each selected parameter is differentiated, as the probe found it.

    ``layouts``: where a layer's rule holds, how its batch axis lies. ``per_sample``: for all other
    names, the way that works. ``sites``: the layers of the former. ``with_bias``: weights whose
    layer's bias is the next parameter and used in the same calls, so that one block holds both.
    ``stored``: vectors whose closed form is the gradient itself, as of norms and biases alone. ``unreached``:
    parameters on which the outputs do not depend. ``why_not``: why other parameters have no closed form.
    ``epsilon``: rounding of the coarsest numbers inside the network. ``rows``: what becomes of rows on those inputs by
    which the layouts were verified. ``untold``: parameters without a gradient at these inputs, ``shown``, so that their
    forms were compared with nothing; ``tried``: those for which other inputs were looked for. ``told``: of every
    parameter with a layout, those of its uses in order that have a gradient there.
    """

    layouts: Mapping[str, str]
    shielded: bool
    per_sample: Mapping[str, PerSample]
    sites: Mapping[str, list[Site]]
    with_bias: frozenset[str]
    stored: frozenset[str]
    unreached: frozenset[str]
    why_not: Mapping[str, str]
    epsilon: float
    rows: Rows
    untold: frozenset[str]
    shown: Batch
    told: Mapping[str, frozenset[int]]
    tried: frozenset[str] = frozenset()

    def placed(self, *, stored: bool) -> dict[str, tuple[list[Site], str]]:
        """Sites and layouts of the names that are stored, or of the others."""
        names = [name for name in self.layouts if (name in self.stored) == stored]
        return {name: (self.sites[name], self.layouts[name]) for name in names}


@dataclasses.dataclass(frozen=True)
class _Layout:
    """A layout in which a parameter's rule holds, and whether the rule stores gradients."""

    name: str
    stored: bool
    told: frozenset[int]


def make_plan(module: torch.nn.Module, names: tuple[str, ...], x: Batch) -> Plan:
    """The cheapest exact way for every parameter in ``names``, verified on the first few of ``x``.

    Raises
    ------
    ValueError
        No way reproduces autograd's gradient, or no parameter influences the outputs.
    """
    few, test = Test.first(module, x, names)
    return _plan_by(module, names, few, test)


def plan_at(module: torch.nn.Module, names: tuple[str, ...], shown: Batch) -> Plan:
    """As :func:`make_plan`, verified on all of the inputs ``shown``."""
    return _plan_by(module, names, shown, Test.at(module, shown, names))


def _plan_by(module: torch.nn.Module, names: tuple[str, ...], few: Batch, test: Test) -> Plan:
    """The cheapest exact way for every parameter in ``names``, verified by a test at a few inputs."""
    exact = test.module
    require_no_remembered_values(module, test.unreached)
    sites: dict[str, list[Site]] = {}
    layouts: dict[str, _Layout] = {}
    shielded = False
    escaped: dict[str, str] = {}
    reached = tuple(name for name in names if name not in test.unreached)
    for find in (lambda _left: sites_alone(exact, test.x), sites_in_functions):
        left = [name for name in reached if name not in layouts]
        found = find(left) if left else {}
        known = {name: sites[name] for name in layouts} | {name: found[name] for name in left if name in found}
        if len(known) > len(layouts):
            with contextlib.suppress(_Unobservable):
                layouts, shielded = _most_layouts(test, known, escaped)
                sites = known
    # Only what is used is recorded, in the layers of the network itself.
    in_functions = [name for name in layouts if isinstance(sites[name][0].layer, Functions)]
    own = sites_of(module) | sites_in_functions(in_functions)
    methods = _verified_per_sample(test, [name for name in reached if name not in layouts])
    with_bias = _with_bias(names, {name: found for name, found in layouts.items() if name not in test.untold}, own)
    absorbed = {bias for weight, bias in itertools.pairwise(names) if weight in with_bias}
    return Plan(
        layouts={name: layout.name for name, layout in layouts.items()},
        shielded=shielded,
        per_sample=methods if exact is module else runnable(methods, module, few, test.outputs_shape[1]),
        sites={name: own[name] for name in layouts},
        with_bias=with_bias,
        stored=frozenset(name for name, layout in layouts.items() if layout.stored) - absorbed,
        unreached=test.unreached,
        why_not={name: _why(name, escaped) for name in methods},
        epsilon=test.epsilon,
        rows=rows_of(module, few) if layouts else Rows(False),
        untold=test.untold,
        shown=cloned(few),
        told={name: layout.told for name, layout in layouts.items()},
    )


def _why(name: str, escaped: Mapping[str, str]) -> str:
    if name in escaped:
        return f"no rule tells the gradients of what goes into {escaped[name]}"
    return "its uses are not seen, or rows of inputs cannot be told apart in them"


def _with_bias(
    names: tuple[str, ...], layouts: Mapping[str, _Layout], sites: Mapping[str, list[Site]]
) -> frozenset[str]:
    return frozenset(
        weight
        for weight, bias in itertools.pairwise(names)
        if weight in layouts
        and bias in layouts
        and not layouts[weight].stored
        and layouts[weight].name == layouts[bias].name
        and [(site.layer, site.local) for site in sites[bias]] == [(s.layer, "bias") for s in sites[weight]]
    )


class _Unobservable(Exception):
    """The network fails where calls of functions are recorded."""


def _most_layouts(
    test: Test, sites: Mapping[str, list[Site]], escaped: dict[str, str]
) -> tuple[dict[str, _Layout], bool]:
    """The layouts that hold, and whether outputs must be shielded for most of them."""
    plain = _verified_layouts(test, sites, escaped, shielded=False)
    shielded = {} if len(plain) == len(sites) else _verified_layouts(test, sites, escaped, shielded=True)
    return (shielded, True) if len(shielded) > len(plain) else (plain, False)


def _verified_layouts(
    test: Test, sites: Mapping[str, list[Site]], escaped: dict[str, str], *, shielded: bool
) -> dict[str, _Layout]:
    """For each parameter whose layer's rule holds, the layout in which it does."""
    values = detached(test.module, list(sites))
    with differentiable(device_of(test.x)):
        try:
            captured = capture(test.module, values, test.x, watched(sites), shielded=shielded)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            # It ran before, unobserved; code of the user's may refuse modes of torch in any way.
            raise _Unobservable from error
        escaped.update(captured.escaped)
        if not captured.outputs.requires_grad:
            return {}
        placed = {name: (found, "") for name, found in sites.items()}
        pulled, _ = pull(captured, test.functional.expand(1, *test.outputs_shape), placed, {})
    layouts = {}
    for name, found in sites.items():
        for layout in LAYOUTS:
            block = _fitting(test, found, captured, pulled, layout, name)
            if block is not None:
                layouts[name] = _Layout(layout, _is_stored(test, block), _told(captured, found, pulled, name))
                break
    apart = {name: found for name, found in sites.items() if name not in layouts}
    return layouts | (_verified_apart(test, apart, shielded=shielded) if apart else {})


def _verified_apart(test: Test, sites: Mapping[str, list[Site]], *, shielded: bool) -> dict[str, _Layout]:
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
        name: _Layout(APART, _is_stored(test, block), _told(captured, sites[name], pulled, name))
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


def _verified_per_sample(test: Test, names: list[str]) -> dict[str, PerSample]:
    """For each parameter, the general method that reproduces autograd's gradient."""
    methods: dict[str, PerSample] = {}
    for method in (by_vmap, by_loop):
        left = [name for name in names if name not in methods]
        if left:
            found = _attempt(method, test, left)
            methods.update({name: method for name in left if name in found and test.passes(found[name])})
    wrong = [name for name in names if name not in methods]
    if wrong:
        for block in _attempt(by_loop, test, wrong).values():
            require_finite(block)  # nothing agrees with what is not finite
        msg = f"per-sample gradients do not add up to autograd's gradient for the batch, as {_apart(test, wrong)}."
        raise ValueError(msg)
    return methods


def _apart(test: Test, wrong: list[str]) -> str:
    """Why sums of gradients are others than those of the batch, and what to do."""
    if test.narrow is None or any(grad.dtype == test.narrow for grad in test.gradients.values()):
        return f"an operation's backward pass depends on the batch, in {with_owners(test.module, wrong)}"
    return (
        f"the network computes in {str(test.narrow).removeprefix('torch.')} inside, whose rounding depends on the "
        "batch: let its forward compute in float32 for its kernel, without torch.autocast or casts"
    )


def _attempt(method: PerSample, test: Test, names: list[str]) -> dict[str, GradientBlock]:
    try:
        # Two cotangents, as a way that works for one alone may fail for more.
        gradients = method(test.module, names, test.x, test.functional.expand(2, *test.outputs_shape))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        # Any code of the user may fail in its own way under function transforms; the loop is plain
        # autograd.
        if method is by_loop:
            msg = f"per-sample gradients fail ({error}) in {with_owners(test.module, names)}."
            raise ValueError(msg) from error
        return {}
    return {name: DenseBlock(name=name, offset=0, values=values) for name, values in gradients.items()}
