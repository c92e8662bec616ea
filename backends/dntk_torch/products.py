"""Products of rows with rows, x yᵀ, at the speed of the fastest library that PyTorch brings.

On the CPU PyTorch multiplies float32 matrices with the BLAS it is linked to; the oneDNN library, which it uses for
convolutions, is twice as fast on some processors (measured on AMD Zen 5: 470 against 220 GFLOP/s). PyTorch reaches it
through an operator of its compiler, which may vanish: everything here works without.
"""

from typing import Any

import torch

from dntk.backend import by_images

_SIDE = 48
"""Rows below which a product of two matrices is left to PyTorch."""

_WORK = 2**21
"""Multiplications below which a call costs more than it saves."""

_PANEL = 256
"""Rows of one panel of a symmetric product; wide enough for the full speed of a product."""

_BLOCK = 4096
"""Rows that are multiplied at once where the product is over rows; 16 MiB at 1,024 columns in float32."""


_LENGTH = 2**14
"""Entries of rows that are summed at once. PyTorch 2.13 adds up the products of a few long rows one after the other,
in float32 with errors that grow with their number: 1.5e-4 at 3.5 million, 6e-8 in pieces that are added in float64."""


def inner(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """X yᵀ of the last two axes, for matrices or for batches of them, long rows of float32 in pieces."""
    length = x.shape[-1]
    if length <= 2 * _LENGTH or not _on_cpu(x, y):
        return _inner(x, y)
    if x.ndim == y.ndim == 2 and min(x.shape[0], y.shape[0]) < _SIDE:
        return _of_few_rows(x, y)
    pieces = ((x[..., start : start + _LENGTH], y[..., start : start + _LENGTH]) for start in range(0, length, _LENGTH))
    total = _inner(*next(pieces)).double()
    for piece in pieces:
        total += _inner(*piece)
    return total.to(x.dtype)


def _of_few_rows(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """All pieces by one call, which takes less time than one product of long rows."""
    whole = x.shape[1] // _LENGTH * _LENGTH
    left, right = (rows[:, :whole].unflatten(1, (-1, _LENGTH)).movedim(1, 0) for rows in (x, y))
    total = (left @ right.mT).sum(0, dtype=torch.float64) + x[:, whole:] @ y[:, whole:].mT
    return total.to(x.dtype)


def _inner(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    linear = _one_dnn() if _suited(x, y) else None
    if linear is None:
        return x @ y.mT
    if x.ndim == 2:
        return linear(x.contiguous(), y.contiguous(), None, "none", [], "")
    out = x.new_empty((x.shape[0], x.shape[1], y.shape[1]))
    for i in range(x.shape[0]):
        out[i] = linear(x[i].contiguous(), y[i].contiguous(), None, "none", [], "")
    return out


def expand(cotangents: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Σ_t g_qit ⊗ a_it, flattened (q, n, b·a), a view of (n, q, b·a) where the cotangents lie so.

    Then one product per input serves all functionals: twice as fast as one for each functional, where these are small.
    """
    (q, n, t, b), a = cotangents.shape, inputs.shape[2]
    joined = cotangents.permute(1, 0, 3, 2)
    if joined.is_contiguous():
        return torch.bmm(joined.view(n, q * b, t), inputs).view(n, q, b * a).movedim(1, 0)
    out = cotangents.new_empty((q, n, b, a))
    for values, gradients in zip(cotangents, out, strict=True):
        torch.bmm(values.mT, inputs, out=gradients)  # in place: with few positions a copy costs as much as the product
    return out.view(q, n, b * a)


def paired(cotangents: torch.Tensor, matrices: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """Σ_t g_qitᵀ W_q a_it, by images that lie in memory as their cotangents do.

    Those of convolutions have their positions last. With few positions the products for each input are too small.
    """
    (q, n, t, b), a = cotangents.shape, inputs.shape[2]
    joined = cotangents.permute(1, 0, 3, 2)
    if t < _SIDE or not joined.is_contiguous():
        found: Any = by_images(cotangents, matrices, inputs)
        return found
    images = (matrices.reshape(q * b, a) @ inputs.mT).view(n, q, b * t)
    return images.mul_(joined.view(n, q, b * t)).sum(2).T


def gram(x: torch.Tensor) -> torch.Tensor:
    """X xᵀ of the last two axes, by panels of the upper triangle, mirrored."""
    n = x.shape[-2]
    side = _PANEL if x.device.type == "cpu" else n
    x = x.contiguous() if n > side else x
    out = x.new_empty((*x.shape[:-2], n, n))
    for start in range(0, n, side):
        stop = min(start + side, n)
        panel = inner(x[..., start:stop, :], x[..., start:, :])
        square = panel[..., : stop - start]
        out[..., start:stop, start:stop] = (square + square.mT) / 2
        out[..., start:stop, stop:] = panel[..., stop - start :]
        out[..., stop:, start:stop] = panel[..., stop - start :].mT
    return out


def column_gram(x: torch.Tensor) -> torch.Tensor:
    """Xᵀ x of the last two axes, by blocks of rows and by panels of the upper triangle, mirrored."""
    n, k = x.shape[-2:]
    if x.device.type != "cpu" or k < 2 * _SIDE:
        product = _of_few_rows(x.mT, x.mT) if x.ndim == 2 and n > 2 * _LENGTH and _on_cpu(x) else x.mT @ x
        return (product + product.mT) / 2
    if x.ndim > 2:
        return torch.stack([column_gram(matrix) for matrix in x])
    out = x.new_zeros((k, k))
    # oneDNN wants rows that lie side by side: each block is turned into one buffer, because fresh memory costs
    # more than the copy.
    linear = _one_dnn() if x.dtype == torch.float32 and n >= _SIDE else None
    buffer = x.new_empty((k, min(n, _BLOCK))) if linear is not None else None
    for start in range(0, n, _BLOCK):
        block = x[start : start + _BLOCK]
        turned = block.mT
        if buffer is not None and block.shape[0] == buffer.shape[1]:
            turned = buffer.copy_(turned)
        for top in range(0, k, _PANEL):
            stop = min(top + _PANEL, k)
            out[top:stop, top:] += inner(turned[top:stop], turned[top:])
    upper = torch.triu(out)
    return upper + torch.triu(out, 1).mT


def _suited(x: torch.Tensor, y: torch.Tensor) -> bool:
    """Float32 matrices on the CPU, or batches of large ones that need no copy."""
    if not (_on_cpu(x, y) and x.ndim == y.ndim <= 3):
        return False
    (m, k), n = x.shape[-2:], y.shape[-2]
    if min(m, n) < _SIDE or m * n * k < _WORK:
        return False
    if x.ndim == 2:
        return min(m, n) > 64 or (x.is_contiguous() and y.is_contiguous())  # otherwise a copy costs as much
    return x.shape[0] == y.shape[0] and _rows_in_place(x) and _rows_in_place(y)


def _on_cpu(*tensors: torch.Tensor) -> bool:
    return all(x.device.type == "cpu" and x.dtype == torch.float32 for x in tensors)


def _rows_in_place(x: torch.Tensor) -> bool:
    return x.stride(2) == 1 and x.stride(1) == x.shape[2]


def _one_dnn() -> Any:
    """OneDNN's x yᵀ for contiguous matrices (of others it is slow beyond use), ``None`` without it."""
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)
