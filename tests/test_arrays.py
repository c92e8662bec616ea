"""What is asked of every array: one namespace, one device, floating point, finite, not empty."""

import array_api_compat
import array_api_strict
import numpy as np
import pytest

from dntk import arrays, spectrum
from tests.libraries import Library, host


def test_namespace_is_the_one_of_array_api_compat(library):
    x = library.array(np.ones(2, np.float32))
    assert arrays.namespace(x, x) is array_api_compat.array_namespace(x)
    assert arrays.device_of(x) == x.device


@pytest.mark.usefixtures("unchecked")
def test_arrays_of_two_namespaces_are_refused_with_both():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"one namespace.*got numpy\.ndarray, torch\.Tensor: convert"):
        arrays.namespace(np.ones(1), torch.ones(1))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("thing", [[1.0], "text", {"a": 1}, object()], ids=lambda t: type(t).__name__)
def test_things_that_are_no_array_are_refused_with_their_type(thing):
    with pytest.raises(TypeError, match=rf"got builtins\.{type(thing).__name__}: convert"):
        arrays.namespace(thing)


def test_arrays_of_one_place_pass(library):
    x = library.array(np.ones(2, np.float32))
    assert arrays.require_same_place(a=x, b=x) is array_api_compat.array_namespace(x)


@pytest.mark.usefixtures("unchecked")
def test_arrays_of_two_libraries_are_refused_by_name():
    with pytest.raises(TypeError, match=r"`a` is a numpy ndarray, `b` is a array_api_strict Array"):
        arrays.require_same_place(a=np.ones(1), b=array_api_strict.ones(1))


@pytest.mark.usefixtures("unchecked")
def test_arrays_on_two_devices_are_refused_by_name():
    here = array_api_strict.ones(1)
    there = array_api_strict.ones(1, device=array_api_strict.Device("device1"))
    with pytest.raises(ValueError, match=r"`c` is on device .*device1.* but `a` is on .*CPU.*: move"):
        arrays.require_same_place(a=here, b=here, c=there)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_real_floating_point_passes(library, dtype):
    x = library.array(np.ones(1, dtype))
    assert arrays.is_floating(x)
    arrays.require_floating("x", x)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.bool_, np.complex64])
def test_other_dtypes_are_refused_with_the_conversion(library, dtype):
    x = library.array(np.ones(1, dtype))
    assert not arrays.is_floating(x)
    words = {
        "torch": r"pixels\.to\(torch\.float32\)",
        "array_api_strict": r"array_api_strict\.astype\(pixels, array_api_strict\.float32\)",
    }
    cast = words.get(library.module, r"pixels\.astype\(.float32.\)")
    with pytest.raises(TypeError, match=rf"`pixels` has dtype .*{cast} / 255"):
        arrays.require_floating("pixels", x)


@pytest.mark.parametrize("shape", [(3,), (3, 2), (3, 2, 4), (), (0, 2), (2, 0)])
def test_finite_arrays_of_any_shape_pass(library, shape):
    arrays.require_finite("x", library.array(np.ones(shape, np.float32)))


def test_integers_are_finite(library):
    arrays.require_finite("x", library.array(np.ones(3, np.int32)))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", [(5,), (5, 2), (5, 2, 3)])
def test_entries_that_are_not_finite_are_counted_by_rows(library, bad, shape):
    values = np.ones(shape, np.float32)
    values[2], values[4] = bad, bad
    message = r"`x` has NaN or infinite values in 2 of its 5 rows \(first: row 2\).*Remove or impute"
    with pytest.raises(ValueError, match=message):
        arrays.require_finite("x", library.array(values))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (3, 2, 0)])
def test_empty_arrays_are_refused(library, shape):
    with pytest.raises(ValueError, match=r"`x` is empty \(shape \(.*at least one point of at least one"):
        arrays.require_points("x", library.array(np.ones(shape, np.float32)))


@pytest.mark.parametrize("shape", [(1,), (1, 1), (2, 3, 4)])
def test_arrays_with_points_pass(shape):
    arrays.require_points("x", np.ones(shape))


def test_sums_are_accumulated_in_float64_where_the_library_has_it(library):
    x = library.array(np.ones(1, np.float32))
    double = library.array(np.ones(1, np.float64)).dtype
    expected = double if library.has_float64 else x.dtype
    assert arrays.accumulation_dtype(x) == expected
    wide = arrays.in_float64(x)
    assert wide.dtype == expected
    assert float(wide[0]) == 1
    assert arrays.in_float64(wide) is wide


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unit_of_rounding_is_a_python_float(library, dtype):
    x = library.array(np.ones(1, dtype))
    expected = dtype if library.has_float64 else np.float32
    assert arrays.epsilon(x) == np.finfo(expected).eps
    assert type(arrays.epsilon(x)) is float


@pytest.mark.parametrize(
    ("total", "size", "expected"),
    [
        (7, 3, [(0, 3), (3, 6), (6, 7)]),
        (6, 3, [(0, 3), (3, 6)]),
        (2, 5, [(0, 2)]),
        (0, 5, []),
    ],
)
def test_spans_cover_everything_once(total, size, expected):
    assert list(arrays.spans(total, size)) == expected


def test_device_of_another_device_is_seen():
    library = Library("strict-device1", "array_api_strict", "device1")
    assert arrays.device_of(library.array(np.ones(1))) == array_api_strict.Device("device1")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["numpy", "torch", "jax.numpy"])
def test_spectra_of_16_bits_are_computed_in_more(name, dtype):
    xp = pytest.importorskip(name)
    if not hasattr(xp, dtype):
        pytest.skip(f"{name} has no {dtype}")
    root = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    kernel = xp.asarray((root * [8.0, 4.0, 2.0, 1.0, 0.5]) @ root.T, dtype=getattr(xp, dtype))
    narrow = xp.asarray(root, dtype=kernel.dtype)
    exact = np.linalg.eigvalsh(host(xp.asarray(kernel, dtype=xp.float32)).astype("f8"))[::-1]
    tolerance = 100 * 2**-24 * 8
    np.testing.assert_allclose(host(spectrum.eigenvalues(kernel)), exact, atol=tolerance)
    pairs = spectrum.leading_eigenpairs(kernel, 2)[0]
    np.testing.assert_allclose(host(pairs), exact[:2] ** 2, atol=8 * tolerance)
    assert spectrum.truncation_rank(kernel, 0.1) == 3
    np.testing.assert_allclose(spectrum.condition_number(kernel), exact[0] / exact[-1], rtol=1e-3)
    # Columns are rounded to 8 bits at least, the sums of their products are not.
    np.testing.assert_allclose(host(spectrum.coverage(narrow, narrow)), 1, atol=4 * 2**-8)
    assert "16" not in str(spectrum.coverage(narrow, narrow).dtype)
