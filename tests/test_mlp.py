"""dntk.MLP against NumPy written out, SciPy's functions and PyTorch's automatic differentiation."""

import itertools

import array_api_compat
import array_api_strict
import numpy as np
import pytest
import scipy.special
import scipy.stats

import dntk
from dntk.models.activations import ACTIVATIONS
from tests.libraries import Library, host

SIZES = (3, 5, 4, 2)
SCIPY_ACTIVATIONS = {
    "relu": lambda h: np.maximum(h, 0),
    "tanh": np.tanh,
    "gelu": lambda h: h * scipy.stats.norm.cdf(h),
    "gelu_tanh": lambda h: (
        h * scipy.special.expit(2 * np.sqrt(2 / np.pi) * (h + 0.044715 * h**3))  # (1 + tanh z)/2
    ),
    "logistic": scipy.special.expit,
    "identity": lambda h: h,
}
# Values before an activation: both tails, the flat parts, and 0 itself, where ReLU has its kink.
GRID = np.concatenate([np.linspace(-30, 30, 61), np.linspace(-2, 2, 24), [1e-4, -1e-4]])


def random_parameters(sizes=SIZES, *, biases=True, seed=0):
    """Numbers that float32 holds exactly, so that one reference serves both precisions."""
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(b, a)) / a**0.5 for a, b in itertools.pairwise(sizes)]
    shifts = [rng.normal(size=b) if biases else None for b in sizes[1:]]
    return [_float32(w) for w in weights], [None if b is None else _float32(b) for b in shifts]


def _float32(values):
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def points(n=4, d=SIZES[0], seed=1):
    return _float32(np.random.default_rng(seed).normal(size=(n, d)))


def float_of(library: Library):
    return np.float64 if library.has_float64 else np.float32


def mlp(library, weights, biases, activation="tanh", dtype=None):
    dtype = dtype or float_of(library)
    return dntk.MLP(
        weights=tuple(library.array(w, dtype) for w in weights),
        biases=tuple(None if b is None else library.array(b, dtype) for b in biases),
        activation=activation,
    )


def numpy_mlp(sizes=SIZES, activation="tanh", **kwargs):
    weights, biases = random_parameters(sizes, **kwargs)
    return mlp(Library("numpy", "numpy"), weights, biases, activation)


def outputs_written_out(weights, biases, activation, x):
    """One scalar at a time."""
    values = x
    for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        following = np.zeros((len(values), len(weight)))
        for i, point in enumerate(values):
            for j, row in enumerate(weight):
                following[i, j] = sum(w * v for w, v in zip(row, point, strict=True))
                following[i, j] += 0 if bias is None else bias[j]
        values = following if layer == len(weights) - 1 else SCIPY_ACTIVATIONS[activation](following)
    return values


def autograd_jacobian(weights, biases, activation, x):
    """(C, n, P) in float64, parameters in the order weight, bias, weight, bias, ..."""
    torch = pytest.importorskip("torch")
    function = torch_activation(activation)
    leaves = [torch.asarray(a) for pair in zip(weights, biases, strict=True) for a in pair if a is not None]
    flat = torch.cat([leaf.reshape(-1) for leaf in leaves])

    def outputs(parameters):
        pieces = iter(torch.split(parameters, [leaf.numel() for leaf in leaves]))
        value = torch.asarray(x)
        for layer, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            value = value @ next(pieces).reshape(weight.shape).T
            value = value if bias is None else value + next(pieces)
            value = value if layer == len(weights) - 1 else function(value)
        return value

    jacobian = torch.autograd.functional.jacobian(outputs, flat, vectorize=False)
    return jacobian.permute(1, 0, 2).numpy()


def torch_activation(name):
    torch = pytest.importorskip("torch")
    return {
        "relu": torch.relu,
        "tanh": torch.tanh,
        "gelu": torch.nn.functional.gelu,
        "gelu_tanh": lambda h: torch.nn.functional.gelu(h, approximate="tanh"),
        "logistic": torch.sigmoid,
        "identity": lambda h: h,
    }[name]


def jacobian_from_blocks(model, x, cotangents):
    """Dense (q, n, P), NaN where no block says what is there; fails where two blocks say it."""
    jacobian = np.full((cotangents.shape[0], x.shape[0], model.n_parameters), np.nan)
    for block in model.gradient_blocks(x, cotangents):
        piece = jacobian[:, :, block.offset : block.offset + block.size]
        assert np.all(np.isnan(piece)), f"{block.name} overlaps another block"
        jacobian[:, :, block.offset : block.offset + block.size] = host(block.dense())
    return jacobian


