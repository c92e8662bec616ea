"""Exact kernels against products of a dense Jacobian by complex steps."""

import numpy as np
import pytest

import dntk
from dntk.ledger import LedgerRecorder
from dntk.models import batching
from dntk.models.batching import measured_bytes
from tests.jacobians import SIZES, complex_step_jacobian, float_of, points, random_network, tanh_model
from tests.libraries import Library, host

NUMPY = Library("numpy", "numpy")
OUTPUTS = ["mean", "each", "full", "sum", 0, 1]


def dense_kernel(left, right, outputs):
    """The definitions of dntk.ntk on Jacobians (C, n, P), sums over explicit indices."""
    n_outputs = left.shape[0]
    full = np.einsum("cip,djp->ijcd", left, right)
    if outputs == "full":
        return full
    if outputs == "sum":
        return np.sum(full, axis=(2, 3)) / n_outputs
    each = np.stack([full[:, :, c, c] for c in range(n_outputs)])
    if outputs == "each":
        return each
    return np.sum(each, axis=0) / n_outputs if outputs == "mean" else each[outputs]


def assert_close(actual, expected, *, terms, dtype):
    """Rounding of sums of ``terms`` products of rounded numbers: 8 · terms · eps · largest."""
    bound = 8 * terms * np.finfo(dtype).eps * np.max(np.abs(expected))
    np.testing.assert_allclose(host(actual), expected, rtol=0, atol=bound)


@pytest.fixture(scope="module")
def network():
    weights, biases = random_network()
    x1, x2 = points(4, seed=1), points(3, seed=2)
    jacobians = [complex_step_jacobian(weights, biases, x) for x in (x1, x2)]
    return weights, biases, x1, x2, *jacobians


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_kernel_equals_product_of_dense_jacobians(library, network, outputs):
    weights, biases, x1, x2, jacobian1, jacobian2 = network
    dtype = float_of(library)
    model = tanh_model(library, weights, biases, dtype)
    a, b = library.array(x1, dtype), library.array(x2, dtype)
    terms = jacobian1.shape[2]

    between = dntk.ntk(model, a, b, outputs=outputs)
    expected = dense_kernel(jacobian1, jacobian2, outputs)
    assert host(between).shape == expected.shape
    assert between.dtype == model.dtype
    assert between.device == model.device
    assert_close(between, expected, terms=terms, dtype=dtype)

    within = dntk.ntk(model, a, outputs=outputs)
    assert_close(within, dense_kernel(jacobian1, jacobian1, outputs), terms=terms, dtype=dtype)


def test_kernel_of_some_parameters_is_the_product_of_their_columns(network):
    weights, biases, x1, x2, jacobian1, jacobian2 = network
    model = tanh_model(NUMPY, weights, biases, np.float64).subset("weights.1|biases.0")
    kept = slice(3 * 4, 3 * 4 + 4 + 4 * 3)  # the first bias and the second weight
    expected = dense_kernel(jacobian1[:, :, kept], jacobian2[:, :, kept], "full")
    assert_close(dntk.ntk(model, x1, x2, outputs="full"), expected, terms=16, dtype=np.float64)


@pytest.mark.parametrize(
    ("outputs", "shape"),
    [("mean", (4, 3)), ("each", (2, 4, 3)), ("full", (4, 3, 2, 2)), ("sum", (4, 3)), (1, (4, 3))],
)
def test_shapes_are_those_of_the_documentation(network, outputs, shape):
    weights, biases, x1, x2, *_ = network
    model = tanh_model(NUMPY, weights, biases, np.float64)
    assert dntk.ntk(model, x1, x2, outputs=outputs).shape == shape


def test_outputs_default_to_the_mean_kernel(network):
    weights, biases, x1, x2, *_ = network
    model = tanh_model(NUMPY, weights, biases, np.float64)
    expected = dntk.ntk(model, x1, x2, outputs="mean")
    np.testing.assert_array_equal(dntk.ntk(model, x1, x2), expected)


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("batch_size", [1, 2, 5, 11, 100])
@pytest.mark.parametrize("other", [False, True], ids=["within", "between"])
def test_batch_size_does_not_change_the_kernel(outputs, batch_size, other):
    model = tanh_model(NUMPY, *random_network(), np.float64)
    x1, x2 = points(11), points(7, seed=2) if other else None
    whole = dntk.ntk(model, x1, x2, outputs=outputs)
    batched = dntk.ntk(model, x1, x2, outputs=outputs, batch_size=batch_size)
    assert_close(batched, whole, terms=model.n_parameters, dtype=np.float64)


def budget_for(model, x, *, inputs, functionals):
    """Memory in which batches of this many inputs fit twice, for this many functionals together."""
    first, further = measured_bytes(model, x, np.eye(model.n_outputs))
    return 2 * inputs * (first + (functionals - 1) * further)


