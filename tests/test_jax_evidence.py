"""Forms of gradients are believed only where they were compared with a gradient that is not zero.

Gates may hide a branch of these networks; the head's bias always has a gradient.
"""

import numpy as np
import pytest

import dntk

jax = pytest.importorskip("jax")
jnp = pytest.importorskip("jax.numpy")
_findings = pytest.importorskip("dntk_jax.findings")
factors = pytest.importorskip("dntk_jax.factors")
pytestmark = pytest.mark.usefixtures("compiled_quickly")
CLASSES, WIDTH = 3, 8


def gated(params, batch):
    """Branches, each times a gate of the input."""
    total = 0
    for weights, gate in zip(params["hidden"], batch["gates"].T, strict=True):
        total = total + jnp.tanh(batch["x"] @ weights) * gate[:, None]
    return total @ params["last"] + params["bias"]


def parameters(branches=1):
    draws = np.random.default_rng(0)
    return {
        "hidden": [jnp.asarray(draws.normal(size=(4, WIDTH)), "float32") for _ in range(branches)],
        "last": jnp.asarray(draws.normal(size=(WIDTH, CLASSES)), "float32"),
        "bias": jnp.ones(CLASSES),
    }


def batch(gates, seed=0):
    gates = np.asarray(gates, "float32")
    x = np.random.default_rng(seed).normal(size=(len(gates), 4))
    return {"x": jnp.asarray(x, "float32"), "gates": jnp.asarray(gates.reshape(len(gates), -1))}


