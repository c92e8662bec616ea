"""Tangent features: sketches of a dense Jacobian by complex steps, and kernels of raw arrays."""

import dataclasses
import tracemalloc

import numpy as np
import pytest

import dntk
from dntk.sketch import Gaussian, SparseSign
from tests.jacobians import as_float32, complex_step_jacobian, float_of, points, random_network, tanh_model
from tests.libraries import Library, host

NUMPY = Library("numpy", "numpy")
SKETCHES = [Gaussian(16, seed=1), SparseSign(16, nonzeros=4, seed=1), None]


def functionals(jacobian, outputs):
    """The rows that ``outputs`` asks for, (q, n, P)."""
    if outputs == "each":
        return jacobian
    if outputs == "sum":
        return np.sum(jacobian, axis=0, keepdims=True) * jacobian.shape[0] ** -0.5
    return jacobian[outputs : outputs + 1]


def assert_close(actual, expected, *, terms, dtype):
    bound = 8 * terms * np.finfo(dtype).eps * np.max(np.abs(expected))
    np.testing.assert_allclose(host(actual), expected, rtol=0, atol=bound)


def raw(shape=(2, 5, 3), seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.parametrize("outputs", ["each", "sum", 0, 1])
@pytest.mark.parametrize("sketch", SKETCHES, ids=lambda s: type(s).__name__)
def test_features_are_the_sketch_of_the_dense_jacobian(library, sketch, outputs):
    weights, biases = random_network()
    x, dtype = points(3), float_of(library)
    rows = functionals(complex_step_jacobian(weights, biases, x), outputs)
    phi = dntk.tangent_features(
        tanh_model(library, weights, biases, dtype),
        library.array(x, dtype),
        sketch=sketch,
        outputs=outputs,
    )
    # The same precision draws the same matrix, so only the Jacobian and the sums are rounded.
    expected = rows if sketch is None else sketch.apply(rows.astype(dtype))
    assert phi.values.dtype == library.array(x, dtype).dtype
    assert phi.values.device == library.array(x).device
    assert_close(phi.values, expected, terms=rows.shape[2], dtype=dtype)


@pytest.mark.parametrize("sketch", SKETCHES, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_batch_size_does_not_change_the_features(sketch, batch_size):
    model = tanh_model(NUMPY, *random_network(), np.float64)
    whole = dntk.tangent_features(model, points(7), sketch=sketch)
    batched = dntk.tangent_features(model, points(7), sketch=sketch, batch_size=batch_size)
    assert_close(batched.values, whole.values, terms=model.n_parameters, dtype=np.float64)


def test_features_of_some_parameters_are_sketches_of_their_columns():
    weights, biases = random_network()
    x = points(4)
    model = tanh_model(NUMPY, weights, biases, np.float64).subset("weights.1|biases.0")
    rows = complex_step_jacobian(weights, biases, x)[:, :, 12:28]
    sketch = SparseSign(16, seed=2)
    phi = dntk.tangent_features(model, x, sketch=sketch)
    assert_close(phi.values, sketch.apply(rows), terms=16, dtype=np.float64)
    dense = dntk.tangent_features(model, x, sketch=None)
    assert_close(dense.values, rows, terms=16, dtype=np.float64)


def test_features_carry_the_sketch_bound_to_the_number_of_parameters():
    model = tanh_model(NUMPY, *random_network(), np.float64)
    phi = dntk.tangent_features(model, points(2), sketch=Gaussian(8, seed=4))
    assert phi.sketch == Gaussian(8, seed=4, n_parameters=model.n_parameters)
    assert dntk.tangent_features(model, points(2), sketch=phi.sketch).sketch == phi.sketch
    assert phi.sketch.adjoint(np.ones(8)).shape == (model.n_parameters,)
    assert dntk.tangent_features(model, points(2), sketch=None).sketch is None


def test_neither_sketching_matrix_nor_jacobian_is_ever_whole(monkeypatch):
    """P = 40,000 and k = 512 would be 80 MiB of matrix; a chunk of 2^16 entries is 0.25 MiB."""
    monkeypatch.setattr("dntk.sketch.gaussian.CHUNK_ENTRIES", 2**16)
    weights, biases = random_network((98, 400, 2))
    model = tanh_model(NUMPY, weights, biases, np.float32)
    x = points(256, 98).astype(np.float32)
    tracemalloc.start()
    dntk.tangent_features(model, x, sketch=Gaussian(512), outputs=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    n, p, k = 256, model.n_parameters, 512
    assert p > 40_000
    assert peak < p * k * 4 / 10
    assert peak < n * p * 4 / 5
    # What must be there: features in float64, twice for the sum, both layers' values, the chunks.
    assert peak < 4 * n * k * 8 + 8 * n * 400 * 4 + 16 * 2**16 * 8


def test_raw_arrays_of_two_axes_have_one_output(library):
    values = raw((5, 3))
    phi = dntk.TangentFeatures(library.array(values, float_of(library)))
    assert tuple(phi.values.shape) == (1, 5, 3)
    assert (phi.n_outputs, len(phi), phi.dim) == (1, 5, 3)
    expected = values.astype(float_of(library)).astype(float)
    assert_close(phi.kernel(), expected @ expected.T, terms=3, dtype=float_of(library))


def test_raw_arrays_of_three_axes_are_kept():
    values = raw()
    phi = dntk.TangentFeatures(values)
    assert phi.values is values
    assert (phi.n_outputs, len(phi), phi.dim) == (2, 5, 3)


@pytest.mark.parametrize("outputs", ["mean", "each", "full", "sum", 0, 1])
def test_kernels_are_inner_products_of_features(library, outputs):
    dtype = float_of(library)
    left, right = as_float32(raw(seed=1)), as_float32(raw((2, 4, 3), seed=2))
    full = np.zeros((5, 4, 2, 2))
    for i, j, c, d in np.ndindex(full.shape):
        full[i, j, c, d] = sum(left[c, i, f] * right[d, j, f] for f in range(3))
    each = np.stack([full[:, :, 0, 0], full[:, :, 1, 1]])
    expected = {
        "full": full,
        "each": each,
        "mean": (each[0] + each[1]) / 2,
        "sum": sum(full[:, :, c, d] for c in range(2) for d in range(2)) / 2,
        0: each[0],
        1: each[1],
    }[outputs]
    phi = dntk.TangentFeatures(library.array(left, dtype))
    other = dntk.TangentFeatures(library.array(right, dtype))
    actual = phi.kernel(other, outputs=outputs)
    assert host(actual).shape == expected.shape
    assert_close(actual, expected, terms=12, dtype=dtype)
    assert_close(other.kernel(phi), host(phi.kernel(other)).T, terms=12, dtype=dtype)


@pytest.mark.parametrize("copied", [1, 40, 2**24])
def test_mean_kernels_of_many_outputs_are_summed_some_at_a_time(library, copied, monkeypatch):
    monkeypatch.setattr("dntk.features.in_memory._COPIED", copied)
    left, right = as_float32(raw((5, 4, 3), seed=1)), as_float32(raw((5, 6, 3), seed=2))
    dtype = float_of(library)
    phi, other = (dntk.TangentFeatures(library.array(values, dtype)) for values in (left, right))
    assert_close(phi.kernel(other), np.einsum("cnk,cmk->nm", left, right) / 5, terms=15, dtype=dtype)
    assert_close(phi.kernel(), np.einsum("cnk,cmk->nm", left, left) / 5, terms=15, dtype=dtype)
    np.testing.assert_array_equal(host(phi.kernel()), host(phi.kernel()).T)


def test_kernel_of_unsketched_features_is_the_exact_kernel():
    model = tanh_model(NUMPY, *random_network(), np.float64)
    phi = dntk.tangent_features(model, points(4), sketch=None)
    for outputs in ("mean", "each", "full", "sum", 1):
        exact = dntk.ntk(model, points(4), outputs=outputs)
        assert_close(phi.kernel(outputs=outputs), exact, terms=32, dtype=np.float64)


def test_joined_features_put_outputs_side_by_side(library):
    values = as_float32(raw())
    joined = dntk.TangentFeatures(library.array(values, float_of(library))).joined()
    expected = np.concatenate([values[0], values[1]], axis=1) / 2**0.5
    assert_close(joined, expected, terms=1, dtype=float_of(library))


def test_points_are_chosen_by_slice_list_index_and_array(library):
    values = raw().astype(float_of(library))
    sketch = Gaussian(3, seed=5, n_parameters=9)
    phi = dntk.TangentFeatures(library.array(values), sketch)
    indices = library.array(np.asarray([4, 0, 0]))
    chosen = [
        (phi[1:3], values[:, 1:3]),
        (phi[::2], values[:, ::2]),
        (phi[3], values[:, 3:4]),
        (phi[-1], values[:, 4:5]),
        (phi[[4, 0, 0]], values[:, [4, 0, 0]]),
        (phi[(2, 1)], values[:, [2, 1]]),
        (phi[indices], values[:, [4, 0, 0]]),
    ]
    for part, expected in chosen:
        np.testing.assert_array_equal(host(part.values), expected)
        assert part.sketch == sketch


def test_points_are_chosen_by_mask_and_by_integers_of_arrays(library):
    values = raw().astype(float_of(library))
    phi = dntk.TangentFeatures(library.array(values))
    mask = np.asarray([True, False, True, False, True])
    np.testing.assert_array_equal(host(phi[library.array(mask)].values), values[:, [0, 2, 4]])
    np.testing.assert_array_equal(host(phi[mask.tolist()].values), values[:, [0, 2, 4]])
    np.testing.assert_array_equal(host(phi[library.array(np.asarray(3))].values), values[:, 3:4])
    np.testing.assert_array_equal(host(phi[np.int64(3)].values), values[:, 3:4])


@pytest.mark.usefixtures("unchecked")
def test_masks_of_another_length_are_refused():
    with pytest.raises((ValueError, IndexError)):
        dntk.TangentFeatures(raw())[np.asarray([True, False, True])]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused_with_the_point(library, bad):
    values = raw().astype(float_of(library))
    values[1, 3, 0] = bad
    message = r"`values` has NaN or infinite values in 1 of its 5 rows \(first: row 3\)"
    with pytest.raises(ValueError, match=message):
        dntk.TangentFeatures(library.array(values))


@pytest.mark.usefixtures("unchecked")
def test_integer_features_are_refused(library):
    with pytest.raises(TypeError, match=r"`values` has dtype .*int32.*need floating point"):
        dntk.TangentFeatures(library.array(np.ones((2, 3), dtype=np.int32)))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 4, 2), (2, 0, 3), (2, 3, 0), (3,), (1, 2, 3, 4)])
