"""What all adapters share, on the strictest array library, with NumPy for reference."""

import dataclasses
import functools

import numpy as np
import pytest

from dntk.backend import expand, root_modules, symmetric
from dntk.gradient_blocks import FactoredBlock
from dntk.ledger import LedgerRecorder
from dntk.models import adapter
from dntk.models.mlp import MLP
from tests.libraries import host

xp = pytest.importorskip("array_api_strict")


class Fault(ValueError):
    """A device that is out of memory."""


FRAMEWORK = adapter.Framework(
    array=type(xp.ones(1)),
    array_name="a strict array",
    errors=(ValueError,),
    not_its_fault=(Fault,),
    one_device="move them",
    one_dtype="cast them",
    fixed="is there noise?",
    no_mixing="mix nothing",
    outputs_alone="return one",
    two_axes="join axes",
)
X = xp.asarray(np.random.default_rng(0).normal(size=(6, 3)))
CLOSE = functools.partial(adapter.close, tolerance=1e-6)


def test_what_inputs_have_shown_is_found_once_per_shape_and_dtype():
    memo, calls = adapter.Memo(), []

    def find():
        calls.append(len(calls))
        return calls[-1]

    assert [memo(X, find), memo(X[:2, :], find), memo(X[:, :2], find), memo(X, find)] == [0, 0, 1, 0]
    assert memo(xp.astype(X, xp.float32), find) == 2
    assert [memo(X, find, of="other"), memo(X, find, of="other")] == [3, 3]


def test_one_input_is_looked_at_again_once_more_come():
    memo = adapter.Memo()
    assert [memo(X[:1, :], lambda: "one"), memo(X[:1, :], lambda: "again"), memo(X, lambda: "more")] == [
        "one",
        "one",
        "more",
    ]
    assert memo(X[:1, :], lambda: "one") == "more"


def test_one_input_is_enough_where_that_is_said():
    memo = adapter.Memo()
    assert [memo(rows, lambda n=n: n, enough=1) for n, rows in enumerate((X[:1, :], X))] == [0, 0]


def test_the_number_of_outputs_is_that_of_the_inputs_checked_last():
    count = adapter.OutputCount()
    with pytest.raises(AttributeError, match=r"before the function has seen an input: call model\(x\) once"):
        count.known("function")
    assert count.known(guess=7) == 7
    count.look(X, lambda: 2)
    count.look(X[:, :2], lambda: 3)
    assert count.known(guess=7) == 3
    count.look(X, lambda: 5)
    assert count.known() == 2


def noisy():
    drawn = np.random.default_rng(0)
    return lambda x: x + xp.asarray(drawn.normal(size=x.shape))


