"""Functions written with autograd.numpy, ``dntk.as_model(fn, params)``: derivatives against complex steps."""

import functools
import importlib.util

import numpy as np
import pytest

import dntk
from dntk.gradient_blocks import DenseBlock, FactoredBlock

pytest.importorskip("autograd")
import autograd.extend
import autograd.numpy as anp

from dntk_numpy.autograd_model import AutogradModel

EPS = np.finfo(np.float64).eps


def mlp(params, x):
    """Plain layers, y = x W + b."""
    for layer in params["hidden"]:
        x = anp.tanh(x @ layer["w"] + layer["b"])
    return anp.dot(x, params["out"]) * params["gain"]


def torch_like(params, x):
    """Weights the other way round, and one that is used twice."""
    first, tied, last = params
    h = anp.tanh(x @ first.T)
    h = anp.tanh(anp.dot(h, anp.transpose(tied)) - h)
    return anp.matmul(anp.tanh(h @ tied.T), last.T)


def sequences(params, x):
    """Inputs (n, t, d): positions as an axis, then joined to the inputs, then in columns."""
    n, t, _ = x.shape
    h = anp.tanh(x @ params["w"] + params["place"])
    h = anp.reshape(h, (n * t, -1)) @ params["v"] + params["shift"]
    h = anp.transpose(anp.reshape(h, (n, t, -1)), (1, 0, 2))  # positions first
    h = anp.sum(h @ params["u"], axis=0)
    return (params["columns"] @ h.T).T


def odd(params, x):
    """Parameters in places that no layer knows."""
    w = anp.exp(params["log"]) + params["base"]
    kernel = anp.einsum("nd,dk->nk", x, params["einsum"])
    both_ways = (x @ params["square"]) @ params["square"].T
    doubled = params["twice"] * params["twice"] + 2.0 * params["one"]
    return anp.sin(x @ w) + kernel + anp.sum(both_ways, axis=1, keepdims=True) + doubled - params["minus"]