def test_features_of_other_shapes_are_refused(shape):
    message = r"`values` has shape \(.*: expected \(outputs, points, features\), none.* 0"
    with pytest.raises(ValueError, match=message):
        dntk.TangentFeatures(np.ones(shape))


@pytest.mark.usefixtures("unchecked")
def test_features_that_are_no_array_are_refused():
    with pytest.raises(TypeError, match=r"`values` is a list: convert.*asarray"):
        dntk.TangentFeatures([[1.0, 2.0]])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("other", [(3, 5, 3), (2, 5, 4)], ids=["outputs", "dim"])
def test_features_of_other_sizes_are_not_compared(other):
    phi, different = dntk.TangentFeatures(raw()), dntk.TangentFeatures(raw(other))
    message = rf"`other` has {other[0]} outputs of {other[2]} features, but these have 2 of 3"
    with pytest.raises(ValueError, match=message):
        phi.kernel(different)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "other",
    [
        Gaussian(3, seed=2, n_parameters=9),
        Gaussian(3, seed=1, n_parameters=8),
        SparseSign(3, nonzeros=2, seed=1, n_parameters=9),
    ],
    ids=["seed", "number of parameters", "family"],
)
def test_features_of_other_sketches_are_not_compared(other):
    phi = dntk.TangentFeatures(raw(), Gaussian(3, seed=1, n_parameters=9))
    with pytest.raises(ValueError, match=r"`other` was made by .*, these by .*use one sketch"):
        phi.kernel(dntk.TangentFeatures(raw(), other))
    same = dataclasses.replace(phi.sketch)
    assert phi.kernel(dntk.TangentFeatures(raw(), same)).shape == (5, 5)


