"""A forward pass that remembers what enters layers, and backward passes to what leaves them."""

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.autograd.graph import get_gradient_edge

from dntk import arrays
from dntk.gradient_blocks import GradientBlock
from dntk.types import Batch
from dntk_torch._owners import Owners, Pulled
from dntk_torch._reading import Read, Reading
from dntk_torch.calls import Functions, LayerCall, Use
from dntk_torch.execution import own_precision, prepared, run_copy
from dntk_torch.functional_capture import Recorder
from dntk_torch.layers import kind_of, merged
from dntk_torch.layouts import APART, LAYOUTS, apart, leading_axes
from dntk_torch.lineage import Cut, constants_of
from dntk_torch.private_copy import Values


@dataclasses.dataclass(frozen=True, kw_only=True)
class Site:
    """Where a parameter is used: the known layer that it belongs to, and its own name for it, or functions.

    Functions have no name of their own for a parameter: ``local`` is then empty.
    """

    layer: torch.nn.Module | Functions
    local: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Capture:
    """Outputs of a forward pass, with the calls of each watched layer.

    ``escaped`` names parameters that went into functions which are not known, and into which. ``read`` is what Python
    read, if that was asked. ``cuts`` are the places where gradients of parameters go on behind a value made of them.
    """

    outputs: torch.Tensor
    calls: Mapping[torch.nn.Module | Functions, list[LayerCall]]
    escaped: Mapping[str, str] = dataclasses.field(default_factory=dict)
    read: Read | None = None
    cuts: Sequence[Cut] = ()

    @property
    def order(self) -> list[tuple[torch.nn.Module | Functions, LayerCall]]:
        """Every call with its layer, in the order of :meth:`passes`."""
        return [(layer, call) for layer, calls in self.calls.items() for call in calls]

    def passes(self, cotangents: torch.Tensor, *, keep: bool = False) -> Iterator[tuple[torch.Tensor | None, ...]]:
        """Cotangents (*output) of every call, by one backward pass per row of ``cotangents`` (q, n, C).

        Gradients of parameters are not formed. ``None`` for a call that the outputs cannot be
        traced back to, or whose output is a nested tensor, of which no rule tells gradients. The graph is gone with the
        last pass unless it is to ``keep``.
        """
        edges, last = [call.edge for _, call in self.order], cotangents.shape[0] - 1
        for q, cotangent in enumerate(cotangents if edges else ()):
            found = torch.autograd.grad(
                self.outputs,
                edges,
                grad_outputs=cotangent.to(self.outputs.dtype),
                retain_graph=keep or q < last,
                allow_unused=True,
            )
            yield tuple(None if grad is None or grad.is_nested else grad for grad in found)

    def without_graph(self) -> "Capture":
        """What blocks are made of, when all passes are done: the graph keeps much more alive."""
        calls = {layer: [dataclasses.replace(call, edge=None) for call in made] for layer, made in self.calls.items()}
        return dataclasses.replace(self, outputs=self.outputs.detach(), calls=calls, cuts=())


def sites_of(module: torch.nn.Module) -> dict[str, list[Site]]:
    """Where each parameter that only known layers own is used; tied weights in several places."""
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    sites: dict[str, list[Site]] = {name: [] for name in names.values()}
    for layer in module.modules():
        kind = kind_of(layer)
        for local, parameter in layer._parameters.items():
            if parameter is None or names[id(parameter)] not in sites:
                continue
            if kind is None or local not in kind.rules:
                del sites[names[id(parameter)]]
            else:
                sites[names[id(parameter)]].append(Site(layer=layer, local=local))
    return sites


