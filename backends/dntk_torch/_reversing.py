"""Whether rows stay with their inputs: what a network makes of a reversed batch is that of the batch, reversed.

It needs no list of operations: a batch that is put in order of something inside is the same whatever order it came in.
"""

from collections.abc import Iterator

import torch

SHARE = 1e-3
"""Of the largest number in a tensor, by which rounding may change it with the place of a row."""


def keeps_order(forth: list[torch.Tensor], back: list[torch.Tensor], n: int) -> bool:
    """Whether every tensor made of n inputs is, made of the reversed ones, reversed along an axis.

    An axis may hold more than inputs, in groups by input or by anything else. Truth values and integers decide what
    becomes of numbers, and are not compared themselves. Cost: two to three passes over what is kept.
    """
    return len(forth) == len(back) and all(
        one.shape == other.shape and (not one.is_floating_point() or _is_reversed(one, other, n))
        for one, other in zip(forth, back, strict=True)
    )


def _is_reversed(one: torch.Tensor, other: torch.Tensor, n: int) -> bool:
    if one.numel() <= 1:
        return True
    # One after the other, as each is a copy.
    return any(_close(one, found) for found in _reversals(other, n))


def _reversals(value: torch.Tensor, n: int) -> Iterator[torch.Tensor]:
    """The tensor with the inputs reversed along every axis that may hold them, in blocks of one input or in turn.

    As it is where none may.
    """
    if not any(size and size % n == 0 for size in value.shape):
        yield value
    for axis, size in enumerate(value.shape):
        if size and size % n == 0:
            yield value.unflatten(axis, (n, size // n)).flip(axis).reshape(value.shape)
            if size > n:
                yield value.unflatten(axis, (size // n, n)).flip(axis + 1).reshape(value.shape)


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    finite = one[one.isfinite()].abs()
    largest = float(finite.max()) if finite.numel() else 0.0
    share = max(SHARE, 10 * torch.finfo(one.dtype).eps)
    return torch.allclose(one, other, rtol=0, atol=share * largest, equal_nan=True)