def assert_kernel(model, params, x, function=gated):
    found = jax.jacobian(lambda some: function(some, x))(params)
    rows = np.concatenate(
        [np.reshape(part, (*part.shape[:2], -1)) for part in jax.tree_util.tree_leaves(found)], axis=2
    )
    expected = np.einsum("icp,jcp->ij", rows, rows) / CLASSES
    np.testing.assert_allclose(dntk.ntk(model, x), expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def looks(monkeypatch):
    """Plans that are made after the first."""
    made, plan_at = [], _findings.plan_at
    monkeypatch.setattr(_findings, "plan_at", lambda *given: made.append(plan_at(*given)) or made[-1])
    return made


@pytest.fixture
def wrong_rule(monkeypatch):
    """A rule of products with gradients twice too large, which a comparison must notice."""
    product = factors._RULES["dot_general"]

    def doubled(step, places, position):
        rule = product(step, places, position)
        return rule and factors.Rule(
            form=rule.form, other=rule.other, left=rule.left, right=lambda g: 2 * rule.right(g)
        )

    monkeypatch.setitem(factors._RULES, "dot_general", doubled)


@pytest.mark.usefixtures("wrong_rule")
@pytest.mark.parametrize("open_", [[4], [4, 5, 6, 7, 8, 9], []])
def test_forms_of_what_the_first_inputs_hide_are_compared_at_others(open_):
    gates, params = np.zeros(10), parameters()
    gates[open_] = 1
    assert_kernel(dntk.as_model(gated, params), params, batch(gates))


@pytest.mark.usefixtures("wrong_rule")
def test_forms_of_what_a_whole_batch_hides_are_compared_at_the_next(monkeypatch):
    params, made = parameters(), looks(monkeypatch)
    model = dntk.as_model(gated, params)
    for gates in ([0] * 6, [0, 0, 0, 0, 1, 1], [1] * 6, [0] * 6):
        assert_kernel(model, params, batch(gates))
    assert [plan.untold for plan in made] == [frozenset()]


@pytest.mark.usefixtures("wrong_rule")
def test_what_one_batch_showed_is_not_lost_with_the_next(monkeypatch):
    params, made = parameters(2), looks(monkeypatch)
    model = dntk.as_model(gated, params)
    first, second = [[1, 0]] * 6, [[0, 0]] * 4 + [[0, 1]] * 2
    for gates in (first, second, first, second):
        assert_kernel(model, params, batch(gates))
    assert [plan.untold for plan in made] == [frozenset()]


def test_parameters_without_any_gradient_cost_no_further_look(monkeypatch):
    params, made = parameters() | {"last": jnp.zeros((WIDTH, CLASSES))}, looks(monkeypatch)
    model = dntk.as_model(gated, params)
    for seed in range(3):
        assert_kernel(model, params, batch([1] * 6, seed))
    assert not made


@pytest.mark.usefixtures("wrong_rule")
def test_where_no_input_alone_shows_a_gradient_it_is_found_input_by_input_without_more_looks(monkeypatch):
    monkeypatch.setattr(_findings, "inputs_showing", lambda _network, _x, _names, known: known)
    params, made = parameters(), looks(monkeypatch)
    model = dntk.as_model(gated, params)
    for _ in range(3):
        assert_kernel(model, params, batch([0, 0, 0, 0, 1, 1]))
    assert len(made) == 1


def mixing(params, batch):
    """A mean over the batch within the branch."""
    branch = jnp.tanh(batch["x"] @ params["hidden"][0])
    return ((branch - branch.mean(0)) * batch["gates"]) @ params["last"] + params["bias"]


def test_dependence_on_the_batch_that_the_first_inputs_hide_is_told():
    x = batch([0, 0, 0, 0, 1, 1])
    with pytest.raises(ValueError, match="depends on the (rest of the )?batch"):
        list(dntk.as_model(mixing, parameters()).gradient_blocks(x, jnp.eye(CLASSES)))


def keyed(params, batch):
    """A branch for inputs of kind 7 alone, and no bias."""
    branch = jnp.tanh(batch["x"] @ params["hidden"][0])
    return (branch * (batch["kind"] == 7)[:, None]) @ params["last"]


def test_a_gradient_that_only_some_data_have_is_found():
    params = {name: value for name, value in parameters().items() if name != "bias"}
    x = {"x": batch([0] * 10)["x"], "kind": jnp.asarray([3] * 6 + [7] * 2 + [3] * 2)}
    blocks = list(dntk.as_model(keyed, params).gradient_blocks(x, jnp.eye(CLASSES)))
    rows = np.concatenate([np.asarray(block.dense()) for block in blocks], axis=2)
    found = jax.jacobian(lambda some: keyed(some, x))(params)
    expected = [np.reshape(part, (10, CLASSES, -1)) for part in jax.tree_util.tree_leaves(found)]
    np.testing.assert_allclose(rows.swapaxes(0, 1), np.concatenate(expected, axis=2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kinds", [[3] * 10, [3] * 6 + [7] * 4])
def test_gates_that_a_whole_number_opens_are_no_refusal(kinds):
    params = {name: value for name, value in parameters().items() if name != "bias"}
    x = {"x": batch([0] * 10)["x"], "kind": jnp.asarray(kinds)}
    assert_kernel(dntk.as_model(keyed, params), params, x, keyed)


def test_rounded_outputs_of_whole_numbers_are_refused():
    params = {name: value for name, value in parameters().items() if name != "bias"}
    x = {"x": batch([0] * 10)["x"], "kind": jnp.full(10, 7)}
    with pytest.raises(ValueError, match="carry no gradient"):
        dntk.ntk(dntk.as_model(lambda params, x: jnp.round(keyed(params, x)), params), x)


def texts(params, batch):
    """A mean over what is not masked, without any bias."""
    mask = batch["mask"][..., None]
    tokens = jnp.tanh(params["table"][batch["ids"]] @ params["hidden"]) * mask
    return (tokens.sum(1) / jnp.maximum(mask.sum(1), 1)) @ params["last"]


@pytest.mark.parametrize("dtype", ["int32", "bool", "float32"])
@pytest.mark.parametrize("hidden", [0, 4, 9, 10])
def test_texts_that_are_masked_throughout_have_a_kernel_of_zeros(dtype, hidden):
    draws = np.random.default_rng(0)
    shapes = {"table": (20, WIDTH), "hidden": (WIDTH, WIDTH), "last": (WIDTH, CLASSES)}
    params = {name: jnp.asarray(draws.normal(size=shape), "float32") for name, shape in shapes.items()}
    mask = np.ones((10, 5), dtype)
    mask[:hidden] = 0
    x = {"ids": jnp.asarray(draws.integers(20, size=(10, 5)), "int32"), "mask": jnp.asarray(mask)}
    assert_kernel(dntk.as_model(texts, params), params, x, texts)
