"""Random streams against Philox written out in Python; their distributions against SciPy's."""

import math
import zlib

import numpy as np
import pytest
import scipy.stats

from dntk._checks import check_seed
from dntk.random import WORDS_PER_COUNTER, normals, uniforms, words

MASK = 2**64 - 1
# Failure probability of every statistical test of this file, at its fixed seed.
FAILURE = 1e-9


def philox4x64(counter, key):
    """Ten rounds of Philox 4x64 (Salmon, Moraes, Dror and Shaw, SC 2011, section 3.3)."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        product0, product1 = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = (
            (product1 >> 64) ^ c1 ^ k0,
            product1 & MASK,
            (product0 >> 64) ^ c3 ^ k1,
            product0 & MASK,
        )
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return c0, c1, c2, c3


def words_written_out(seed, stream, start, count):
    """Low then high half of every 64-bit output; NumPy counts blocks from one."""
    key = (seed, zlib.crc32(stream.encode()))
    out = []
    for block in range(start // 8, (start + count) // 8):
        for number in philox4x64((block + 1, 0, 0, 0), key):
            out += [number & 0xFFFF_FFFF, number >> 32]
    return out


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        (
            (0, 0, 0, 0),
            (0, 0),
            (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B),
        ),
        (
            (MASK,) * 4,
            (MASK,) * 2,
            (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0),
        ),
        (
            (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89),
            (0x452821E638D01377, 0xBE5466CF34E90C6C),
            (0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6),
        ),
    ],
    ids=["zeros", "ones", "digits of pi"],
)
def test_reference_reproduces_the_known_answers_of_random123(counter, key, expected):
    assert philox4x64(counter, key) == expected


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**62 + 7, 2**63 + 7, MASK])
@pytest.mark.parametrize("stream", ["gaussian", "sparse-sign", "another"])
def test_words_are_those_of_philox(seed, stream):
    expected = words_written_out(seed, stream, 0, 40)
    assert words(seed=seed, stream=stream, start=0, count=40).tolist() == expected


def test_words_far_into_a_stream_are_those_of_philox():
    start = 8 * (2**40 + 3)
    expected = words_written_out(5, "gaussian", start, 16)
    assert words(seed=5, stream="gaussian", start=start, count=16).tolist() == expected


@pytest.mark.parametrize("size", [8, 24, 64])
def test_words_do_not_depend_on_how_a_stream_is_cut(size):
    whole = words(seed=3, stream="s", start=0, count=192)
    pieces = [words(seed=3, stream="s", start=a, count=size) for a in range(0, 192, size)]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


def test_words_are_unsigned_numbers_of_32_bits():
    assert words(seed=0, stream="s", start=0, count=8).dtype == np.uint32


@pytest.mark.parametrize(
    ("start", "count", "name"), [(1, 8, "start"), (4, 8, "start"), (-8, 8, "start"), (0, 7, "count")]
)
def test_streams_are_addressed_in_whole_counters(start, count, name):
    with pytest.raises(ValueError, match=rf"`{name}` is .* = {WORDS_PER_COUNTER} "):
        words(seed=0, stream="s", start=start, count=count)


def test_seeds_and_streams_differ():
    draws = [
        words(seed=seed, stream=stream, start=0, count=8).tolist()
        for seed in (0, 1, 2)
        for stream in ("gaussian", "sparse-sign")
    ]
    assert len({tuple(d) for d in draws}) == 6


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normals_are_the_box_muller_transform_of_the_words(dtype):
    drawn = words_written_out(9, "gaussian", 16, 48)
    expected = []
    for first, second in zip(drawn[::2], drawn[1::2], strict=True):
        radius = math.sqrt(-2 * math.log(first / 2**32 + 2**-33))
        angle = 2 * math.pi * second / 2**32
        expected += [radius * math.cos(angle), radius * math.sin(angle)]
    actual = normals(seed=9, stream="gaussian", start=16, count=48, dtype=dtype)
    assert actual.dtype == dtype
    # Radius below 7, angle rounded by 2π eps; the logarithm loses digits only near 1, where none of
    # these words is.
    np.testing.assert_allclose(actual, expected, rtol=0, atol=7 * 16 * np.finfo(dtype).eps)


def test_normals_do_not_depend_on_how_a_stream_is_cut():
    settings = {"seed": 3, "stream": "s", "dtype": np.float64}
    pieces = [normals(start=a, count=16, **settings) for a in range(0, 96, 16)]
    np.testing.assert_array_equal(np.concatenate(pieces), normals(start=0, count=96, **settings))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normals_have_the_normal_distribution(dtype):
    draws = normals(seed=1, stream="gaussian", start=0, count=200_000, dtype=dtype)
    assert np.all(np.isfinite(draws))
    for part in (draws, draws[::2], draws[1::2]):
        assert scipy.stats.kstest(part, "norm").pvalue > FAILURE


def test_both_normals_of_a_pair_are_uncorrelated():
    draws = normals(seed=1, stream="gaussian", start=0, count=200_000, dtype=np.float64)
    # √n times the mean of a product of two independent normals is nearly normal: 6.2 σ at 1e-9.
    bound = scipy.stats.norm.isf(FAILURE / 2) / 100_000**0.5
    assert abs(np.mean(draws[::2] * draws[1::2])) < bound
    assert abs(np.mean(draws[:-1:2] ** 2 * draws[1::2] ** 2) - 1) < bound * 8**0.5


def test_extreme_words_give_finite_normals(monkeypatch):
    extremes = np.asarray([0, 0, 0, 2**31, 2**32 - 1, 0, 2**32 - 1, 2**32 - 1], dtype=np.uint32)
    monkeypatch.setattr("dntk.random.streams.words", lambda **_: extremes)
    for dtype in (np.float32, np.float64):
        draws = normals(seed=0, stream="s", start=0, count=8, dtype=dtype)
        assert np.all(np.isfinite(draws))
        np.testing.assert_allclose(draws[[0, 2]], [(66 * math.log(2)) ** 0.5, -((66 * math.log(2)) ** 0.5)], rtol=1e-6)
        np.testing.assert_allclose(draws[4:], 0, atol=1e-3)


def test_uniforms_fill_the_unit_interval():
    draws = uniforms(seed=2, stream="s", count=100_003)
    assert draws.shape == (100_003,)
    assert draws.dtype == np.float64
    assert np.min(draws) >= 0
    assert np.max(draws) < 1
    assert scipy.stats.kstest(draws, "uniform").pvalue > FAILURE


def test_first_uniforms_do_not_depend_on_their_number():
    np.testing.assert_array_equal(uniforms(seed=2, stream="s", count=3), uniforms(seed=2, stream="s", count=30)[:3])


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_integers_of_64_bits_are_seeds(seed):
    check_seed(seed)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("seed", [-1, 2**64, True, 1.0, "0", None])
def test_other_seeds_are_refused(seed):
    with pytest.raises(ValueError, match=r"`seed` must be an integer from 0 to 2\^64 - 1, got"):
        check_seed(seed)
