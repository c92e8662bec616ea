"""Gradients of known layers from what enters them and the cotangents of what leaves them.

A rule takes a layer's input a (n, ...) and the cotangents g (q, n, ...) of its output and gives the
block of one of its parameters. Whether a rule holds inside a given network is not assumed:
:mod:`dntk_torch.probe` checks it.
"""

from torch import nn

from dntk_torch.layers import convolution, linear, normalisation
from dntk_torch.layers.base import LayerKind, Rule, merged

__all__ = ["KINDS", "LayerKind", "Rule", "kind_of", "merged"]

KINDS: tuple[LayerKind, ...] = (*linear.KINDS, *convolution.KINDS, *normalisation.KINDS)


def kind_of(layer: nn.Module) -> LayerKind | None:
    """The kind of a layer that runs the ``forward`` of a known class, ``None`` for others."""
    for kind in KINDS:
        if isinstance(layer, kind.layer) and type(layer).forward is kind.layer.forward:
            return kind
    return None