def last_row_changed(x):
    """Differs from the network of one input in the last of several rows alone."""
    ones = xp.ones((x.shape[0], 1), dtype=x.dtype)
    return x if x.shape[0] == 1 else xp.concat([x[:-1, :], x[-1:, :] + ones[-1:, :]])


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (noisy(), r"other outputs at a second call.*no fixed function: is there noise\?$"),
        (lambda x: x - xp.mean(x, axis=0), r"batch dependence.*: mix nothing\.$"),
        (lambda x: xp.flip(x, axis=0), "batch dependence"),
        (lambda x: x[:, : x.shape[0] - 1] if x.shape[0] > 1 else x[:, :1], "batch dependence"),
        (lambda x: x / xp.zeros_like(x), "the network's outputs` has NaN or infinite values in 4 of its 4 rows"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_networks_that_are_no_functions_of_one_input_are_told(network, message):
    with pytest.raises(ValueError, match=message):
        adapter.examine(network, X, FRAMEWORK, agree=CLOSE)


def test_the_last_of_a_few_inputs_is_looked_at_alone_too():
    with pytest.raises(ValueError, match="batch dependence"):
        adapter.examine(last_row_changed, X[: adapter.PROBES, :], FRAMEWORK, agree=CLOSE)


def later_rows_mixed(x):
    """Mixes what comes behind the inputs that are looked at one by one."""
    if x.shape[0] <= adapter.PROBES:
        return x
    behind = x[adapter.PROBES :, :]
    return xp.concat([x[: adapter.PROBES, :], behind + xp.sum(behind, axis=0)])


def test_the_last_of_many_inputs_are_looked_at_by_themselves():
    with pytest.raises(ValueError, match="batch dependence"):
        adapter.examine(later_rows_mixed, X, FRAMEWORK, agree=CLOSE)
    with pytest.raises(ValueError, match="batch dependence"):
        adapter.require_own_rows(later_rows_mixed, X, later_rows_mixed(X), FRAMEWORK, agree=CLOSE)
    adapter.require_own_rows(lambda x: 2 * x, X, 2 * X, FRAMEWORK, agree=CLOSE)


def test_every_batch_larger_than_those_before_is_looked_at_again():
    count, looks = adapter.OutputCount(), []
    for size in (4, 32, 33, 33, 40, 36, 40, 64, 41):
        count.look_again(xp.zeros((size, 3)), functools.partial(looks.append, size))
    assert looks == [33, 40, 64]
    count.look_again(xp.zeros((33, 2)), functools.partial(looks.append, 33))
    assert looks[3:] == [33]


def test_a_batch_that_was_refused_is_looked_at_again():
    count = adapter.OutputCount()

    def refuse():
        msg = "no"
        raise ValueError(msg)

    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            count.look_again(xp.zeros((40, 3)), refuse)


def test_an_examined_network_tells_its_number_of_outputs_from_a_few_inputs():
    seen = []

    def network(x):
        seen.append(x.shape[0])
        return x[:, :2]

    assert adapter.examine(network, X, FRAMEWORK, agree=CLOSE) == 2
    assert seen == [adapter.PROBES, adapter.PROBES, 1, 1, X.shape[0], adapter.PROBES]
    assert adapter.examine(network, X[:1, :], FRAMEWORK, agree=CLOSE) == 2


def test_closeness_is_relative_to_the_largest_entry_of_the_second():
    right = xp.asarray([[0.0, 2.0]])
    assert adapter.close(right + 0.19, right, 0.1)
    assert not adapter.close(right + 0.21, right, 0.1)
    assert not adapter.close(xp.asarray([[0.0], [2.0]]), right, 10)
    assert adapter.close(right * 0, right * 0, 0.1)
    assert not adapter.close(right * xp.nan, right, 0.1)


def failing(error):
    def run(_):
        raise error

    return run


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (
            failing(ValueError("bad shape")),
            ValueError,
            r"fails on inputs of shape \(6, 3\) and dtype .*: ValueError: bad",
        ),
        (failing(ValueError("bad")), ValueError, "bad Build it otherwise"),
        (failing(Fault("memory")), Fault, "^memory$"),
        (failing(KeyError("other")), KeyError, "other"),
        (lambda x: (x, x), ValueError, r"^the network returns a tuple, not a strict array: return one\.$"),
        (host, ValueError, r"returns a numpy\.ndarray, not a strict array"),
        (lambda x: x[:, 0], ValueError, r"shape \(6,\) for 6 inputs, expected \(n, C\): one row of outputs per input"),
        (
            lambda x: x[:, :, None],
            ValueError,
            r"shape \(6, 3, 1\) for 6 .*per input; join axes; of a language model take",
        ),
        (lambda x: x[:, :0], ValueError, r"shape \(6, 0\)"),
        (lambda x: x[:4, :], ValueError, r"shape \(4, 3\) for 6 inputs"),
        (lambda x: xp.astype(x, xp.int64), ValueError, "int64, not real floating point: return logits, not labels"),
    ],
)
def test_outputs_that_are_none_are_refused(run, error, message):
    with pytest.raises(error, match=message):
        adapter.evaluate(run, X, FRAMEWORK, remedy=" Build it otherwise")


def test_outputs_of_a_sound_network_are_handed_on():
    np.testing.assert_array_equal(host(adapter.evaluate(lambda x: x[:, :2], X, FRAMEWORK)), host(X)[:, :2])


@pytest.mark.parametrize(
    ("parameters", "selected", "error", "message"),
    [
        ({"a": X, "b": xp.astype(X, xp.float32)}, "ab", ValueError, r"dtypes \(.*float32, .*float64\): cast them\.$"),
        ({"a": X, "b": X.to_device(xp.Device("device1"))}, "a", ValueError, r"devices \(.*device1.*\): move them"),
        ({"a": xp.arange(3)}, "a", TypeError, "the parameter a` has dtype .*int64"),
    ],
)
def test_parameters_must_be_of_one_kind_in_one_place(parameters, selected, error, message):
    with pytest.raises(error, match=message):
        adapter.require_parameters(parameters, list(selected), FRAMEWORK)


def test_parameters_that_are_not_selected_may_have_another_dtype():
    adapter.require_parameters({"a": X, "b": xp.astype(X, xp.float32), "c": xp.arange(3)}, ["a"], FRAMEWORK)


def test_inputs_have_the_dtype_of_the_parameters_or_an_allowed_kind():
    model = MLP(weights=(xp.ones((2, 3)),), biases=(None,))
    adapter.require_input(X, model, "x")
    adapter.require_input(xp.ones((4, 3), dtype=xp.int32), model, "x", kinds=("integral",))
    with pytest.raises(TypeError, match="`x` has dtype .*int32.*need floating point"):
        adapter.require_input(xp.ones((4, 3), dtype=xp.int32), model, "x")
    with pytest.raises(
        TypeError, match=r"`query` has dtype .*float32, but .*float64: convert query\.to\(.*float64\)\.$"
    ):
        adapter.require_input(xp.astype(X, xp.float32), model, "query", convert="{name}.to({dtype})")
    with pytest.raises(ValueError, match="`x` is empty"):
        adapter.require_input(X[:0, :], model, "x", kinds=("integral",))


