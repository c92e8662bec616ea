"""Batches of several arrays: kernels, features and fits of networks that take nests, against explicit Jacobians."""

import dataclasses
from typing import Any

import numpy as np
import pytest

import dntk
from dntk.distill.data.last_layer import last_layer_features
from dntk.models.adapter import Forward, call, outputs_alone, refuse_forward
from dntk.models.nests import mapped
from tests.libraries import Library, host
from tests.networks import inputs, mlp

NUMPY = Library("numpy", "numpy")
RNG = np.random.default_rng(5)
TABLE, WEIGHTS = RNG.normal(size=(11, 4)), RNG.normal(size=(4, 3))
IDS, MASK = RNG.integers(0, 11, size=(9, 5)), RNG.integers(0, 2, size=(9, 5)).astype("f4")


def jacobian() -> Any:
    """Derivatives (c, n, p) of ``tanh(Σ_t mask_t table[ids_t]) @ weights`` in the table, then the weights."""
    hidden = np.tanh((TABLE[IDS] * MASK[..., None]).sum(1))
    rows = np.zeros((3, 9, 11 * 4 + 4 * 3))
    for c in range(3):
        for i in range(9):
            table = np.zeros((11, 4))
            np.add.at(table, IDS[i], MASK[i][:, None] * ((1 - hidden[i] ** 2) * WEIGHTS[:, c]))
            weights = np.zeros((4, 3))
            weights[:, c] = hidden[i]
            rows[c, i] = np.concatenate([table.ravel(), weights.ravel()])
    return rows


def numpy_case():
    anp = pytest.importorskip("autograd.numpy")

    def network(params, x):
        hidden = (params["table"][x["ids"]] * x["mask"][..., None]).sum(axis=1)
        return {"logits": anp.tanh(hidden) @ params["weights"]}

    params = {"table": TABLE.astype("f4"), "weights": WEIGHTS.astype("f4")}
    return dntk.as_model(network, params), {"ids": IDS, "mask": MASK}


def jax_case():
    jnp = pytest.importorskip("jax.numpy")

    def network(params, x):
        hidden = (params["table"][x["ids"]] * x["mask"][..., None]).sum(axis=1)
        return {"logits": jnp.tanh(hidden) @ params["weights"]}

    params = {"table": jnp.asarray(TABLE, "float32"), "weights": jnp.asarray(WEIGHTS, "float32")}
    return dntk.as_model(network, params), {"ids": jnp.asarray(IDS), "mask": jnp.asarray(MASK)}


def torch_case(form: str):
    torch = pytest.importorskip("torch")

    class Text(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding.from_pretrained(torch.tensor(TABLE).float(), freeze=False)
            self.head = torch.nn.Linear(4, 3, bias=False)
            self.head.weight.data = torch.tensor(WEIGHTS.T).float()

        def forward(self, ids, mask):
            logits = self.head(torch.tanh((self.table(ids) * mask[..., None]).sum(1)))
            return Answer(logits) if form == "logits" else logits

    ids, mask = torch.tensor(IDS), torch.tensor(MASK)
    x = {"ids": ids, "mask": mask}
    if form == "tuple":
        x = (ids, mask)
    if form == "forward":
        x = {"tokens": ids, "weights": mask}
        return dntk.as_model(Text().eval(), forward=lambda net, batch: net(batch["tokens"], batch["weights"])), x
    return dntk.as_model(Text().eval()), x


@dataclasses.dataclass
class Answer:
    logits: Any


CASES = {
    "numpy": numpy_case,
    "jax": jax_case,
    "torch": lambda: torch_case("mapping"),
    "torch, logits": lambda: torch_case("logits"),
    "torch, tuple": lambda: torch_case("tuple"),
    "torch, forward": lambda: torch_case("forward"),
}


def transposed_weights(rows: Any) -> Any:
    """Torch keeps the matrix of a linear layer the other way round."""
    c, n, _ = rows.shape
    weights = rows[:, :, 44:].reshape(c, n, 4, 3).transpose(0, 1, 3, 2).reshape(c, n, -1)
    return np.concatenate([rows[:, :, :44], weights], axis=2)


@pytest.mark.parametrize("case", CASES)
def test_networks_of_several_arrays_have_the_kernel_of_their_jacobian(case):
    model, x = CASES[case]()
    rows = jacobian()
    expected = np.einsum("cip,cjp->ij", rows, rows) / 3
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(host(dntk.ntk(model, x, batch_size=4)), expected, atol=1e-5 * scale)
    vector = np.linspace(-1, 1, 9).astype("f4")
    product = dntk.NTKOperator(model, x, batch_size=4) @ model.namespace.asarray(vector)
    np.testing.assert_allclose(host(product), expected @ vector, atol=1e-5 * scale * 9)
    values = host(dntk.tangent_features(model, x, sketch=None).values)
    np.testing.assert_allclose(values, transposed_weights(rows) if "torch" in case else rows, atol=1e-5)


@pytest.mark.parametrize("case", ["numpy", "jax", "torch", "torch, tuple"])
def test_a_fit_takes_nests_and_lists_of_examples(case):
    model, x = CASES[case]()
    spec = dntk.DistilledNTK(model, data=dntk.distill.data.RPCholesky(8, seed=0), ridge=1e-3)
    fit = spec.fit(x)
    arrays = x if isinstance(x, tuple) else tuple(x.values())
    rows = list(zip(*[host(part) for part in arrays], strict=True))
    examples = rows if isinstance(x, tuple) else [dict(zip(x, row, strict=True)) for row in rows]
    from_list = spec.fit(examples)
    np.testing.assert_array_equal(host(fit.indices), host(from_list.indices))
    np.testing.assert_allclose(host(from_list.predict(examples)), host(fit.predict(x)), atol=1e-5)
    assert fit.fidelity(x) >= 8 / 9


@pytest.mark.parametrize("case", ["jax", "torch", "torch, tuple"])
def test_a_bridge_takes_nests(case):
    model, x = CASES[case]()
    outside = mapped(host, x)
    bridged = dntk.bridge(model, "numpy")
    found = dntk.ntk(bridged, outside)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, host(dntk.ntk(model, x)), rtol=1e-5, atol=1e-5)
    vector = np.ones((1, model.n_parameters), "f4")
    np.testing.assert_allclose(bridged.jvp(outside, vector), jacobian().sum(2).T[None], atol=1e-4)


