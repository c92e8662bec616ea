"""Where derivatives that do not exist come from."""

import dataclasses
from typing import Any

from dntk import arrays
from dntk.gradient_blocks.base import GradientBlock
from dntk.types import Array


def require_finite(block: GradientBlock, *, name: str = "x", first_row: int = 0) -> None:
    """Raise ``ValueError`` that names parameter and input where a gradient is NaN or infinite.

    One pass over what the block stores and one synchronisation with the device; nothing is expanded. Where
    kernels are sums over blocks, call it only once a sum has turned out not to be finite. ``name`` and
    ``first_row`` tell of which inputs the block's are a batch, and from which row on.

    Raises
    ------
    ValueError
        Some entry of the block is NaN or infinite.
    """
    stored, n = _stored(block), block.shape[1]
    some = next(iter(stored.values()))
    xp = arrays.namespace(some)
    finite = xp.ones((n,), dtype=xp.bool, device=arrays.device_of(some))
    for field, values in stored.items():
        points = 0 if field == "inputs" else 1
        others = tuple(axis for axis in range(values.ndim) if axis != points)
        finite = xp.logical_and(finite, xp.all(xp.isfinite(values), axis=others))
    bad = int(xp.sum(xp.astype(~finite, xp.int32)))
    if bad:
        row = first_row + int(xp.argmax(xp.astype(~finite, xp.int32)))
        msg = (
            f"the gradient in `{block.name}` is NaN or infinite for {bad} of {n} inputs (first: row {row} "
            f"of `{name}`): the network has no derivative there, as sqrt or a norm has none at 0, or it overflows. Add "
            "a small constant under the root, or leave such inputs out."
        )
        raise ValueError(msg)


def _stored(block: Any) -> dict[str, Array]:
    """The floating-point arrays of a block by name; of one that is no dataclass its expansion."""
    if not dataclasses.is_dataclass(block):
        return {"values": block.dense()}
    fields = {field.name: getattr(block, field.name) for field in dataclasses.fields(block)}
    return {name: value for name, value in fields.items() if hasattr(value, "dtype") and arrays.is_floating(value)}