def assert_close(actual, expected, *, terms, dtype):
    """Rounding of sums of ``terms`` products in three layers: 16 · terms · eps · largest value."""
    bound = 16 * terms * np.finfo(dtype).eps * np.max(np.abs(expected))
    np.testing.assert_allclose(host(actual), expected, rtol=0, atol=bound)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_outputs_equal_the_network_written_out_in_numpy(library, activation):
    weights, biases = random_parameters()
    x = points()
    actual = mlp(library, weights, biases, activation)(library.array(x, float_of(library)))
    expected = outputs_written_out(weights, biases, activation, x)
    assert_close(actual, expected, terms=max(SIZES), dtype=float_of(library))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_equals_its_definition_in_scipy(library, activation):
    dtype = float_of(library)
    grid = GRID.astype(dtype)
    actual = host(ACTIVATIONS[activation].value(library.array(grid)))
    expected = SCIPY_ACTIVATIONS[activation](grid.astype(np.float64))
    assert actual.dtype == dtype
    # Backward stable in an argument z whose rounding moves the value by |h| eps at most.
    np.testing.assert_array_less(np.abs(actual - expected), 16 * np.finfo(dtype).eps * np.maximum(1, np.abs(grid)))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_derivative_of_activation_equals_autograd(library, activation):
    torch = pytest.importorskip("torch")
    dtype = float_of(library)
    grid = GRID.astype(dtype)
    leaf = torch.asarray(grid.astype(np.float64), copy=True).requires_grad_()
    torch_activation(activation)(leaf).sum().backward()
    actual = host(ACTIVATIONS[activation].derivative(library.array(grid)))
    assert actual.dtype == dtype
    # 1 − tanh² loses eps; gelu_tanh multiplies it by h (1 + 0.13 h²) · 0.4, below 20 until tanh
    # rounds to one.
    np.testing.assert_allclose(actual, leaf.grad.numpy(), rtol=0, atol=64 * np.finfo(dtype).eps)


def test_every_activation_of_the_table_is_tested():
    assert set(ACTIVATIONS) == set(SCIPY_ACTIVATIONS)


def test_logistic_neither_overflows_nor_leaves_the_unit_interval():
    h = np.asarray([-1e4, -750.0, 750.0, 1e4])
    np.testing.assert_array_equal(ACTIVATIONS["logistic"].value(h), [0, 0, 1, 1])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradient_blocks_equal_autograd_jacobian_for_every_activation(activation):
    weights, biases = random_parameters()
    x = points()
    model = mlp(Library("numpy", "numpy"), weights, biases, activation)
    expected = autograd_jacobian(weights, biases, activation, x)
    assert_close(jacobian_from_blocks(model, x, np.eye(2)), expected, terms=5, dtype=np.float64)


def test_gradient_blocks_of_any_cotangents_equal_combined_jacobian(library):
    weights, biases = random_parameters()
    x, dtype = points(), float_of(library)
    cotangents = _float32(np.random.default_rng(2).normal(size=(3, 2)))
    model = mlp(library, weights, biases)
    actual = jacobian_from_blocks(model, library.array(x, dtype), library.array(cotangents, dtype))
    jacobian = autograd_jacobian(weights, biases, "tanh", x)
    assert_close(actual, np.einsum("qc,cnp->qnp", cotangents, jacobian), terms=5, dtype=dtype)
    own = _float32(np.random.default_rng(3).normal(size=(3, x.shape[0], 2)))  # each input's own functionals
    actual = jacobian_from_blocks(model, library.array(x, dtype), library.array(own, dtype))
    assert_close(actual, np.einsum("qnc,cnp->qnp", own, jacobian), terms=5, dtype=dtype)


def test_jvp_equals_jacobian_times_tangents(library):
    weights, biases = random_parameters()
    x, dtype = points(), float_of(library)
    model = mlp(library, weights, biases)
    tangents = _float32(np.random.default_rng(3).normal(size=(2, model.n_parameters)))
    actual = model.jvp(library.array(x, dtype), library.array(tangents, dtype))
    jacobian = autograd_jacobian(weights, biases, "tanh", x)
    expected = np.einsum("cnp,qp->qnc", jacobian, tangents)
    assert_close(actual, expected, terms=model.n_parameters, dtype=dtype)