@pytest.mark.usefixtures("unchecked")
def test_features_of_another_library_are_not_compared():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"`features` is a numpy ndarray, `other` is a torch Tensor"):
        dntk.TangentFeatures(raw()).kernel(dntk.TangentFeatures(torch.asarray(raw())))


@pytest.mark.usefixtures("unchecked")
def test_unknown_outputs_of_a_kernel_are_refused():
    for outputs in ("trace", 2, -1, True, None):
        with pytest.raises(ValueError, match=r"`outputs`=.*an output's index from 0 to 1"):
            dntk.TangentFeatures(raw()).kernel(outputs=outputs)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("outputs", ["mean", "full"])
def test_kernel_modes_are_refused_as_features_with_what_to_ask(outputs):
    model = tanh_model(NUMPY, *random_network(), np.float64)
    message = rf"no `outputs`='{outputs}': take .each..*\.kernel\(outputs='{outputs}'\)"
    with pytest.raises(ValueError, match=message):
        dntk.tangent_features(model, points(2), sketch=None, outputs=outputs)


@pytest.mark.usefixtures("unchecked")
def test_sketch_bound_to_another_model_is_refused():
    model = tanh_model(NUMPY, *random_network(), np.float64)
    with pytest.raises(ValueError, match="sketch is bound to 99 parameters, but the model has 39"):
        dntk.tangent_features(model, points(2), sketch=Gaussian(8, n_parameters=99))