def case(name, seed=0):
    """(function, params, inputs), all numbers exact in float32."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return (0.5 * rng.normal(size=shape)).astype(np.float32).astype(np.float64)

    if name == "mlp":
        hidden = [{"w": draw(3, 4), "b": draw(4)}, {"w": draw(4, 5), "b": draw(1, 5)}]
        return mlp, {"hidden": hidden, "out": draw(5, 2), "gain": draw(2), "name": "tanh"}, draw(6, 3)
    if name == "torch-like":
        return torch_like, (draw(4, 3), draw(4, 4), draw(2, 4)), draw(6, 3)
    if name == "sequences":
        params = {"w": draw(3, 4), "place": draw(5, 4), "v": draw(4, 3), "shift": draw()}
        return sequences, params | {"u": draw(3, 2), "columns": draw(2, 2)}, draw(6, 5, 3)
    params = {"log": draw(3, 2), "base": draw(3, 2), "einsum": draw(3, 2), "square": draw(3, 3)}
    return odd, params | {"twice": draw(2), "one": draw(1), "minus": draw(2)}, draw(6, 3)


CASES = ["mlp", "torch-like", "sequences", "odd"]


def jacobian(model, function, x):
    """(C, n, P): Im f(θ + i h e_p)/h by complex steps, one input and one parameter at a time."""
    from dntk_numpy.nest import filled

    step, columns = 1e-30, []
    for name, value in model.parameters.items():
        for coordinate in range(value.size):
            moved = np.array(value, dtype=complex)
            moved.reshape(-1)[coordinate] += 1j * step
            params = filled(model.nest, {name: moved})
            columns.append(np.concatenate([function(params, x[i : i + 1]) for i in range(len(x))]).imag.T / step)
    return np.stack(columns, axis=-1)


def joined(model, x, cotangents):
    blocks = list(model.gradient_blocks(x, cotangents))
    assert [block.name for block in blocks] == list(model.parameters)
    assert [block.offset for block in blocks] == list(np.cumsum([0, *(block.size for block in blocks)])[:-1])
    return np.concatenate([block.dense() for block in blocks], axis=2)


def assert_close(actual, expected, dtype=np.float64, passes=64):
    """Rounding of sums of at most 64 terms, through few layers of order one."""
    bound = passes * 64 * np.finfo(dtype).eps * np.max(np.abs(expected))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=bound)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_blocks_are_the_jacobian_of_each_input(name, dtype):
    function, params, x = case(name)
    expected = jacobian(dntk.as_model(function, params), function, x)
    model = dntk.as_model(function, cast(params, dtype))
    assert isinstance(model, AutogradModel)
    assert model.dtype == dtype
    x = x.astype(dtype)
    assert model(x).dtype == dtype
    actual = joined(model, x, np.eye(2, dtype=dtype))
    assert actual.dtype == dtype
    assert_close(actual, expected, dtype)


@pytest.mark.parametrize("name", CASES)
def test_every_input_can_have_functionals_of_its_own(name):
    function, params, x = case(name)
    model = dntk.as_model(function, params)
    model(x)
    cotangents = np.random.default_rng(3).normal(size=(3, 6, 2))
    expected = np.einsum("qnc,cnp->qnp", cotangents, jacobian(model, function, x))
    assert_close(joined(model, x, cotangents), expected)


@pytest.mark.parametrize("name", CASES)
def test_products_with_the_jacobian_and_its_transpose(name):
    function, params, x = case(name)
    model = dntk.as_model(function, params)
    expected = jacobian(model, function, x)
    rng = np.random.default_rng(4)
    tangents, cotangents = rng.normal(size=(3, model.n_parameters)), rng.normal(size=(6, 2))
    assert_close(model.jvp(x, tangents), np.einsum("cnp,qp->qnc", expected, tangents))
    assert_close(model.vjp(x, cotangents), np.einsum("cnp,nc->p", expected, cotangents))
    assert model.jvp(x, tangents[:0]).shape == (0, 6, 2)


@pytest.mark.parametrize("name", CASES)
def test_kernel_of_a_subset_is_that_of_its_columns(name):
    function, params, x = case(name)
    every = dntk.as_model(function, params)
    chosen = list(every.parameters)[1]
    model = dntk.as_model(function, params, parameters=chosen)
    assert list(model.parameters) == list(every.subset(chosen).parameters) == [chosen]
    rows = jacobian(model, function, x)
    assert_close(dntk.ntk(model, x), np.einsum("cnp,cmp->nm", rows, rows) / 2)


def test_layers_give_factors_and_other_parameters_are_expanded():
    kinds = {}
    for name in CASES:
        function, params, x = case(name)
        model = dntk.as_model(function, params)
        model(x)
        kinds[name] = {block.name: type(block) for block in model.gradient_blocks(x, np.eye(2))}
    assert kinds["mlp"]["hidden.0.w"] is kinds["mlp"]["out"] is FactoredBlock
    assert kinds["torch-like"] == {"0": FactoredBlock, "1": FactoredBlock, "2": FactoredBlock}
    assert kinds["sequences"]["w"] is kinds["sequences"]["v"] is FactoredBlock
    assert kinds["sequences"]["u"] is kinds["sequences"]["columns"] is DenseBlock
    assert set(kinds["odd"].values()) == {DenseBlock}


@pytest.mark.parametrize(("name", "looped"), [("mlp", False), ("torch-like", False), ("odd", True)])
def test_layers_cost_one_forward_pass_for_all_inputs(name, looped):
    function, params, x = case(name)
    calls = []

    def counted(values, points):
        calls.append(len(points))
        return function(values, points)

    model = dntk.as_model(counted, params)
    model(x)
    joined(model, x, np.eye(2))  # with the checks of the first time
    calls.clear()
    joined(model, x, np.eye(2))
    assert (calls == [6]) is not looped


def test_positions_first_with_as_many_positions_as_inputs_are_not_mistaken_for_inputs():
    """The probe has four inputs: so many positions are the trap."""

    def function(params, x):
        h = anp.transpose(anp.reshape(x, (-1, 4, 3)), (1, 0, 2)) @ params["w"]
        return anp.sum(anp.tanh(h), axis=0)

    rng = np.random.default_rng(0)
    x, params = rng.normal(size=(4, 12)), {"w": rng.normal(size=(3, 2))}
    model = dntk.as_model(function, params)
    model(x)
    assert_close(joined(model, x, np.eye(2)), jacobian(model, function, x))


def test_inputs_that_take_another_way_than_the_probe_are_differentiated_all_the_same():
    def function(params, x):
        h = anp.concatenate([params["w"] * 1.0, params["w"]], axis=1)[:, :2] if len(x) > 4 else params["w"]
        return anp.tanh(x @ h)

    rng = np.random.default_rng(0)
    x, params = rng.normal(size=(7, 3)), {"w": rng.normal(size=(3, 2))}
    model = dntk.as_model(function, params)
    model(x)
    assert_close(joined(model, x, np.eye(2)), jacobian(model, function, x))


def test_product_of_two_parameters_is_not_mistaken_for_a_layer_of_as_many_rows_as_inputs():
    def function(params, x):
        first, second = params
        return x @ (first @ second) if len(x) > 4 else (x @ first) @ second

    rng = np.random.default_rng(0)
    x, params = rng.normal(size=(8, 8)), [rng.normal(size=(8, 3)), rng.normal(size=(3, 2))]
    model = dntk.as_model(function, params)
    model(x)
    assert_close(joined(model, x, np.eye(2)), jacobian(model, function, x))


def test_precision_is_that_of_the_parameters_whatever_constants_the_function_has():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=(3, 2)).astype(np.float32)
    model = dntk.as_model(lambda w, x: anp.tanh(np.float64(0.5) * (x @ w)), w)
    ones = np.ones((1, 2), np.float32)
    assert model(x).dtype == np.float32
    assert joined(model, x, ones).dtype == np.float32
    assert model.jvp(x, np.ones((1, 6), np.float32)).dtype == np.float32
    assert model.vjp(x, np.ones((5, 2), np.float32)).dtype == np.float32


def test_features_and_predictions_are_those_of_the_same_perceptron():
    rng = np.random.default_rng(0)
    weights, biases = [rng.normal(size=(9, 5)), rng.normal(size=(3, 9))], [rng.normal(size=9), rng.normal(size=3)]

    def function(params, x):
        return anp.tanh(x @ params[0].T + params[1]) @ params[2].T + params[3]

    x = rng.normal(size=(25, 5))
    model = dntk.as_model(function, [weights[0], biases[0], weights[1], biases[1]])
    reference = dntk.MLP(weights=tuple(weights), biases=tuple(biases), activation="tanh")
    sketch = dntk.sketch.SparseSign(64, seed=1)
    actual, expected = (dntk.tangent_features(m, x, sketch=sketch).values for m in (model, reference))
    assert_close(actual, expected)
    fitted = [dntk.DistilledNTK(m, seed=0).fit(x) for m in (model, reference)]
    # Ridge regression amplifies rounding by the condition of the regularised kernel.
    np.testing.assert_allclose(fitted[0].predict(x), fitted[1].predict(x), rtol=0, atol=1e-6 * np.abs(model(x)).max())


def test_operation_without_forward_rule_is_pushed_by_two_backward_passes():
    @autograd.extend.primitive
    def cube(x):
        return x**3

    autograd.extend.defvjp(cube, lambda _, x: lambda g: g * 3 * x**2)

    def function(params, x):
        return cube(x @ params["w"]) + 0 * params["idle"]

    def plain(params, x):
        return (x @ params["w"]) ** 3 + 0 * params["idle"]

    rng = np.random.default_rng(0)
    x, params = rng.normal(size=(5, 3)), {"w": rng.normal(size=(3, 2)), "idle": rng.normal(size=2)}
    model, tangents = dntk.as_model(function, params), rng.normal(size=(3, 8))
    expected = jacobian(model, plain, x)
    assert_close(model.jvp(x, tangents), np.einsum("cnp,qp->qnc", expected, tangents))
    assert_close(joined(model, x, np.eye(2)), expected)


def test_parameters_and_inputs_are_the_callers_own():
    function, params, x = case("mlp")

    def rude(values, points):
        points[:] = np.abs(points)
        return function(values, points)

    before = x.copy()
    model = dntk.as_model(rude, params)
    outputs = model(x)
    joined(model, x, np.eye(2))
    np.testing.assert_array_equal(x, before)
    params["out"][:] = 7
    np.testing.assert_array_equal(model(x), outputs)
    assert np.max(model.parameters["out"]) < 7


def test_names_are_paths_and_constants_stay_what_they_are():
    params = {"a": [np.ones(2), (np.ones((2, 2)), None)], "kind": "tanh", "depth": 3, "index": np.arange(2)}

    def function(p, x):
        assert p["kind"] == "tanh"
        assert p["depth"] == 3
        assert p["a"][1][1] is None
        assert isinstance(p["a"][1], tuple)
        return (x @ p["a"][1][0])[:, p["index"]] * p["a"][0]

    model = dntk.as_model(function, params)
    assert list(model.parameters) == ["a.0", "a.1.0"]
    assert model(np.ones((3, 2))).tolist() == [[2, 2]] * 3
    assert model.n_parameters == 6


def test_parameters_may_be_one_array_alone():
    model = dntk.as_model(lambda w, x: x @ w, np.ones((3, 2)))
    assert list(model.parameters) == ["params"]
    assert_close(dntk.ntk(model, np.eye(3)), np.eye(3))


def test_branches_on_values_are_followed():
    """Comparisons have no derivative and leave no trace."""

    def function(params, x):
        h = x @ params["w"]
        return anp.where(h > 0, h, 0.1 * h) + params["b"] * (params["b"] > 0)

    params = {"w": np.random.default_rng(0).normal(size=(3, 2)), "b": np.array([1.0, 2.0])}
    x = np.random.default_rng(1).normal(size=(6, 3))
    model = dntk.as_model(function, params)
    model(x)
    hidden = np.where(x @ params["w"] > 0, 1, 0.1)
    expected = np.einsum("nc,cd,nk->cnkd", hidden, np.eye(2), x).reshape(2, 6, 6)
    assert_close(joined(model, x, np.eye(2))[:, :, :6], expected)


def test_number_of_outputs_is_known_after_the_first_call():
    function, params, x = case("mlp")
    model = dntk.as_model(function, params)
    with pytest.raises(AttributeError, match=r"call model\(x\) once"):
        _ = model.n_outputs
    model(x)
    assert model.n_outputs == 2


@pytest.mark.usefixtures("unchecked")
class TestRefusals:
    """Each says what came, and what to do."""

    x = np.random.default_rng(5).normal(size=(6, 3))
    params = {"w": np.random.default_rng(6).normal(size=(3, 2))}  # noqa: RUF012

    def model(self, function, params=None):
        return dntk.as_model(function, self.params if params is None else params)

    def test_missing_autograd_is_an_import_error_with_the_command(self, monkeypatch):
        find_spec = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *rest: None if name == "autograd" else find_spec(name, *rest)
        )
        with pytest.raises(ImportError, match=r'pip install "dntk\[autograd\]"'):
            self.model(mlp)

    def test_function_that_draws_numbers(self):
        rng = np.random.default_rng(0)
        with pytest.raises(ValueError, match="no fixed function"):
            self.model(lambda p, x: x @ p["w"] + rng.normal(size=2))(self.x)

    def test_function_that_changes_its_parameters(self):
        def function(p, x):
            p["w"] *= 2
            return x @ p["w"]

        with pytest.raises(ValueError, match="change its parameters"):
            self.model(function)(self.x)

    def test_function_that_mixes_the_batch(self):
        with pytest.raises(ValueError, match="batch dependence"):
            self.model(lambda p, x: (x - anp.mean(x, axis=0)) @ p["w"])(self.x)

    @pytest.mark.parametrize("first", [4, 20, 40])
    def test_dependence_of_batches_of_any_size_is_told(self, first):
        def function(p, x):
            y = anp.dot(x, p["w"])
            return anp.concatenate([y[:4], y[4:] + anp.sum(y[4:], axis=0)]) if len(y) > first else y

        x = np.resize(self.x, (48, *self.x.shape[1:])) + np.arange(48)[:, None]
        for call in (lambda model: model(x), lambda model: dntk.ntk(model, x, batch_size=48)):
            with pytest.raises(ValueError, match="batch dependence"):
                call(self.model(function))

    def test_batch_dependence_shows_when_more_inputs_come(self):
        model = self.model(lambda p, x: (x - 0.5 * anp.mean(x, axis=0)) @ p["w"])
        model(self.x[:1])
        with pytest.raises(ValueError, match="batch dependence"):
            model(self.x)

    @pytest.mark.parametrize(
        ("function", "message"),
        [
            (lambda p, x: (x @ p["w"])[None], r"returns shape \(1, 4, 2\) for 4 inputs, expected \(n, C\)"),
            (lambda p, x: (x @ p["w"], x), "returns a tuple, not a NumPy array"),
            (lambda p, x: anp.argmax(x @ p["w"], axis=1)[:, None], "dtype int64, not real floating point"),
            (lambda p, x: (x @ p["w"]) * 1j, "dtype complex128, not real floating point"),
            (lambda p, x: anp.log(x @ p["w"] * 0), "outputs` has NaN or infinite"),
        ],
        ids=["three axes", "tuple", "labels", "complex", "infinite"],
    )
    @pytest.mark.filterwarnings("ignore:divide by zero")
    @pytest.mark.filterwarnings("ignore:invalid value")
    def test_outputs_that_are_none(self, function, message):
        with pytest.raises(ValueError, match=message):
            self.model(function)(self.x)

    def test_plain_numpy_function(self):
        def function(p, x):
            return np.tanh(np.array(np.dot(x, p["w"])))

        with pytest.raises(ValueError, match=r"autograd\.numpy"):
            dntk.ntk(self.model(function), self.x)

    def test_torch_function(self):
        torch = pytest.importorskip("torch")
        with pytest.raises(ValueError, match=r"returns a torch\.Tensor, not a NumPy array"):
            self.model(lambda p, x: torch.as_tensor(x) @ torch.as_tensor(p["w"]))(self.x)

    def test_torch_module_with_numpy_parameters(self):
        torch = pytest.importorskip("torch")
        with pytest.raises(TypeError, match=r"come without `params`"):
            self.model(torch.nn.Linear(3, 2))

    def test_object_that_cannot_be_called(self):
        with pytest.raises(TypeError, match=r"pass fn\(params, x\)"):
            self.model("network")

    def test_function_without_use_of_its_parameters(self):
        with pytest.raises(ValueError, match="no selected parameter influences the outputs"):
            dntk.ntk(self.model(lambda p, x: x[:, :2] + p["w"].size), self.x)

    def test_operation_without_derivative(self):
        @autograd.extend.primitive
        def opaque(x):
            return x + 1

        with pytest.raises(ValueError, match="opaque"):
            dntk.ntk(self.model(lambda p, x: opaque(x @ p["w"])), self.x)

    def test_derivative_rule_that_mixes_the_batch(self):
        @autograd.extend.primitive
        def same(x):
            return x + 0

        autograd.extend.defvjp(same, lambda *_: lambda g: g + anp.mean(g))
        with pytest.raises(ValueError, match="do not add up"):
            dntk.ntk(self.model(lambda p, x: same(anp.einsum("nd,dk->nk", x, p["w"]))), self.x)

    @pytest.mark.parametrize(
        ("params", "kind", "message"),
        [
            ({"w": np.array([[np.nan, 1.0]])}, ValueError, "the parameter w` has NaN"),
            ({"w": np.ones((2, 2)), "b": np.ones(2, np.float32)}, ValueError, r"several dtypes \(float32, float64\)"),
            ({"w": np.arange(4)}, ValueError, "no floating-point array"),
            ({"w": np.ones((0, 2))}, ValueError, r"parameter w is empty \(shape \(0, 2\)\)"),
            ({"w": np.ones(2), "scale": 1.0}, TypeError, r"'scale' in `params` is a Python float: make it an array"),
            ({"w": np.ones(2), "f": len}, TypeError, "'f' in `params` is a builtins.builtin"),
            ({"a": {"b": np.ones(2)}, "a.b": np.ones(2)}, ValueError, "two arrays called 'a.b'"),
        ],
        ids=["nan", "dtypes", "integers", "empty", "float", "function", "names"],
    )
    def test_parameters_that_cannot_be_differentiated(self, params, kind, message):
        with pytest.raises(kind, match=message):
            self.model(mlp, params)

    def test_integer_parameter_that_was_asked_for(self):
        with pytest.raises(TypeError, match="the parameter index` has dtype int64"):
            dntk.as_model(mlp, {"w": np.ones(2), "index": np.arange(2)}, parameters="index")

    def test_pattern_that_matches_nothing(self):
        with pytest.raises(ValueError, match="matches none of the 1 parameter names"):
            dntk.as_model(mlp, self.params, parameters="v")

    @pytest.mark.parametrize(
        ("x", "kind", "message"),
        [
            (np.ones((0, 3)), ValueError, "`x` is empty"),
            (np.ones((2, 3), np.int64), TypeError, "`x` has dtype int64, but derivatives need floating point"),
            (np.ones((2, 3), np.float32), TypeError, "`x` has dtype float32, but the parameters have float64"),
            (np.full((2, 3), np.inf), ValueError, "`x` has NaN or infinite"),
            (np.ones((2, 4)), ValueError, r"fails on inputs of shape \(2, 4\)"),
            ([[1.0, 2.0, 3.0]], TypeError, "`x` is a list: convert it to one array first"),
        ],
        ids=["empty", "integers", "precision", "infinite", "width", "list"],
    )
    def test_inputs_that_do_not_fit(self, x, kind, message):
        with pytest.raises(kind, match=message):
            self.model(lambda p, v: v @ p["w"])(x)

    def test_functionals_and_directions_that_do_not_fit(self):
        model = self.model(lambda p, v: v @ p["w"])
        model(self.x)
        with pytest.raises(ValueError, match=r"`tangents` has shape \(1, 5\), expected \(q, 6\)"):
            model.jvp(self.x, np.ones((1, 5)))
        with pytest.raises(ValueError, match=r"`cotangents` has shape \(6, 3\), expected \(6, 2\)"):
            model.vjp(self.x, np.ones((6, 3)))
        with pytest.raises(ValueError, match=r"`cotangents` has shape \(1, 3\)"):
            list(model.gradient_blocks(self.x, np.ones((1, 3))))


def cast(nest, dtype):
    from dntk_numpy.nest import filled, named_arrays

    return filled(nest, {name: value.astype(dtype) for name, value in named_arrays(nest).items()})


def test_partial_functions_and_methods_are_functions():
    class Holder:
        def call(self, params, x, scale):
            return scale * (x @ params["w"])

    model = dntk.as_model(functools.partial(Holder().call, scale=2), {"w": np.ones((3, 1))})
    assert_close(dntk.ntk(model, np.eye(3)), 4 * np.eye(3))