@pytest.mark.parametrize("case", ["numpy", "jax", "torch"])
def test_attributions_read_labelled_sources_as_their_models_need_them(case):
    model, x = CASES[case]()
    y = model.namespace.asarray(np.arange(9) % 3)
    attribution = dntk.attribution.Attribution(model, sketch=None)
    batch = dntk.outputs.labelled(x, y)
    examples = [dict(zip(x, row, strict=True)) for row in zip(*[host(part) for part in x.values()], strict=True)]
    source = dntk.outputs.labelled(examples, y)
    fit, expected = attribution.fit(source), attribution.fit(batch)
    np.testing.assert_allclose(host(fit.scores(source)), host(expected.scores(batch)), atol=1e-5)


@pytest.mark.parametrize("case", ["jax", "torch", "torch, tuple"])
def test_the_last_layer_of_networks_of_several_arrays_is_looked_at(case):
    model, x = CASES[case]()
    hidden = np.tanh((TABLE[IDS] * MASK[..., None]).sum(1))
    phi = last_layer_features(model, x)
    np.testing.assert_allclose(host(phi.values)[0], np.concatenate([hidden, np.ones((9, 1))], axis=1), atol=1e-5)


def test_the_last_layer_is_looked_at_where_the_last_array_does_not_enter_it():
    jnp = pytest.importorskip("jax.numpy")
    rng = np.random.default_rng(3)
    params = {"first": jnp.asarray(rng.normal(size=(5, 4)), "f4"), "head": jnp.asarray(rng.normal(size=(4, 2)), "f4")}
    x = {"a": jnp.asarray(rng.normal(size=(6, 5)), "f4"), "z": jnp.asarray(rng.normal(size=6), "f4")}
    model = dntk.as_model(lambda p, x: jnp.tanh(x["a"] @ p["first"]) @ p["head"] + x["z"][:, None], params)
    hidden = np.tanh(np.asarray(x["a"]) @ np.asarray(params["first"]))
    np.testing.assert_allclose(host(last_layer_features(model, x).values)[0, :, :4], hidden, atol=1e-5)


def test_the_last_layer_is_looked_at_where_inputs_are_ids_alone():
    model, x = torch_case("forward")
    of_ids = dntk.as_model(model.module, forward=lambda net, ids: net(ids, all_seen(ids)))
    hidden = np.tanh(TABLE[IDS].sum(1))
    np.testing.assert_allclose(host(last_layer_features(of_ids, x["tokens"]).values)[0, :, :4], hidden, atol=1e-5)


def all_seen(ids):
    return (ids >= 0).float()


@pytest.mark.parametrize("case", ["jax", "torch"])
def test_objectives_of_inputs_say_that_they_make_one_array(case):
    model, x = CASES[case]()
    with pytest.raises(TypeError, match=r"`x` is a dict of arrays, and objectives make one: choose points"):
        dntk.distill.data.TangentResidual(3).distill(model, x)