@pytest.mark.usefixtures("unchecked")
def test_bad_inputs_batch_sizes_and_overflow_are_refused():
    model = tanh_model(NUMPY, *random_network(), np.float64)
    with pytest.raises(ValueError, match=r"`x` has shape .*takes 3 features"):
        dntk.tangent_features(model, np.ones((2, 4)), sketch=None)
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer"):
        dntk.tangent_features(model, points(2), sketch=None, batch_size=0)
    huge = tanh_model(NUMPY, [np.full((1, 1), 1e200)], [np.zeros(1)], np.float64)
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="the network's outputs"):
        dntk.tangent_features(huge, np.full((1, 1), 1e200), sketch=None)


@pytest.mark.parametrize("outputs", ["mean", "each", "full", "sum", 1])
def test_kernels_of_points_with_themselves_are_symmetric_to_the_last_bit(library, outputs):
    values = 1e-8 * np.random.default_rng(0).normal(size=(2, 24, 40))
    phi = dntk.TangentFeatures(library.array(values, "float32"))
    kernel = host(phi.kernel(outputs=outputs))
    turned = kernel.transpose(1, 0, 3, 2) if outputs == "full" else np.swapaxes(kernel, -1, -2)
    np.testing.assert_array_equal(kernel, turned)
    others = dntk.TangentFeatures(library.array(values, "float32"))
    general = host(phi.kernel(others, outputs=outputs))
    # Two sums of 40 products in different orders, each of rows that were scaled once.
    np.testing.assert_allclose(kernel, general, rtol=0, atol=2 * 42 * 2**-23 * kernel.max())
