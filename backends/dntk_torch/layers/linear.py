"""Linear layers and look-up tables."""

from typing import Any

import torch
from torch import nn

from dntk.gradient_blocks import DenseBlock, FactoredBlock, GradientBlock, IndexedBlock
from dntk_torch.layers.base import LayerKind


def linear_weight(_layer: Any, a: torch.Tensor, g: torch.Tensor, name: str) -> GradientBlock:
    """∇W = Σ_t g_t a_tᵀ of y = W a."""
    n, q = a.shape[0], g.shape[0]
    return FactoredBlock(
        name=name,
        offset=0,
        inputs=a.reshape(n, -1, a.shape[-1]),
        cotangents=g.reshape(q, n, -1, g.shape[-1]),
    )


def linear_bias(_layer: Any, _a: torch.Tensor, g: torch.Tensor, name: str) -> GradientBlock:
    """∇b = Σ_t g_t."""
    q, n = g.shape[:2]
    return DenseBlock(name=name, offset=0, values=g.reshape(q, n, -1, g.shape[-1]).sum(2))


def table(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str) -> GradientBlock:
    """Row a_t receives g_t, the padding row nothing, as torch has it."""
    n, q = a.shape[0], g.shape[0]
    ids, cotangents = a.reshape(n, -1).long(), g.reshape(q, n, -1, g.shape[-1])
    if layer.padding_idx is not None:
        padding = ids == layer.padding_idx
        ids = ids.masked_fill(padding, -1)
        cotangents = cotangents.masked_fill(padding[None, :, :, None], 0)
    return IndexedBlock(name=name, offset=0, ids=ids, cotangents=cotangents, rows=layer.num_embeddings)


def bag(layer: Any, a: torch.Tensor, g: torch.Tensor, name: str) -> GradientBlock:
    """Every row in a bag receives the bag's g, divided by their number where they are averaged.

    Raises
    ------
    RuntimeError
        The bag takes maxima, or bags have lengths of their own.
    """
    if layer.mode == "max" or a.ndim != 2:
        msg = f"bags of mode {layer.mode!r} and input {tuple(a.shape)} have no closed form."
        raise RuntimeError(msg)
    ids = a.long()
    kept = ids >= 0 if layer.padding_idx is None else ids != layer.padding_idx
    shares = kept.to(g.dtype)
    if layer.mode == "mean":
        shares = shares / shares.sum(1, keepdim=True).clamp(min=1)
    cotangents = g[:, :, None, :] * shares[None, :, :, None]
    ids = ids.masked_fill(~kept, -1)
    return IndexedBlock(name=name, offset=0, ids=ids, cotangents=cotangents, rows=layer.num_embeddings)


KINDS = (
    LayerKind(
        layer=nn.Linear,
        rules={"weight": linear_weight, "bias": linear_bias},
        feature_axes=lambda _: 1,
    ),
    LayerKind(layer=nn.Embedding, rules={"weight": table}, feature_axes=lambda _: 0),
    LayerKind(layer=nn.EmbeddingBag, rules={"weight": bag}),
)
