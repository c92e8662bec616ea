"""Words drawn in array operations against NumPy's generator, on every library and in both arithmetics."""

import numpy as np
import pytest

from dntk import arrays
from dntk.random import integers_of, nearby_signs, nearby_words, words
from dntk.random.philox import philox_words, scaled
from tests.libraries import host


@pytest.fixture
def elsewhere(monkeypatch):
    """Data are taken to be on a device, so that words have to be drawn there."""
    monkeypatch.setattr("dntk.random.streams.in_host_memory", lambda _: False)


@pytest.fixture
def no_int64(monkeypatch):
    """Words of 32 bits only, as in JAX without x64, wherever a library has unsigned integers."""

    def forget(library):
        xp = arrays.namespace(library.array(np.ones(1), np.float32))
        info = type(xp.__array_namespace_info__())
        known = info.dtypes

        def dtypes(self, **settings):
            return {name: kind for name, kind in known(self, **settings).items() if name != "int64"}

        monkeypatch.setattr(info, "dtypes", dtypes)

    return forget


def drawn(library, *, seed=5, stream="s", start=0, count=40):
    like = library.array(np.ones(1), np.float32)
    return nearby_words(like, seed=seed, stream=stream, start=start, count=count)


STARTS = [0, 8 * (2**32 - 3), 8 * (2**40 + 3)]


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("seed", [0, 5, 2**63 + 7, 2**64 - 1])
@pytest.mark.parametrize("start", STARTS)
def test_words_drawn_on_a_device_are_those_of_the_host(library, seed, start):
    actual = drawn(library, seed=seed, start=start)
    assert "32" in str(actual.dtype) if not library.has_float64 else "64" in str(actual.dtype)
    np.testing.assert_array_equal(host(actual), words(seed=seed, stream="s", start=start, count=40))


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("start", STARTS)
def test_words_of_32_bits_are_those_of_64(library, no_int64, start):
    if library.module == "torch":
        pytest.skip("PyTorch has no arithmetic on uint32; it has int64 everywhere")
    no_int64(library)
    actual = drawn(library, start=start)
    assert str(actual.dtype).endswith("uint32")
    np.testing.assert_array_equal(host(actual), words(seed=5, stream="s", start=start, count=40))


@pytest.mark.parametrize(("start", "count"), [(0, 8), (3, 1), (7, 2), (5, 11), (16, 3)])
def test_any_range_of_words_can_be_had(library, monkeypatch, start, count):
    expected = words(seed=5, stream="s", start=0, count=24)[start : start + count]
    for on_host in (True, False):
        monkeypatch.setattr("dntk.random.streams.in_host_memory", lambda _, on_host=on_host: on_host)
        np.testing.assert_array_equal(host(drawn(library, start=start, count=count)), expected)


@pytest.mark.parametrize("size", [1, 2, 7, 2**16, 2**16 + 1, 2**20, 2**31 - 1])
def test_integers_below_a_size_are_exact_in_both_arithmetics(library, size):
    some = [0, 1, 2, 3, 2**16, 2**31, 2**32 - 1, *words(seed=1, stream="s", start=0, count=40).tolist()]
    expected = [(word >> 1) * size >> 31 for word in some]
    for name in ("int64", "uint32"):
        if (name, library.module) in (("int64", "jax"), ("uint32", "torch")):
            continue
        values = library.array(np.asarray(some), np.dtype(name))
        sizes = library.array(np.full(len(some), size), np.dtype(name))
        for asked in (size, sizes):
            actual = scaled(arrays.namespace(values), values, asked)
            assert host(actual).tolist() == expected
    assert max(expected) < size


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("start", "columns"), [(0, 1), (3, 256), (2, 257), (5, 40)])
def test_signs_are_bits_of_the_words(library, monkeypatch, dtype, start, columns):
    if dtype == np.float64 and not library.has_float64:
        pytest.skip("no float64")
    per_row = 8 * -(-columns // 256)
    drawn_words = words(seed=4, stream="s", start=start * per_row, count=3 * per_row).reshape(3, per_row)
    expected = np.empty((3, columns))
    for row, column in np.ndindex(3, columns):
        bit = int(drawn_words[row, column // 32]) >> (column % 32) & 1
        expected[row, column] = dtype(0.3) if bit else dtype(-0.3)
    like = library.array(np.ones(1), dtype)
    for on_host in (True, False):
        monkeypatch.setattr("dntk.random.streams.in_host_memory", lambda _, on_host=on_host: on_host)
        actual = nearby_signs(like, seed=4, stream="s", start=start, rows=3, columns=columns, scale=0.3)
        assert actual.dtype == like.dtype
        np.testing.assert_array_equal(host(actual), expected)


def test_integers_leave_the_lowest_bit_to_the_sign():
    values = words(seed=1, stream="s", start=0, count=4096).astype(np.int64)
    np.testing.assert_array_equal(integers_of(values, 1000), integers_of(values ^ 1, 1000))


def test_keys_have_64_bits_each():
    from array_api_compat import numpy as xp

    first = philox_words(xp, key=(2**64 - 1, 1), first=0, counters=1, device=None)
    second = philox_words(xp, key=(2**32 - 1, 1), first=0, counters=1, device=None)
    assert not np.array_equal(first, second)