def test_vjp_equals_transposed_jacobian_times_cotangents(library):
    weights, biases = random_parameters()
    x, dtype = points(), float_of(library)
    model = mlp(library, weights, biases)
    cotangents = _float32(np.random.default_rng(4).normal(size=(4, 2)))
    actual = model.vjp(library.array(x, dtype), library.array(cotangents, dtype))
    jacobian = autograd_jacobian(weights, biases, "tanh", x)
    expected = np.einsum("cnp,nc->p", jacobian, cotangents)
    assert_close(actual, expected, terms=4 * max(SIZES), dtype=dtype)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("weights.1", ["weights.1"]),
        ("biases.*", ["biases.0", "biases.1", "biases.2"]),
        (r"\w+\.2|\w+\.0", ["weights.0", "biases.0", "weights.2", "biases.2"]),
        (r"biases\.2", ["biases.2"]),
    ],
)
def test_subset_keeps_the_columns_of_its_parameters_in_network_order(pattern, names):
    weights, biases = random_parameters()
    x = points()
    full = mlp(Library("numpy", "numpy"), weights, biases)
    part = full.subset(pattern)
    jacobian = autograd_jacobian(weights, biases, "tanh", x)
    columns, position = {}, 0
    for name, value in full.parameters.items():
        columns[name] = list(range(position, position + value.size))
        position += value.size
    kept = jacobian[:, :, [j for name in names for j in columns[name]]]
    tangents = np.random.default_rng(5).normal(size=(2, kept.shape[2]))
    cotangents = np.random.default_rng(6).normal(size=(4, 2))

    assert list(part.parameters) == names
    assert part.n_parameters == kept.shape[2]
    np.testing.assert_array_equal(part(x), full(x))
    assert_close(jacobian_from_blocks(part, x, np.eye(2)), kept, terms=5, dtype=np.float64)
    expected_jvp = np.einsum("cnp,qp->qnc", kept, tangents)
    assert_close(part.jvp(x, tangents), expected_jvp, terms=kept.shape[2], dtype=np.float64)
    expected_vjp = np.einsum("cnp,nc->p", kept, cotangents)
    assert_close(part.vjp(x, cotangents), expected_vjp, terms=20, dtype=np.float64)


def test_subset_matches_whole_names_only():
    weights, biases = random_parameters((1,) * 12)
    model = mlp(Library("numpy", "numpy"), weights, biases)
    assert list(model.subset("weights.1").parameters) == ["weights.1"]  # and not weights.10
    assert list(model.subset("weights.*").subset(".*10").parameters) == ["weights.10"]


def test_as_model_returns_a_model_or_its_subset():
    model = numpy_mlp()
    assert dntk.as_model(model) is model
    assert list(dntk.as_model(model, parameters="biases.1").parameters) == ["biases.1"]


def test_layers_without_bias_have_no_bias_parameters():
    weights, biases = random_parameters()
    biases[0] = biases[2] = None
    x = points()
    model = mlp(Library("numpy", "numpy"), weights, biases)
    jacobian = autograd_jacobian(weights, biases, "tanh", x)
    tangents = np.random.default_rng(7).normal(size=(1, model.n_parameters))

    assert list(model.parameters) == ["weights.0", "weights.1", "biases.1", "weights.2"]
    assert model.n_parameters == 15 + 20 + 4 + 8
    assert_close(model(x), outputs_written_out(weights, biases, "tanh", x), terms=5, dtype=np.float64)
    assert_close(jacobian_from_blocks(model, x, np.eye(2)), jacobian, terms=5, dtype=np.float64)
    expected = np.einsum("cnp,qp->qnc", jacobian, tangents)
    assert_close(model.jvp(x, tangents), expected, terms=model.n_parameters, dtype=np.float64)
    summed = np.sum(jacobian, axis=(0, 1))
    assert_close(model.vjp(x, np.ones((4, 2))), summed, terms=20, dtype=np.float64)


def test_network_of_one_output_and_one_layer_has_its_inputs_as_gradients():
    x = points()
    model = numpy_mlp((3, 1))
    assert model.n_outputs == 1
    assert model.n_parameters == 4
    expected = np.concatenate([x, np.ones((4, 1))], axis=1)[None, :, :]
    np.testing.assert_array_equal(jacobian_from_blocks(model, x, np.eye(1)), expected)