def capture(
    module: torch.nn.Module,
    parameters: Values,
    x: Batch,
    layers: set[torch.nn.Module | Functions],
    *,
    shielded: bool,
    reading: bool = False,
) -> Capture:
    """Run ``module`` and record every call of ``layers``, and with ``reading`` the numbers that Python reads.

    ``shielded`` hands a copy of every output on, for networks that overwrite outputs which are
    views: such an operation takes the recorded place out of the graph.
    """
    calls: dict[torch.nn.Module | Functions, list[LayerCall]] = {layer: [] for layer in layers}
    functions = [layer for layer in layers if isinstance(layer, Functions)]
    names = {name for found in functions for name in found.names}
    recorder = Recorder({name: parameters[name] for name in names}, shielded=shielded)

    def record(layer: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        value = args[0] if args else next(iter(kwargs.values()), None)
        if isinstance(value, torch.Tensor) and isinstance(output, torch.Tensor) and output.requires_grad:
            call = LayerCall(
                input=value.detach(),
                version=value._version,
                edge=get_gradient_edge(output),
            )
            calls[layer].append(call)
            return output.clone() if shielded else None
        return None

    copy, handles = prepared(module, parameters), []
    for layer in layers:
        watched_copy = copy.of(layer) if isinstance(layer, torch.nn.Module) else None
        if watched_copy is not None:
            # Before the user's own hooks, so that the recorded output is the layer's.
            hook = _for(layer, record)
            handles.append(watched_copy.register_forward_hook(hook, prepend=True, with_kwargs=True))
    reads = Reading() if reading else None
    known = recorder.knowing(constants_of(copy.module)) if functions else contextlib.nullcontext()
    with reads or contextlib.nullcontext(), known:
        outputs = run_copy(copy, x)
    for handle in handles:
        handle.remove()  # a checkpoint calls layers again on the way back
    calls.update({layer: recorder.calls for layer in functions})
    return Capture(
        outputs=outputs,
        calls=calls,
        escaped=recorder.escaped,
        read=reads.read if reads else None,
        cuts=recorder.cuts,
    )


def _for(layer: Any, record: Callable[..., Any]) -> Callable[..., Any]:
    """A hook that records the call of a copy as that of the layer."""
    return lambda _copy, args, kwargs, output: record(layer, args, kwargs, output)


def block_of(
    sites: list[Site],
    capture: Capture,
    pulled: Pulled,
    *,
    layout: str,
    name: str,
    owners: Owners | None = None,
) -> GradientBlock | None:
    """Block of one parameter in a ``layout``, ``None`` where its calls do not fit that.

    ``owners`` tells which input every row belongs to, which rows that are apart need.
    """
    n, blocks = capture.outputs.shape[0], []
    for site in sites:
        if name in capture.escaped and isinstance(site.layer, Functions):
            return None
        for place, (call, cotangents) in enumerate(zip(capture.calls[site.layer], pulled[site.layer], strict=True)):
            for use in uses_of(site, call, name):
                if cotangents is None or call.overwritten():
                    return None
                a, g = arrays.widened(call.input), arrays.widened(cotangents)
                if layout != APART:
                    laid = LAYOUTS[layout](a, g, n, use.feature_axes)
                elif owners is None or use.ordered:
                    return None
                else:
                    rows = owners.of_rows(site.layer, place, leading_axes(a, use.feature_axes))
                    laid = apart(a, g, n, use.feature_axes, rows)
                if laid is None:
                    return None
                with own_precision(cotangents.device):
                    blocks.append(laid.block(use.block))
    return merged(blocks) if blocks else None


def uses_in(captured: Capture, sites: list[Site], name: str) -> list[tuple[torch.nn.Module | Functions, int]]:
    """Layers and places of all calls that use a parameter, in the order of its sites."""
    return [
        (site.layer, place)
        for site in sites
        for place, call in enumerate(captured.calls[site.layer])
        if uses_of(site, call, name)
    ]


def uses_of(site: Site, call: LayerCall, name: str) -> list[Use]:
    """What a call at a site does with a parameter."""
    if isinstance(site.layer, Functions):
        return [use for use in call.uses if use.name == name]
    kind = kind_of(site.layer)
    if kind is None:
        return []
    axes = kind.feature_axes(site.layer)
    return [Use(name=name, rule=kind.rules[site.local], layer=site.layer, feature_axes=axes)]


def sites_in_functions(names: Collection[str]) -> dict[str, list[Site]]:
    """Parameters to look for in calls of functions."""
    functions = Functions(names=frozenset(names))
    return {name: [Site(layer=functions, local="")] for name in names}


def watched(sites: Mapping[str, list[Site]]) -> set[torch.nn.Module | Functions]:
    """Layers to record."""
    return {site.layer for found in sites.values() for site in found}