def test_parts_of_different_lengths_and_devices_are_refused():
    model, x = torch_case("mapping")
    with pytest.raises(ValueError, match=r"`x1\['mask'\]` has 4 entries along its first axis, but `x1\['ids'\]` has 9"):
        dntk.ntk(model, {**x, "mask": x["mask"][:4]})
    with pytest.raises(ValueError, match=r"`x1\['mask'\]` is on device meta"):
        dntk.ntk(model, {**x, "mask": x["mask"].to("meta")})
    with pytest.raises(TypeError, match=r"`x1\['mask'\]` has dtype torch.float64"):
        dntk.ntk(model, {**x, "mask": x["mask"].double()})
    with pytest.raises(ValueError, match="holds no array"):
        dntk.ntk(model, {})


def test_ways_to_call_a_network():
    def join(*args, **kwargs):
        return args, kwargs

    assert call(join, 1) == ((1,), {})
    assert call(join, (1, 2)) == ((1, 2), {})
    assert call(join, {"a": 1}) == ((), {"a": 1})
    twice: Forward = lambda net, x: net(x, x)  # noqa: E731
    assert call(join, 3, twice) == ((3, 3), {})
    with pytest.raises(TypeError, match="says how a module is called"):
        refuse_forward(twice)
    refuse_forward(None)
    np.testing.assert_array_equal(outputs_alone({"logits": np.arange(3)}), [[0], [1], [2]])
    assert outputs_alone(Answer(np.ones((2, 2)))).shape == (2, 2)


@pytest.mark.parametrize("batch", [(1, 2), [1, 2], {"x": 1, "label": 2}])
def test_labels_among_the_inputs_are_told_with_the_way_out(batch):
    def network(x):
        return x

    with pytest.raises(TypeError, match=r"but the network takes \(x\): .*Leave out what is no input, such as labels"):
        call(network, batch)


def test_one_output_per_input_needs_no_axis():
    weights = np.arange(6.0)

    def network(params, x):
        return x @ params["w"]

    pytest.importorskip("autograd")
    model = dntk.as_model(network, {"w": weights})
    x = inputs(NUMPY, 5, dtype="f8")
    assert model(x).shape == (5, 1)
    np.testing.assert_allclose(dntk.ntk(model, x), x @ x.T)


def test_only_modules_are_called_in_a_way_of_their_own():
    with pytest.raises(TypeError, match="`forward` says how a module is called"):
        dntk.as_model(mlp(NUMPY).weights[0], {"w": inputs(NUMPY)}, forward=lambda net, x: net(x))


@dataclasses.dataclass
class Pair:
    x: object
    y: object


def of_two(x, y):
    return x + y


@pytest.mark.parametrize(
    ("network", "batch", "words"),
    [
        (of_two, {"x": 1}, r"a dict of the parts 'x', .*missing.*Add what is missing.*net\(batch\['x'\]\)"),
        (of_two, (1,), r"a tuple of 1 parts, .*Add what is missing.*net\(batch\[0\]\)"),
        (of_two, Pair(1, 2), r"a Pair, which is passed whole, .*net\(batch.part\)"),
        (of_two, np.ones(2), r"one array, .*Pass a tuple or a mapping of all"),
        (of_two, [1, 2, 3], r"a list of 3 parts, .*Leave out.*dntk.points\(examples\)"),
    ],
)
def test_batches_that_a_network_does_not_take_are_told_with_what_to_do(network, batch, words):
    with pytest.raises(TypeError, match=f"the batch is {words}"):
        call(network, batch)


def test_faults_inside_a_network_stay_its_own():
    def network(x):
        return len(x) + len(3)

    with pytest.raises(TypeError, match="has no len"):
        call(network, np.ones(2))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("forward", "words"),
    [
        (3, r"`forward` is an int: expected a function of the network and the batch"),
        (lambda batch: batch, r"`forward` takes \(batch\): expected a function of the network and the batch"),
    ],
)
def test_a_forward_that_cannot_be_called_is_refused_at_once(forward, words):
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=words):
        dntk.as_model(torch.nn.Linear(2, 1).eval(), forward=forward)


@pytest.mark.filterwarnings("error")
def test_guessing_the_outputs_of_a_network_warns_of_nothing():
    torch = pytest.importorskip("torch")
    model = dntk.as_model(torch.nn.Linear(2, 1).eval(), forward=lambda net, batch: net(batch["x"]))
    with pytest.raises(AttributeError, match="call model"):
        _ = model.n_outputs
