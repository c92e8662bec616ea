"""Graphs of functions that HIPS autograd differentiates, and which layers their parameters belong to.

Autograd records every operation on a box as a node. A :class:`LayerNode` also remembers where a parameter entered:
as the weight of a matrix product, as a summand or as a factor. Backward passes then stop at the *outputs* of these
operations, whose cotangents hold the gradients of all inputs; gradients of parameters are not formed.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd.core import JVPNode, VJPNode, add_outgrads, make_vjp
from autograd.tracer import isbox, new_box, notrace_primitives, trace_stack
from autograd.util import toposort

Function = Callable[[Mapping[str, Any]], Any]
"""From parameters by name to outputs, at fixed inputs."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
    """Outputs of one forward pass, the node that made them, and the parameters' own nodes.

    ``end`` is ``None`` where no parameter has a share in the outputs.
    """

    outputs: Any
    end: Any
    roots: Mapping[str, Any]

    def pull(self, cotangents: Any, nodes: Iterable[Any]) -> dict[Any, Any]:
        """Cotangents of ``nodes`` from those of the outputs, by one backward pass; unreached nodes are left out."""
        if self.end is None:
            return {}
        wanted, found, pending = set(nodes), {}, {self.end: (cotangents, False)}
        for node in toposort(self.end):
            gradient, _ = pending.pop(node)
            if node in wanted:
                found[node] = gradient
            for parent, share in zip(node.parents, node.vjp(gradient), strict=True):
                pending[parent] = add_outgrads(pending.get(parent), share)
        return found


@dataclasses.dataclass(kw_only=True)
class Uses:
    """Where one parameter enters: ``sites`` of known kind, or ``elsewhere``."""

    sites: list["Site"] = dataclasses.field(default_factory=list)
    elsewhere: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Site:
    """One use of a parameter: ``kind`` is "product", "sum" or "factor"; ``other`` the operand that met it.

    ``turned`` says that the transposed parameter was used.
    """

    kind: str
    node: Any
    other: Any
    turned: bool


def recorded(function: Function, values: Mapping[str, Any]) -> Recording:
    """Forward pass that can be pulled back to ``values``."""
    return _record(function, values, {name: VJPNode.new_root() for name in values})


def recorded_layers(function: Function, values: Mapping[str, Any]) -> tuple[Recording, dict[str, Uses]]:
    """Forward pass that can be pulled back to the sites where ``values`` are used."""
    uses = {name: Uses() for name in values}
    return _record(function, values, {name: LayerNode.new_root(uses[name]) for name in values}), uses


def pushed_forward(function: Function, values: Mapping[str, Any], tangents: Mapping[str, Any]) -> Any:
    """Derivative of the outputs along ``tangents`` by forward mode, ``None`` without any influence."""
    recording = _record(function, values, {name: JVPNode.new_root(tangents[name]) for name in values})
    return None if recording.end is None else recording.end.g


def pushed_by_transposes(recording: Recording, values: Mapping[str, Any], directions: Any) -> list[Any]:
    """Derivatives along parameter vectors (q, p) by two backward passes each, where an operation has no forward rule.

    The gradient Jᵀ v is linear in v, so that its own transposed derivative along τ is J τ.
    """
    outputs = recording.outputs
    if recording.end is None:
        return [np.zeros_like(outputs) for _ in directions]

    def pulled(v: Any) -> Any:
        found = recording.pull(v, recording.roots.values())
        rows = [anp.ravel(found.get(root, np.zeros_like(values[name]))) for name, root in recording.roots.items()]
        return anp.concatenate([*rows, 0 * anp.ravel(v)])  # with v, the graph is whole if no parameter has a share

    pull, _ = make_vjp(pulled, np.zeros_like(outputs))
    return [pull(np.concatenate([direction, np.zeros(outputs.size, direction.dtype)])) for direction in directions]


def _record(function: Function, values: Mapping[str, Any], roots: Mapping[str, Any]) -> Recording:
    with trace_stack.new_trace() as trace:
        outputs = function({name: new_box(values[name], trace, root) for name, root in roots.items()})
        if isbox(outputs) and outputs._trace == trace:
            return Recording(outputs=outputs._value, end=outputs._node, roots=roots)
    return Recording(outputs=outputs, end=None, roots=roots)


class LayerNode(VJPNode):  # type: ignore[misc]
    """A node whose derivative goes to its operands, not to parameters; these are noted as :class:`Uses`."""

    __slots__ = ("turned", "uses")

    def initialize_root(self, uses: Uses) -> None:
        """Node of a parameter."""
        VJPNode.initialize_root(self)
        self.uses: Uses | None = uses
        self.turned = False

    def __init__(self, value: Any, fun: Any, args: Any, kwargs: Any, argnums: Any, parents: Any) -> None:
        self.uses = None
        self.turned = False
        self.parents: Any = ()  # type: ignore[misc]
        self.vjp: Any = _no_shares  # type: ignore[misc]
        if fun is anp.transpose and parents[0].uses is not None and len(args) == 1 and value.ndim == 2 and not kwargs:
            self.uses, self.turned = parents[0].uses, not parents[0].turned
            return
        kept = []
        for argnum, parent in zip(argnums, parents, strict=True):
            if parent.uses is None:
                kept.append((argnum, parent))
            elif sum(p.uses is not None for p in parents) > 1 or not self._note(fun, args, kwargs, argnum, parent):
                parent.uses.elsewhere = True
        if kept:
            numbers, others = zip(*kept, strict=True)
            VJPNode.__init__(self, value, fun, args, kwargs, numbers, others)

    def _note(self, fun: Any, args: Any, kwargs: Any, argnum: int, parent: Any) -> bool:
        """Whether this is a known use of the parameter, which is then written down."""
        kind = _KINDS.get(fun)
        if kind is None or kwargs or len(args) != 2:
            return False
        other = args[1 - argnum]
        if kind == "product":
            known = argnum == 1 and args[1].ndim == 2 and isinstance(other, np.ndarray) and other.ndim >= 2
        else:
            known = not parent.turned
        if known:
            parent.uses.sites.append(Site(kind=kind, node=self, other=other, turned=parent.turned))
        return known


_KINDS = {anp.dot: "product", anp.matmul: "product", anp.add: "sum", anp.multiply: "factor"}

# Comparisons, shapes and other functions without derivative make no nodes: autograd keeps their list per node class.
notrace_primitives[LayerNode] = notrace_primitives[VJPNode]


def _no_shares(gradient: Any) -> tuple[()]:
    del gradient
    return ()
