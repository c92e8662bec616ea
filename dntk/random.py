"""Counter-based random numbers: entry i of a stream is a function of (seed, stream, i) alone.

Words come from Philox 4x64 (Salmon et al., SC 2011) on the host and are moved to where the data are, so that every
backend, chunk size and device sees the same draws bit for bit. Words are raw generator output, whose definition is
fixed; the transforms to signs, integers and normals are written here, so that a saved seed keeps its meaning.
"""

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

WORDS_PER_COUNTER = 8
"""32-bit words that one Philox counter yields; streams are addressed in multiples of it."""


def words(*, seed: int, stream: str, start: int, count: int) -> npt.NDArray[np.uint32]:
    """32-bit words [start, start + count) of a stream; both multiples of :data:`WORDS_PER_COUNTER`."""
    assert start % WORDS_PER_COUNTER == 0
    assert count % WORDS_PER_COUNTER == 0
    generator = np.random.Philox(key=np.array([seed, zlib.crc32(stream.encode())], dtype=np.uint64))
    generator.advance(start // WORDS_PER_COUNTER)
    raw = generator.random_raw(count // 2)
    return raw.astype("<u8", copy=False).view("<u4").astype(np.uint32, copy=False)


def normals(*, seed: int, stream: str, start: int, count: int, dtype: Any) -> npt.NDArray[Any]:
    """Standard normals [start, start + count) by Box and Muller's transform of pairs of words."""
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
    """The first ``count`` uniform numbers in [0, 1) of a stream."""
    padded = -(-count // WORDS_PER_COUNTER) * WORDS_PER_COUNTER
    return words(seed=seed, stream=stream, start=0, count=padded)[:count].astype(np.float64) * 2.0**-32


def check_seed(seed: int) -> None:
    """Raise ``ValueError`` unless ``seed`` is an integer in [0, 2^64)."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**64:
        msg = f"`seed` must be an integer from 0 to 2^64 - 1, got {seed!r}."
        raise ValueError(msg)
