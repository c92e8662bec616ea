"""Counter-based random numbers: entry i of a stream is a function of (seed, stream, i) alone.

Words come from Philox 4x64 (Salmon et al., SC 2011), so that every backend, chunk size and device sees the same draws
bit for bit: for data in host memory from NumPy's generator, for data on another device in integer arithmetic there
(:mod:`dntk.random.philox`), where moving them would cost more. Normals are always drawn on the host, because logarithms
and sines differ between devices. Words are raw generator output, whose definition is fixed; the transforms to signs,
integers and normals are written here, so that a saved seed keeps its meaning.
"""

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Integer

from dntk.arrays import device_of, namespace
from dntk.backend import backend_of
from dntk.random.philox import philox_words, scaled
from dntk.types import Array

_HOST = 1  # DLPack's number of host memory
WORDS_PER_COUNTER = 8
"""32-bit words that one Philox counter yields; streams are addressed in multiples of it."""


def words(*, seed: int, stream: str, start: int, count: int) -> npt.NDArray[np.uint32]:
    """32-bit words [start, start + count) of a stream; both multiples of :data:`WORDS_PER_COUNTER`.

    Raises
    ------
    ValueError
        They are not, or below zero.

    Examples
    --------
    >>> step = dntk.random.WORDS_PER_COUNTER
    >>> words = dntk.random.words(seed=0, stream="mine", start=0, count=2 * step)
    >>> again = dntk.random.words(seed=0, stream="mine", start=step, count=step)
    >>> np.array_equal(words[step:], again)  # so that any part can be drawn alone
    True
    """
    for name, value in {"start": start, "count": count}.items():
        if value < 0 or value % WORDS_PER_COUNTER:
            msg = (
                f"`{name}` is {value}: a stream is read in whole counters, pass a multiple of "
                f"dntk.random.WORDS_PER_COUNTER = {WORDS_PER_COUNTER} that is not below zero."
            )
            raise ValueError(msg)
    generator = np.random.Philox(key=np.array(_key(seed, stream), dtype=np.uint64))
    generator.advance(start // WORDS_PER_COUNTER)
    raw = generator.random_raw(count // 2)
    return raw.astype("<u8", copy=False).view("<u4").astype(np.uint32, copy=False)


def nearby_words(like: Array, *, seed: int, stream: str, start: int, count: int) -> Integer[Array, " count"]:
    """Words [start, start + count) of a stream, any range, in the lower 32 bits of integers.

    A NumPy array where ``like`` is in host memory, an array on its device elsewhere; :func:`moved` brings what is
    made of them to ``like``.
    """
    first, last = start // WORDS_PER_COUNTER, -(-(start + count) // WORDS_PER_COUNTER)
    skip = start - first * WORDS_PER_COUNTER
    if in_host_memory(like):
        length = (last - first) * WORDS_PER_COUNTER
        drawn = words(seed=seed, stream=stream, start=first * WORDS_PER_COUNTER, count=length)
        return drawn[skip : skip + count].astype(np.int64)
    # NumPy's generator counts from one.
    near = philox_words(
        namespace(like), key=_key(seed, stream), first=first + 1, counters=last - first, device=device_of(like)
    )
    return near[skip : skip + count]


def nearby_signs(
    like: Array, *, seed: int, stream: str, start: int, rows: int, columns: int, scale: float
) -> Float[Array, "rows columns"]:
    """Entries ±``scale`` of rows [start, start + rows) of a random matrix, of ``like``'s type, where ``like`` is.

    A set bit is +1; a row uses bits from the lowest of its first word on, in whole counters.
    """
    per_row = -(-columns // (32 * WORDS_PER_COUNTER)) * WORDS_PER_COUNTER
    first, count = start * per_row, rows * per_row
    xp = namespace(like)
    if in_host_memory(like):
        octets = (
            words(seed=seed, stream=stream, start=first, count=count)
            .astype("<u4", copy=False)
            .view(np.uint8)
            .reshape(rows, 4 * per_row)
        )
        bits = np.unpackbits(octets, axis=1, count=columns, bitorder="little")
        signs = np.asarray([-scale, scale], dtype=drawing_dtype(like))[bits]
        return xp.astype(moved(signs, like), like.dtype, copy=False)
    near = xp.reshape(nearby_words(like, seed=seed, stream=stream, start=first, count=count), (rows, per_row, 1))
    shifts = xp.arange(32, dtype=near.dtype, device=device_of(like))
    set_bits = xp.reshape((near >> shifts) & 1, (rows, 32 * per_row))[:, :columns]
    return xp.astype(signs_of(set_bits, like) * scale, like.dtype, copy=False)


def signs_of(drawn: Integer[Array, "*shape"], like: Array) -> Float[Array, "*shape"]:
    """+1 where the lowest bit is set, −1 elsewhere, in the precision in which numbers for ``like`` are drawn."""
    xp = namespace(drawn)
    wide = drawing_dtype(like) is np.float64
    return 2 * xp.astype(drawn & 1, xp.float64 if wide else xp.float32) - 1


def integers_of(drawn: Integer[Array, "*shape"], size: Any) -> Integer[Array, "*shape"]:
    """Integers in [0, size) from all bits but the lowest; ``size`` may be an array of the words' type."""
    return scaled(namespace(drawn), drawn, size)


def moved(x: Any, like: Array) -> Array:
    """``x`` where ``like`` is: NumPy arrays go to its library and device, its own arrays stay."""
    if namespace(x) is namespace(like):
        return x
    return backend_of(like).from_numpy(x, device=device_of(like))


def in_host_memory(x: Any) -> bool:
    """Whether ``x`` is in host memory, as DLPack says."""
    return int(x.__dlpack_device__()[0]) == _HOST


def drawing_dtype(like: Array) -> Any:
    """NumPy scalar type in which random numbers for ``like`` are drawn: its own precision, at least float32."""
    return np.float64 if namespace(like).finfo(like.dtype).bits == 64 else np.float32


def normals(*, seed: int, stream: str, start: int, count: int, dtype: Any) -> npt.NDArray[Any]:
    """Standard normals [start, start + count) by Box and Muller's transform of pairs of words.

    Examples
    --------
    >>> step = dntk.random.WORDS_PER_COUNTER
    >>> mine = {"seed": 0, "stream": "mine", "dtype": np.float64}
    >>> draws = dntk.random.normals(start=0, count=2 * step, **mine)
    >>> again = dntk.random.normals(start=step, count=step, **mine)
    >>> np.array_equal(draws[step:], again)  # so that any part can be drawn alone
    True
    """
    pairs = words(seed=seed, stream=stream, start=start, count=count).reshape(-1, 2)
    tiny = dtype(2.0**-33)
    radius = np.sqrt(-2 * np.log(pairs[:, 0].astype(dtype) * dtype(2.0**-32) + tiny))
    angle = pairs[:, 1].astype(dtype) * dtype(2 * np.pi * 2.0**-32)
    out = np.empty((pairs.shape[0], 2), dtype=dtype)
    # radius may be the root of a tiny negative number only if the word rounded up to one: clip it there.
    np.multiply(np.nan_to_num(radius, copy=False, nan=0.0), np.cos(angle), out=out[:, 0])
    np.multiply(radius, np.sin(angle), out=out[:, 1])
    return out.reshape(-1)


def uniforms(*, seed: int, stream: str, count: int) -> npt.NDArray[np.float64]:
    """The first ``count`` uniform numbers in [0, 1) of a stream.

    Examples
    --------
    >>> u = dntk.random.uniforms(seed=0, stream="mine", count=1000)
    >>> bool(u.min() >= 0), bool(u.max() < 1)
    (True, True)
    """
    padded = -(-count // WORDS_PER_COUNTER) * WORDS_PER_COUNTER
    return words(seed=seed, stream=stream, start=0, count=padded)[:count].astype(np.float64) * 2.0**-32


def _key(seed: int, stream: str) -> tuple[int, int]:
    return int(seed), zlib.crc32(stream.encode())