def test_namespace_device_and_dtype_are_those_of_the_parameters(library):
    model = mlp(library, *random_parameters(), dtype=np.float32)
    x = library.array(points(), np.float32)
    out = model(x)
    assert model.namespace is array_api_compat.array_namespace(x)
    assert out.dtype == model.dtype == model.weights[0].dtype
    assert out.device == model.device
    assert type(out) is type(x)


@pytest.mark.parametrize("target", ["torch", "jax"])
def test_moving_to_another_backend_keeps_outputs_selection_and_activation(target):
    pytest.importorskip(target)
    weights, biases = random_parameters()
    biases[1] = None
    here = mlp(Library("numpy", "numpy"), weights, biases, "gelu").subset(".*0")
    there = here.to(target, dtype="float32")
    back = there.to("numpy")
    x = points().astype(np.float32)

    assert there.namespace.__name__.endswith(target + (".numpy" if target == "jax" else ""))
    assert there.selected == ("weights.0", "biases.0")
    assert there.activation == "gelu"
    assert there.biases[1] is None
    assert host(there.weights[0]).dtype == np.float32
    expected = outputs_written_out(weights, biases, "gelu", x.astype(np.float64))
    assert_close(there(Library(target, target).array(x)), expected, terms=5, dtype=np.float32)
    for weight, original in zip(back.weights, weights, strict=True):
        np.testing.assert_array_equal(weight, original)


def test_moving_without_dtype_keeps_float64():
    pytest.importorskip("torch")
    assert host(numpy_mlp().to("torch").weights[0]).dtype == np.float64


@pytest.mark.usefixtures("unchecked")
def test_inputs_of_another_width_are_refused_with_the_width_the_model_takes(library):
    model = mlp(library, *random_parameters())
    with pytest.raises(ValueError, match=r"`x` has shape \(4, 7\).*takes 3 features.*\(n, 3\)"):
        model(library.array(np.ones((4, 7)), float_of(library)))


@pytest.mark.usefixtures("unchecked")
def test_one_input_without_its_batch_axis_is_refused():
    with pytest.raises(ValueError, match=r"`x` has shape \(3,\).*pass shape \(n, 3\)"):
        numpy_mlp()(np.ones(3))


@pytest.mark.usefixtures("unchecked")
def test_integer_images_are_refused_with_the_conversion(library):
    model = mlp(library, *random_parameters())
    with pytest.raises(TypeError, match=r"`x` has dtype .*int32.*convert.*x.*float32.*\) / 255"):
        model(library.array(np.ones((4, 3), dtype=np.int32)))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_inputs_that_are_not_finite_are_refused_with_their_row(library, bad):
    x = points()
    x[2, 1] = x[3, 0] = bad
    model = mlp(library, *random_parameters())
    with pytest.raises(ValueError, match=r"`x` has NaN or infinite values in 2 of its 4 rows \(first: row 2\)"):
        model(library.array(x, float_of(library)))


@pytest.mark.usefixtures("unchecked")
def test_no_inputs_are_refused(library):
    model = mlp(library, *random_parameters())
    with pytest.raises(ValueError, match=r"`x` is empty \(shape \(0, 3\)\).*at least one point"):
        model(library.array(np.ones((0, 3)), float_of(library)))


@pytest.mark.usefixtures("unchecked")
def test_inputs_of_another_namespace_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"`x` is a torch array, but the model computes with numpy: convert"):
        numpy_mlp()(torch.ones((4, 3), dtype=torch.float64))


@pytest.mark.usefixtures("unchecked")
def test_inputs_that_are_no_array_are_refused():
    with pytest.raises(TypeError, match="`x` is a list: convert it to one array first"):
        numpy_mlp()([[1.0, 2.0, 3.0]])


@pytest.mark.usefixtures("unchecked")
def test_inputs_on_another_device_are_refused():
    model = mlp(Library("strict", "array_api_strict", "device1"), *random_parameters())
    x = array_api_strict.ones((4, 3), dtype=array_api_strict.float64)
    with pytest.raises(ValueError, match=r"`x` is on device .*CPU_DEVICE.*model is on .*device1.*to_device"):
        model(x)


@pytest.mark.usefixtures("unchecked")
def test_inputs_of_another_precision_are_refused():
    with pytest.raises(TypeError, match=r"`x` has dtype float32, but the parameters have float64: convert"):
        numpy_mlp()(np.ones((4, 3), dtype=np.float32))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("method", ["gradient_blocks", "jvp", "vjp"])
