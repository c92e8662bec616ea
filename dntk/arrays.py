"""What every algorithm asks of an array: its namespace, where it lives, whether it is sound."""

import math
from collections.abc import Iterator
from typing import Any

import array_api_compat
import numpy as np

from dntk._foreign import require_plain_array
from dntk.types import Array, Namespace


def namespace(*arrays: Any) -> Namespace:
    """Array namespace shared by all ``arrays``; raises ``TypeError`` where they differ or are no arrays."""
    try:
        return array_api_compat.array_namespace(*arrays)
    except TypeError as error:
        kinds = ", ".join(f"{type(a).__module__.partition('.')[0]}.{type(a).__name__}" for a in arrays)
        msg = (
            f"expected arrays of one namespace (NumPy, PyTorch, JAX, CuPy or any array-API library), got {kinds}: "
            "convert them to the same library first, for example with xp.asarray(x)."
        )
        raise TypeError(msg) from error


def device_of(x: Array) -> Any:
    """Device on which ``x`` lives."""
    return array_api_compat.device(x)


def require_same_place(**arrays: Any) -> Namespace:
    """Namespace of arrays given by name, which must share namespace and device.

    Raises
    ------
    TypeError
        The arrays belong to different libraries, or one is not an array.
    ValueError
        They live on different devices.
    """
    names = list(arrays)
    for name, value in arrays.items():
        require_plain_array(name, value)
    try:
        xp = array_api_compat.array_namespace(*arrays.values())
    except TypeError as error:
        found = ", ".join(
            f"`{n}` is a {type(a).__module__.partition('.')[0]} {type(a).__name__}" for n, a in arrays.items()
        )
        msg = f"arrays of different kinds: {found}. Convert them to one array library."
        raise TypeError(msg) from error
    first = device_of(arrays[names[0]])
    for name in names[1:]:
        if device_of(arrays[name]) != first:
            msg = (
                f"`{name}` is on device {device_of(arrays[name])} but `{names[0]}` is on {first}: "
                f"move one of them (array_api_compat.to_device) before calling."
            )
            raise ValueError(msg)
    return xp


def is_floating(x: Array) -> bool:
    """Whether ``x`` holds real floating-point numbers."""
    xp = array_api_compat.array_namespace(x)
    return bool(xp.isdtype(x.dtype, "real floating"))


def cast(name: str, x: Array, dtype: str = "float32") -> str:
    """How the library of ``x`` writes the conversion of an array of this name: what a remedy can say."""
    if hasattr(x, "astype"):
        return f"{name}.astype('{dtype}')"
    xp = array_api_compat.array_namespace(x)
    root = xp.__name__.removeprefix("array_api_compat.").partition(".")[0]
    return f"{name}.to(torch.{dtype})" if root == "torch" else f"{root}.astype({name}, {root}.{dtype})"


def moved(name: str, x: Array, device: Any) -> str:
    """How the library of ``x`` writes that an array of this name goes to a device: what a remedy can say."""
    return f"{name}.to('{device}')" if hasattr(x, "to") else f"array_api_compat.to_device({name}, model.device)"


def require_floating(name: str, x: Array) -> None:
    """Raise ``TypeError`` unless ``x`` is real floating point."""
    if not is_floating(x):
        msg = (
            f"`{name}` has dtype {x.dtype}, but derivatives need floating point: convert it, for images for example "
            f"with {cast(name, x)} / 255, scaled as in training."
        )
        raise TypeError(msg)


def require_finite(name: str, x: Array) -> None:
    """Raise ``ValueError`` where ``x`` has NaN or infinite entries; synchronises with the device, no copy of it."""
    if not is_floating(x) or (all(x.shape) and math.isfinite(largest_magnitude(x))):
        return
    xp = array_api_compat.array_namespace(x)
    if x.ndim > 1 and all(x.shape):
        finite = xp.all(xp.isfinite(xp.reshape(x, (x.shape[0], -1))), axis=1)
    else:
        finite = xp.isfinite(x)
    bad = int(xp.sum(xp.astype(~finite, xp.int32)))
    if bad:
        first = int(xp.argmax(xp.astype(~finite, xp.int32))) if x.ndim else 0
        msg = f"`{name}` has NaN or infinite values in {bad} of its {math.prod(x.shape[:1])} rows (first: row {first})."
        raise ValueError(msg + " Remove or impute them before calling.")


def checked_afterwards() -> np.errstate:
    """For code whose results are looked at: NumPy's warnings of overflow would come before the error that says more."""
    return np.errstate(over="ignore", invalid="ignore")


_MARGIN = 16
"""How far entries stay below where their products overflow: ridges and sums of two kernels are larger than one."""


def largest_magnitude(x: Array) -> float:
    """Largest |entry|; NaN or infinite where one is. Two passes, no copy, one synchronisation with the device."""
    xp = array_api_compat.array_namespace(x)
    return float(xp.max(xp.stack([xp.max(x), -xp.min(x)])))


