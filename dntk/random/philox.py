"""Philox 4x64-10 in array operations: the words of :mod:`dntk.random`, drawn where the data are.

Numbers of 64 bits are pairs (high, low) of words of 32 bits. Where the namespace has int64, a word sits in the lower
half of one and a product of two words fills it; elsewhere (JAX without x64) words are uint32 and products are made
of halves of 16 bits. Both give NumPy's own Philox bit for bit. Source: Salmon, Moraes, Dror and Shaw, *Parallel
random numbers: as easy as 1, 2, 3*, SC 2011.
"""

import dataclasses
from typing import Any, TypeAlias

from jaxtyping import Integer

from dntk.arrays import device_of
from dntk.types import Array, Namespace

_MASK = 0xFFFF_FFFF
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS = 10

Pair: TypeAlias = tuple[Any, Any]
"""High and low word of a number of 64 bits."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Wide:
    """Words in int64, whose product with another word wraps to the right bits."""

    def word(self, value: int) -> Any:
        """A constant."""
        return value

    def product(self, x: Any, word: int) -> Pair:
        """All 64 bits of a product of two words."""
        full = x * word
        return (full >> 32) & _MASK, full & _MASK

    def total(self, x: Any, y: Any) -> Pair:
        """Carry and lower word of a sum."""
        full = x + y
        return full >> 32, full & _MASK


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Narrow:
    """Words in uint32, multiplied by halves so that nothing overflows."""

    xp: Namespace
    dtype: Any
    device: Any

    def word(self, value: int) -> Any:
        """A constant, which as a Python integer could be taken for an int32."""
        return self.xp.asarray(value, dtype=self.dtype, device=self.device)

    def product(self, x: Any, word: Any) -> Pair:
        """All 64 bits of a product of two words."""
        high, low = x >> 16, x & 0xFFFF
        first = low * (word & 0xFFFF)
        second = high * (word & 0xFFFF) + (first >> 16)
        third = low * (word >> 16) + (second & 0xFFFF)
        return high * (word >> 16) + (second >> 16) + (third >> 16), (third << 16) | (first & 0xFFFF)

    def total(self, x: Any, y: Any) -> Pair:
        """Carry and lower word of a sum, which wraps."""
        low = x + y
        return self.xp.astype(low < x, self.dtype), low


def philox_words(
    xp: Namespace, *, key: tuple[int, int], first: int, counters: int, device: Any
) -> Integer[Array, " count"]:
    """The eight words, in the lower 32 bits, of each of ``counters`` consecutive counters, on ``device``.

    int64 where the device has it, uint32 elsewhere. Cost: about 900 elementwise operations on arrays of ``counters``
    entries.
    """
    kinds = xp.__array_namespace_info__().dtypes(device=device, kind="integral")
    wide = "int64" in kinds
    dtype = kinds["int64" if wide else "uint32"]
    arithmetic = _Wide() if wide else _Narrow(xp=xp, dtype=dtype, device=device)
    steps = xp.arange(counters, dtype=dtype, device=device)
    zero = xp.zeros_like(steps)
    carry, low = arithmetic.total(steps, zero + arithmetic.word(first & _MASK))
    high = carry + arithmetic.word((first >> 32) & _MASK)
    state: list[Pair] = [(high, low), (zero, zero), (zero, zero), (zero, zero)]
    for step in range(_ROUNDS):
        state = _mixed(arithmetic, state, [(k + step * w) % 2**64 for k, w in zip(key, _WEYL, strict=True)])
    halves = [half for high, low in state for half in (low, high)]
    return xp.reshape(xp.stack(halves, axis=1), (-1,))


def scaled(xp: Namespace, words: Integer[Array, "*shape"], size: Any) -> Integer[Array, "*shape"]:
    """Integers ⌊(w >> 1)·size / 2^31⌋ in [0, size) of words w; ``size`` an integer or integers of the words' type."""
    shifted: Any = words
    shifted = shifted >> 1
    if xp.iinfo(words.dtype).bits == 64:
        return (shifted * size) >> 31
    if isinstance(size, int):
        size = xp.asarray(size, dtype=words.dtype, device=device_of(words))
    high, low = _Narrow(xp=xp, dtype=words.dtype, device=device_of(words)).product(shifted, size)
    return (high << 1) | (low >> 31)


def _mixed(arithmetic: _Wide | _Narrow, state: list[Pair], key: list[int]) -> list[Pair]:
    """One round."""
    top0, bottom0 = _times(arithmetic, state[0], _MULTIPLIERS[0])
    top1, bottom1 = _times(arithmetic, state[2], _MULTIPLIERS[1])
    return [_xor(arithmetic, top1, state[1], key[0]), bottom1, _xor(arithmetic, top0, state[3], key[1]), bottom0]


def _xor(arithmetic: _Wide | _Narrow, x: Pair, y: Pair, key: int) -> Pair:
    return x[0] ^ y[0] ^ arithmetic.word(key >> 32), x[1] ^ y[1] ^ arithmetic.word(key & _MASK)


def _times(arithmetic: _Wide | _Narrow, x: Pair, factor: int) -> tuple[Pair, Pair]:
    """Upper and lower 64 bits of the product of a number of 64 bits with a constant, by words."""
    high, low = x
    c1, p0 = arithmetic.product(low, factor & _MASK)
    b2, b1 = arithmetic.product(low, factor >> 32)
    d2, d1 = arithmetic.product(high, factor & _MASK)
    e3, e2 = arithmetic.product(high, factor >> 32)
    carry_b, p1 = arithmetic.total(c1, b1)
    carry_d, p1 = arithmetic.total(p1, d1)
    carry_2, p2 = arithmetic.total(b2, d2)
    carry_3, p2 = arithmetic.total(p2, e2)
    carry_4, p2 = arithmetic.total(p2, carry_b + carry_d)
    # The whole product has 128 bits, so the highest word cannot overflow.
    return (e3 + carry_2 + carry_3 + carry_4, p2), (p1, p0)
