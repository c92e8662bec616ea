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
from dntk_torch._testing import Test
from dntk_torch._verifying import Layout, UnobservableError, most_layouts
from dntk_torch._watching import Rows, rows_of
from dntk_torch._ways import Ways
from dntk_torch.called import cloned
from dntk_torch.calls import Functions
from dntk_torch.capture import (
    Site,
    sites_in_functions,
    sites_of,
)
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
    parameter with a layout, those of its uses in order that have a gradient there which tells the layout. ``ways``:
    those through the network on which the layouts were compared.
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
    ways: Ways = dataclasses.field(default_factory=Ways)

    def placed(self, *, stored: bool) -> dict[str, tuple[list[Site], str]]:
        """Sites and layouts of the names that are stored, or of the others."""
        names = [name for name in self.layouts if (name in self.stored) == stored]
        return {name: (self.sites[name], self.layouts[name]) for name in names}


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
    layouts: dict[str, Layout] = {}
    shielded = False
    escaped: dict[str, str] = {}
    reached = tuple(name for name in names if name not in test.unreached)
    for find in (lambda _left: sites_alone(exact, test.x), sites_in_functions):
        left = [name for name in reached if name not in layouts]
        found = find(left) if left else {}
        known = {name: sites[name] for name in layouts} | {name: found[name] for name in left if name in found}
        if len(known) > len(layouts):
            with contextlib.suppress(UnobservableError):
                layouts, shielded = most_layouts(test, known, escaped)
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
    names: tuple[str, ...], layouts: Mapping[str, Layout], sites: Mapping[str, list[Site]]
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