def test_derivatives_check_their_inputs_too(method):
    model = numpy_mlp()
    second = {
        "gradient_blocks": np.eye(2),
        "jvp": np.ones((1, model.n_parameters)),
        "vjp": np.ones((4, 2)),
    }
    with pytest.raises(ValueError, match="takes 3 features"):
        for _ in getattr(model, method)(np.ones((4, 7)), second[method]):
            pass


@pytest.mark.usefixtures("unchecked")
def test_unknown_activation_is_refused_with_those_that_exist():
    with pytest.raises(ValueError, match=r"`activation`='swish': expected one of relu, tanh, gelu"):
        dntk.MLP(weights=(np.eye(2),), biases=(None,), activation="swish")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("weights", "biases", "message"),
    [
        (
            (np.ones((4, 3)), np.ones((2, 5))),
            (None, None),
            r"weights\.1 has shape \(2, 5\).* but 4 values enter",
        ),
        (
            (np.ones((4, 3)),),
            (np.ones(3),),
            r"bias.* \(3,\).*expected \(d_out, 3\).* \(d_out,\)",
        ),
        (
            (np.ones((4, 3)),),
            (None, None),
            r"one bias \(or None\) per weight, got 1 weights, 2 biases",
        ),
        ((), (), r"got 0 weights"),
    ],
    ids=["layers", "bias", "number of biases", "nothing"],
)
def test_layers_that_do_not_fit_together_are_refused(weights, biases, message):
    with pytest.raises(ValueError, match=message):
        dntk.MLP(weights=weights, biases=biases)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("weights", "biases"),
    [
        ((np.ones(3),), (None,)),
        ((np.ones((4, 3, 2)),), (None,)),
        ((np.ones((4, 3)),), (np.ones((4, 1)),)),
        ((np.ones((4, 3)), np.ones((2, 4), dtype=np.float32)), (None, None)),
    ],
    ids=["weight of one axis", "weight of three axes", "bias of two axes", "two precisions"],
)
def test_parameters_of_wrong_axes_or_mixed_precision_are_refused(weights, biases):
    with pytest.raises((ValueError, TypeError), match=r"weights\.|biases\."):
        dntk.MLP(weights=weights, biases=biases)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_parameters_that_are_not_finite_are_refused_by_name(library, bad):
    weights, biases = random_parameters()
    biases[1][3] = bad
    with pytest.raises(ValueError, match=r"`biases\.1` has NaN or infinite values.*row 3"):
        mlp(library, weights, biases)


@pytest.mark.usefixtures("unchecked")
def test_integer_parameters_are_refused():
    with pytest.raises(TypeError, match=r"`weights\.0` has dtype int64"):
        dntk.MLP(weights=(np.eye(2, dtype=np.int64),), biases=(None,))


@pytest.mark.usefixtures("unchecked")
def test_parameters_of_two_libraries_are_refused():
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"`weights\.0` is a numpy ndarray, `biases\.0` is a torch Tensor"):
        dntk.MLP(weights=(np.eye(2),), biases=(torch.ones(2, dtype=torch.float64),))


@pytest.mark.usefixtures("unchecked")
def test_parameters_on_two_devices_are_refused():
    here, there = array_api_strict.Device("CPU_DEVICE"), array_api_strict.Device("device1")
    weights = (
        array_api_strict.ones((2, 2), device=here),
        array_api_strict.ones((2, 2), device=there),
    )
    with pytest.raises(ValueError, match=r"`weights\.1` is on device .*device1.*`weights\.0` is on .*CPU"):
        dntk.MLP(weights=weights, biases=(None, None))


@pytest.mark.usefixtures("unchecked")
def test_pattern_that_matches_nothing_is_refused_with_the_names():
    with pytest.raises(ValueError, match=r"`parameters`='fc.*' matches none of the 6 .*weights\.0, biases\.0"):
        numpy_mlp().subset("fc.*")


@pytest.mark.usefixtures("unchecked")
def test_pattern_that_does_not_compile_is_refused():
    with pytest.raises(ValueError, match=r"`parameters` is not a regular expression \(.*\): '\(fc'"):
        dntk.as_model(numpy_mlp(), parameters="(fc")


@pytest.mark.usefixtures("unchecked")
def test_network_of_no_known_framework_is_refused_with_the_known_ones():
    with pytest.raises(TypeError, match=r"cannot make a model of a builtins\.dict.*torch.*dntk\.MLP"):
        dntk.as_model({"weights": 1})