@pytest.mark.parametrize("outputs", ["mean", "each", "full", "sum"])
@pytest.mark.parametrize(("inputs", "functionals"), [(11, 1), (6, 1), (6, 2), (2, 1)])
def test_memory_budget_does_not_change_the_kernel(monkeypatch, outputs, inputs, functionals):
    model = tanh_model(NUMPY, *random_network(), "float64")
    x1, x2 = points(11, seed=1), points(7, seed=2)
    whole = [dntk.ntk(model, x1, other, outputs=outputs) for other in (None, x2)]
    monkeypatch.setattr(batching, "BUDGET", budget_for(model, x1, inputs=inputs, functionals=functionals))
    for other, expected in zip((None, x2), whole, strict=True):
        assert_close(dntk.ntk(model, x1, other, outputs=outputs), expected, terms=model.n_parameters, dtype="float64")


@pytest.mark.parametrize("outputs", ["mean", "each"])
def test_groups_of_unequal_numbers_of_outputs_weigh_by_their_numbers(monkeypatch, outputs):
    weights, biases = random_network((4, 5, 3))
    model, x = tanh_model(NUMPY, weights, biases, "float64"), points(6, 4)
    monkeypatch.setattr(
        "dntk.kernels._ntk.choose_paired_batches",
        lambda *_, **__: batching.PairedBatches(inputs=6, functionals=2),  # groups of two outputs and of one
    )
    jacobian = complex_step_jacobian(weights, biases, x)
    expected = dense_kernel(jacobian, jacobian, outputs)
    assert_close(dntk.ntk(model, x, outputs=outputs), expected, terms=model.n_parameters, dtype="float64")


def test_kernels_that_do_not_mix_outputs_differentiate_once_where_one_output_fits_the_memory(monkeypatch):
    model = tanh_model(NUMPY, *random_network(), "float64")
    x = points(11)
    monkeypatch.setattr(batching, "BUDGET", budget_for(model, x, inputs=11, functionals=1) // 2)
    for outputs in ("mean", "each"):
        recorder = LedgerRecorder()
        with recorder.stage("kernel"):
            dntk.ntk(model, x, outputs=outputs)
        assert recorder.ledger()["kernel"].jacobian_rows == 11 * model.n_outputs


@pytest.mark.parametrize("outputs", ["mean", "each", "full", "sum", 1])
@pytest.mark.parametrize("batch_size", [None, 4, 37])
@pytest.mark.parametrize("sizes", [SIZES, (40, 3, 2)], ids=["contracted", "materialised"])
def test_kernel_of_one_set_of_points_is_symmetric_bit_for_bit(outputs, batch_size, sizes):
    model = tanh_model(NUMPY, *random_network(sizes), np.float64)
    kernel = dntk.ntk(model, points(37, sizes[0]), outputs=outputs, batch_size=batch_size)
    mirrored = np.moveaxis(kernel, (0, 1, 2, 3), (1, 0, 3, 2)) if outputs == "full" else kernel.mT
    np.testing.assert_array_equal(kernel, mirrored)


@pytest.mark.usefixtures("unchecked")
def test_unknown_outputs_are_refused_with_those_that_exist(library):
    model = tanh_model(library, *random_network(), np.float32)
    x = library.array(points(2), np.float32)
    for outputs in ("trace", 2, -1, True, 1.0, None):
        with pytest.raises(ValueError, match=r"`outputs`=.*'mean', 'each', 'full', 'sum'.*from 0 to 1"):
            dntk.ntk(model, x, outputs=outputs)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("batch_size", [0, -3])
def test_batch_size_below_one_is_refused(batch_size):
    model = tanh_model(NUMPY, *random_network(), np.float64)
    with pytest.raises(ValueError, match=rf"`batch_size` must be a positive integer, got {batch_size}"):
        dntk.ntk(model, points(3), batch_size=batch_size)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("name", ["x1", "x2"])
def test_bad_inputs_are_refused_by_the_name_of_the_argument(name):
    model = tanh_model(NUMPY, *random_network(), np.float64)
    good, bad = points(3), np.ones((3, 4))
    with pytest.raises(ValueError, match=rf"`{name}` has shape \(3, 4\).*takes 3 features"):
        dntk.ntk(model, **{"x1": good, "x2": good, name: bad})


@pytest.mark.usefixtures("unchecked")
def test_network_whose_outputs_overflow_is_refused(library):
    huge = np.full((2, 3), 1e30)
    model = dntk.MLP(
        weights=(library.array(huge, np.float32), library.array(huge[:, :2], np.float32)),
        biases=(None, None),
        activation="identity",
    )
    x = library.array(np.ones((4, 3)), np.float32)
    message = r"`the network's outputs` has NaN or infinite values"
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(ValueError, match=message):
        dntk.ntk(model, x)


@pytest.mark.usefixtures("unchecked")
def test_second_set_of_points_at_which_outputs_overflow_is_refused():
    model = tanh_model(NUMPY, [np.full((1, 1), 1e200)], [np.zeros(1)], np.float64)
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="the network's outputs"):
        dntk.ntk(model, np.ones((2, 1)), np.full((2, 1), 1e200))
