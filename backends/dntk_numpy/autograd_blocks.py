"""Gradient blocks of functions that HIPS autograd differentiates: layer by layer, or input by input."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dntk.arrays import require_finite
from dntk.gradient_blocks import DenseBlock, FactoredBlock, GradientBlock
from dntk.models.adapter import stored_block
from dntk_numpy.autograd_checks import differentiating
from dntk_numpy.autograd_graph import Function, Site, Uses, recorded, recorded_layers

Blocks = dict[str, GradientBlock]


def layer_blocks(function: Function, values: Mapping[str, Any], cotangents: Any) -> Blocks:
    """Blocks of those of ``values`` that enter as weights, summands or factors of rows; offsets are zero.

    One forward pass and a backward pass per cotangent (q, n, C), to the outputs of layers. Rows have the inputs
    along their first axis, alone or with positions joined to it.
    """
    with differentiating():
        recording, uses = recorded_layers(function, values)
    require_finite("the function's outputs", recording.outputs)
    known = {name: use for name, use in uses.items() if use.sites and not use.elsewhere}
    nodes = {site.node for use in known.values() for site in use.sites}
    with differentiating():
        passes = [recording.pull(cotangent, nodes) for cotangent in cotangents]
    pulled = {node: np.stack([found[node] for found in passes]) for node in nodes if passes and node in passes[0]}
    blocks = {}
    for name, use in known.items():
        block = _block(name, values[name], use, pulled, cotangents.shape[1])
        if block is not None:
            blocks[name] = block
    return blocks


def looped_blocks(functions: list[Function], values: Mapping[str, Any], cotangents: Any) -> Blocks:
    """Dense blocks by a forward pass per input and a backward pass per input and cotangent.

    ``functions`` has one function of the parameters per input; offsets are zero.
    """
    q, n, _ = cotangents.shape
    stored = {name: np.zeros((q, n, value.size), dtype=value.dtype) for name, value in values.items()}
    for point, function in enumerate(functions):
        with differentiating():
            recording = recorded(function, values)
        require_finite("the function's outputs", recording.outputs)
        for number, cotangent in enumerate(cotangents[:, point : point + 1]):
            with differentiating():
                found = recording.pull(cotangent, recording.roots.values())
            for name, root in recording.roots.items():
                if root in found:
                    stored[name][number, point] = np.reshape(found[root], -1)
    return {name: stored_block(name, rows) for name, rows in stored.items()}


def _block(name: str, value: Any, use: Uses, pulled: Mapping[Any, Any], n: int) -> GradientBlock | None:
    sites = [site for site in use.sites if site.node in pulled]
    if not sites or any(pulled[site.node].size % n for site in sites):
        return None
    if all(site.kind == "product" for site in sites):
        return _factored(name, value, sites, pulled, n)
    if any(site.kind == "product" for site in sites):
        return None
    shares = [_reduced(site, pulled[site.node], value.shape, n) for site in sites]
    if any(share is None for share in shares):
        return None
    return DenseBlock(name=name, offset=0, values=sum(shares[1:], shares[0]).astype(value.dtype, copy=False))


def _factored(name: str, value: Any, sites: list[Site], pulled: Mapping[Any, Any], n: int) -> GradientBlock | None:
    """Positions of all uses side by side; ``None`` where a weight is used both ways round or rows are not whole."""
    turned = sites[0].turned
    if any(site.turned != turned or (site.other.size // site.other.shape[-1]) % n for site in sites):
        return None
    inputs = [np.reshape(site.other, (n, -1, site.other.shape[-1])) for site in sites]
    gradients = [np.reshape(pulled[s.node], (len(pulled[s.node]), n, -1, pulled[s.node].shape[-1])) for s in sites]
    return FactoredBlock(
        name=name,
        offset=0,
        inputs=np.concatenate(inputs, axis=1).astype(value.dtype, copy=False),
        cotangents=np.concatenate(gradients, axis=2).astype(value.dtype, copy=False),
        transposed=not turned,
    )


def _reduced(site: Site, gradients: Any, shape: tuple[int, ...], n: int) -> Any:
    """Per-sample gradients (q, n, p) of a parameter that was spread over the rows of ``gradients`` (q, rows, ...)."""
    spread = (1,) * (gradients.ndim - 1 - len(shape)) + shape
    if len(spread) != gradients.ndim - 1 or spread[:1] != (1,) or gradients.shape[1] % n:
        return None
    if site.kind == "factor":
        gradients = gradients * site.other
    summed = tuple(axis for axis, side in enumerate(spread, start=1) if side == 1 and axis > 1)
    rows = np.sum(gradients, axis=summed) if summed else gradients
    by_input = np.reshape(rows, (len(rows), n, rows.shape[1] // n, -1))
    return np.sum(by_input, axis=2)