def require_products(name: str, x: Array, *, largest: float, terms: int) -> None:
    """Raise ``ValueError`` where sums of ``terms`` products of entries up to ``largest`` may overflow the dtype."""
    limit = float(array_api_compat.array_namespace(x).finfo(x.dtype).max) ** 0.5
    if largest <= limit / max(1, terms) ** 0.5 / _MARGIN:
        return
    msg = f"`{name}` has entries up to {largest:.3g}, whose products overflow {x.dtype}: {rescaled('down', x)}."
    raise ValueError(msg)


def least_product(x: Array) -> float:
    """Smallest square of a largest entry with which sums of products keep their digits, tiny/eps.

    What underflows is below tiny, the smallest normal number, a product: of k of them k·tiny ≤ k·eps·(the square),
    within the rounding of the sum. It holds where subnormal numbers become zero, too, as they do in JAX.
    """
    info = array_api_compat.array_namespace(x).finfo(x.dtype)
    return float(info.smallest_normal) / float(info.eps)


def require_no_underflow(name: str, x: Array, *, largest: tuple[float, float], ridges: bool = False) -> None:
    """Raise ``ValueError`` where products of two entries as large as these underflow the dtype of ``x``.

    With ``ridges`` of eps times them too, below which rounding hides a ridge. Zeros are not small: a network may be
    dead.
    """
    least = least_product(x) / (epsilon(x) if ridges else 1)
    if 0 in largest or largest[0] * largest[1] >= least:
        return
    found = f"`{name}` has entries up to {largest[1]:.3g}, whose products underflow {x.dtype}"
    msg = f"{found}: {rescaled('up', x)}."
    raise ValueError(msg)


def rescaled(direction: str, x: Array) -> str:
    """The remedy where products leave the range of the dtype of ``x`` at either end."""
    wider = (
        ""
        if array_api_compat.array_namespace(x).finfo(x.dtype).bits >= 64
        else ", or convert network and inputs to float64"
    )
    return f"scale the network's outputs {direction}{wider}"


def require_points(name: str, x: Array) -> None:
    """Raise ``ValueError`` unless ``x`` has at least one point along its first axis."""
    if x.ndim == 0:
        msg = f"`{name}` is a single number: pass an array with one point per row."
        raise ValueError(msg)
    if math.prod(x.shape) == 0:
        msg = f"`{name}` is empty (shape {tuple(x.shape)}): pass at least one point of at least one feature."
        raise ValueError(msg)


def first_largest(x: Array) -> Array:
    """Position of the largest entry of every row (n, c), the first of equal ones, in the namespace's index dtype."""
    xp = array_api_compat.array_namespace(x)
    index = xp.__array_namespace_info__().default_dtypes(device=device_of(x))["indexing"]
    # CuPy's argmax has the other integer of 64 bits, C's long long, which is no int64 to those who compare names.
    return xp.astype(xp.argmax(x, axis=1), index)


def accumulation_dtype(x: Array) -> Any:
    """float64 where the array's namespace and device have it; elsewhere float32 for 16 bits, else the array's own."""
    xp = array_api_compat.array_namespace(x)
    info = xp.__array_namespace_info__()
    available = info.dtypes(device=device_of(x), kind="real floating")
    return available.get("float64", kernel_dtype(xp, x.dtype) if is_floating(x) else x.dtype)


def in_float64(x: Array) -> Array:
    """The array in :func:`accumulation_dtype`: float64 where its device has it. No copy where it is that already."""
    xp = array_api_compat.array_namespace(x)
    return xp.astype(x, accumulation_dtype(x), copy=False)


def kernel_dtype(xp: Namespace, dtype: Any) -> Any:
    """Type of kernels and features of a network of some ``dtype``: float32 for 16-bit ones, else the same.

    Sums over parameters and positions in 16 bits would lose all digits.
    """
    return xp.float32 if xp.finfo(dtype).bits < 32 else dtype


def widened(x: Array) -> Array:
    """The array with 16-bit floating-point numbers as float32; others, and integers, as they are."""
    xp = array_api_compat.array_namespace(x)
    if not is_floating(x):
        return x
    wide = kernel_dtype(xp, x.dtype)
    return x if x.dtype == wide else xp.astype(x, wide)


def epsilon(x: Array) -> float:
    """Unit of rounding of the array's dtype as a Python float (float64, so that products do not overflow)."""
    xp = array_api_compat.array_namespace(x)
    return float(xp.finfo(x.dtype).eps)


def spans(total: int, size: int) -> Iterator[tuple[int, int]]:
    """Consecutive ranges [start, stop) of at most ``size`` that cover ``total``."""
    for start in range(0, total, size):
        yield start, min(start + size, total)


def itemsize(x: Array) -> int:
    """Bytes of one entry of ``x``."""
    xp = namespace(x)
    return xp.finfo(x.dtype).bits // 8 if xp.isdtype(x.dtype, "real floating") else xp.iinfo(x.dtype).bits // 8