def test_matrices_must_have_the_columns_and_rows_that_are_asked_for():
    adapter.require_shape("v", X, 3, "output")
    adapter.require_shape("v", X, 3, "output", rows=6)
    for value, rows in ((X, 5), (X[:, :2], None), (X[0, :], None)):
        expected = "q" if rows is None else rows
        with pytest.raises(
            ValueError, match=rf"^`v` has shape .*, expected \({expected}, 3\): one column per output\.$"
        ):
            adapter.require_shape("v", value, 3, "output", rows=rows)


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_vectors_are_split_in_the_order_of_the_flattened_parameters(lead):
    shapes = {"w": (2, 3), "scale": (), "b": (4,)}
    parameters = {name: xp.ones(shape, dtype=xp.float32) for name, shape in shapes.items()}
    vectors = np.random.default_rng(1).normal(size=(*lead, 11)).astype(np.float32)
    pieces = adapter.split(xp.asarray(vectors, dtype=xp.float64), parameters)
    assert {name: (piece.shape, piece.dtype) for name, piece in pieces.items()} == {
        name: ((*lead, *shape), xp.float32) for name, shape in shapes.items()
    }
    again = np.concatenate([host(piece).reshape(*lead, -1) for piece in pieces.values()], axis=-1)
    np.testing.assert_array_equal(again, vectors)
    assert adapter.offsets_of(parameters) == {"w": 0, "scale": 6, "b": 7}
    assert adapter.total_size(parameters) == 11


def test_blocks_are_given_their_offsets():
    weight = FactoredBlock(name="w", offset=0, inputs=xp.ones((6, 1, 3)), cotangents=xp.ones((2, 6, 1, 4)), bias=True)
    stored = adapter.stored_block("scale", xp.ones((2, 6, 5)))
    blocks = list(adapter.in_order([weight, stored, dataclasses.replace(stored, name="shift")]))
    assert [(block.name, block.offset) for block in blocks] == [("w", 0), ("scale", 4 * (3 + 1)), ("shift", 21)]


def test_passes_are_counted_by_what_one_input_takes_found_once_and_only_where_a_ledger_is_kept():
    passes, asked = adapter.Passes(), []

    def find(q):
        asked.append(q)
        return 10 + 3 * q

    passes.backward(X, 4, find, of="gradients")
    assert asked == []
    recorder = LedgerRecorder()
    with recorder.stage("gradients"):
        passes.backward(X, 4, find, of="gradients")
        passes.backward(X[:2, :], 2, find, of="gradients")
        passes.backward(X[:2, :], 1, find, of="gradients")
    with recorder.stage("forward"):
        passes.forward(X, lambda: 10)
        passes.back(X, lambda: 7, of="pull")
    assert asked == [2, 3, 1]
    first, second = recorder.ledger().stages
    assert (first.forward_passes, first.backward_passes, first.flops) == (10, 30, 6 * (10 + 4 * 3) + 2 * 16 + 2 * 13)
    assert (second.forward_passes, second.backward_passes, second.flops) == (6, 6, 6 * 17)


def test_sums_of_outer_products_are_those_of_einsum():
    rng = np.random.default_rng(2)
    g, a = rng.normal(size=(2, 6, 4, 3)), rng.normal(size=(6, 4, 5))
    expected = np.einsum("qntb,nta->qnba", g, a).reshape(2, 6, 15)
    # Sums of 4 products of numbers below 5.
    np.testing.assert_allclose(host(expand(xp.asarray(g), xp.asarray(a))), expected, rtol=0, atol=4 * 25 * 4 * 2.3e-16)


def test_gram_matrices_are_made_symmetric_by_their_mean():
    product = np.arange(8.0).reshape(2, 2, 2)
    np.testing.assert_array_equal(host(symmetric(xp.asarray(product))), (product + product.transpose(0, 2, 1)) / 2)


def test_outputs_are_required_to_be_a_row_of_numbers_per_input():
    adapter.require_outputs(X, 6, FRAMEWORK)
    for outputs, message in (
        ([1.0], "returns a list, not a strict array: return one"),
        (X[:, 0], r"returns shape \(6,\) for 6 inputs, expected \(n, C\): one row of outputs per input"),
        (X[:5, :], r"returns shape \(5, 3\) for 6 inputs"),
        (xp.astype(X, xp.int64), "outputs have dtype .*int64, not real floating point"),
    ):
        with pytest.raises(ValueError, match=message):
            adapter.require_outputs(outputs, 6, FRAMEWORK)


def test_sizes_are_numbers_of_entries_and_add_up():
    parameters = {"a": X, "b": xp.ones(()), "c": xp.ones((2, 0))}
    assert [adapter.size_of(value) for value in parameters.values()] == [18, 1, 0]
    assert adapter.total_size(parameters) == 19


def test_root_modules_are_those_of_every_base():
    assert {"numpy", "builtins"} <= root_modules(np.float64(1))
    assert root_modules(Fault()) == {"tests", "builtins"}


def test_nests_are_refused_where_one_array_is_taken():
    adapter.require_array(X, "x")
    with pytest.raises(TypeError, match="`x` is a tuple, but the network takes one array"):
        adapter.require_array((X, X), "x")
