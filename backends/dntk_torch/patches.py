"""The windows of its input that a convolution multiplies with its weight."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional


def patches(layer: Any, a: torch.Tensor) -> torch.Tensor:
    """Windows (n, t, in·k₁·…·k_d) of the input, in the order of the flattened weight.

    For one, two or three dimensions, any stride, dilation, padding and padding mode. Memory: the
    result.
    """
    return _flattened(_windows(layer, _all_padded(layer, a)))


def padded(layer: Any, a: torch.Tensor) -> tuple[torch.Tensor, Sequence[int]]:
    """The input, and the zeros that a convolution is still to put around it: other padding is put here."""
    if layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
        return a, layer.padding
    return _all_padded(layer, a), [0] * len(layer.kernel_size)


def _all_padded(layer: Any, a: torch.Tensor) -> torch.Tensor:
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return functional.pad(a, _padding(layer), mode=mode) if any(_padding(layer)) else a


def cotangent_patches(layer: Any, g: torch.Tensor, positions: Sequence[int]) -> torch.Tensor:
    """Windows (q, n, t, out·k₁·…·k_d) of a transposed convolution's cotangents g (q, n, out, ...).

    There is one for each of the ``positions`` (lengths of the axes) of its input: what that
    position was spread over. Output padding is read by none.
    """
    q, n = g.shape[:2]
    joined = functional.pad(g.flatten(0, 1), _padding(layer))
    windows = _windows(layer, joined)
    for axis, length in enumerate(positions):
        windows = windows.narrow(2 + axis, 0, length)
    columns = _flattened(windows)
    return columns.reshape(q, n, *columns.shape[1:])


def _windows(layer: Any, a: torch.Tensor) -> torch.Tensor:
    """View (n, channels, positions..., kernel...) of a padded input."""
    for axis, (size, step, spread) in enumerate(zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)):
        a = a.unfold(2 + axis, spread * (size - 1) + 1, step)[..., ::spread]
    return a


def _flattened(windows: torch.Tensor) -> torch.Tensor:
    """Windows (n, t, channels·k₁·…·k_d)."""
    dimensions = windows.ndim // 2 - 1
    # From (n, in, outputs..., kernel...) to (n, in, kernel..., outputs...): the copy then runs
    # along rows.
    outputs, kernel = range(2, 2 + dimensions), range(2 + dimensions, 2 + 2 * dimensions)
    columns = windows.permute(0, 1, *kernel, *outputs)
    rows = columns.shape[1 : 2 + dimensions].numel()
    return columns.reshape(windows.shape[0], rows, -1).mT


def _padding(layer: Any) -> list[int]:
    """Padding before and after each axis, last axis first, as ``pad`` takes it."""
    pads: list[int] = []
    for axis in range(len(layer.kernel_size) - 1, -1, -1):
        if layer.padding == "valid":
            pads += [0, 0]
        elif layer.padding == "same":
            total = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
            pads += [total // 2, total - total // 2]
        else:
            pads += [layer.padding[axis], layer.padding[axis]]
    return pads
