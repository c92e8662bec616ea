"""A fit, what is stored of it and its checkpoints belong to one network: other ones are refused, whatever differs."""

import collections
import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest

import dntk
from dntk.distill.data import Random, TangentResidual
from dntk.distill.gradients import Solution
from dntk.estimator import _probe
from dntk.identity import Identity, Watch
from dntk.models import Stateful
from tests.libraries import LIBRARIES, host
from tests.networks import inputs, mlp

NUMPY = LIBRARIES[0]
CHANGED = "the network is not what it was when this was fitted"


def fitted(model, x):
    return dntk.DistilledNTK(model, data=Random(12), gradients=Solution(3), sketch=None, ridge=1e-2).fit(x)


def torch_network(activation="Tanh", seed=0, **settings):
    torch = pytest.importorskip("torch")
    torch.manual_seed(seed)
    nn = torch.nn
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), getattr(nn, activation)(**settings), nn.Linear(8, 3))
    net(torch.randn(50, 6, generator=torch.Generator().manual_seed(1)))  # running statistics of their own
    return net.eval()


def torch_inputs():
    return inputs(next(library for library in LIBRARIES if library.id == "torch"))


def changes():
    """Ways to change a PyTorch network in place, some of which its version counters miss."""
    import torch

    def trained(net):
        optimiser = torch.optim.SGD(net.parameters(), lr=0.1)
        net(torch_inputs()).square().sum().backward()
        optimiser.step()

    def through_data(net):
        net[0].weight.data.mul_(1.5)

    def through_numpy(net):
        net[3].bias.detach().numpy()[1] += 1e-3

    def statistics(net):
        net[1].running_mean.add_(0.1)

    def replaced(net):
        net[3] = torch.nn.Linear(8, 3).eval()

    def frozen_body(net):
        with torch.no_grad():
            net[0].bias[0] = 5

    def activation(net):
        net[2] = torch.nn.ReLU().eval()

    def setting(net):
        net[1].eps = 0.5

    def forward(net):
        net[2].forward = torch.relu

    return [trained, through_data, through_numpy, statistics, replaced, frozen_body, activation, setting, forward]


NAMES = [
    *("trained", "through_data", "through_numpy", "statistics", "replaced"),
    *("frozen_body", "activation", "setting", "forward"),
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("parameters", [None, r"3\..*"], ids=["all", "head"])
def test_a_pytorch_network_that_changed_since_the_fit_is_refused_by_all_that_runs_it(name, parameters, tmp_path):
    torch = pytest.importorskip("torch")
    net, x = torch_network(), torch_inputs()
    fit = fitted(dntk.as_model(net, parameters=parameters), x)
    before = fit.predict(x)
    state, layers = copy.deepcopy(net.state_dict()), list(net)
    change = next(way for way in changes() if way.__name__ == name)
    change(net)
    for call in (fit.predict, fit.query, fit.trust, fit.uncertainty, fit.kernel, fit.fidelity):
        with pytest.raises(ValueError, match=CHANGED):
            call(x)
    with pytest.raises(ValueError, match=CHANGED):
        fit.save(tmp_path / "fit")
    with pytest.raises(ValueError, match=CHANGED):
        _ = fit.certificate
    for place, layer in enumerate(layers):
        net[place] = layer
    net[1].eps = 1e-5
    vars(net[2]).pop("forward", None)
    net.load_state_dict(state)
    assert torch.equal(fit.predict(x), before)  # brought back, it is the network of the fit again


def test_a_cache_may_grow_but_not_change_outputs(tmp_path):
    torch = pytest.importorskip("torch")

    class Cached(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(6, 3)
            self.register_buffer("table", torch.ones(2), persistent=False)

        def forward(self, x):
            return self.layer(x) * self.table[0]

    torch.manual_seed(0)
    net, x = Cached().eval(), torch_inputs()
    fit = fitted(dntk.as_model(net), x)
    before = fit.predict(x)
    net.table = torch.ones(9)
    assert torch.equal(fit.predict(x), before)
    fit.save(tmp_path / "fit")
    dntk.load(tmp_path / "fit", model=dntk.as_model(net))
    net.table.mul_(2)
    with pytest.raises(ValueError, match=f"{CHANGED}.*not what it does with them"):
        fit.predict(x)


def loosely_made():
    """Ways to change what a network does that no parameter, buffer or number among its attributes tells."""

    def hook(net):
        return net.layer.register_forward_hook(lambda _layer, _inputs, output: 2 * output)

    def pre_hook(net):
        return net.layer.register_forward_pre_hook(lambda _layer, inputs: 2 * inputs[0])

    def tensor(net):
        net.scale.mul_(2)

    def another_tensor(net):
        net.scale = 2 * net.scale

    def entry(net):
        net.how["twice"] = True

    return [hook, pre_hook, tensor, another_tensor, entry]


@pytest.mark.parametrize("name", ["hook", "pre_hook", "tensor", "another_tensor", "entry"])
def test_hooks_loose_tensors_and_settings_in_tables_that_change_outputs_are_noticed(name):
    torch = pytest.importorskip("torch")

    class Loose(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(6, 3)
            self.scale, self.how = torch.ones(3), {"twice": False}

        def forward(self, x):
            return self.layer(x) * self.scale * (2 if self.how["twice"] else 1)

    torch.manual_seed(0)
    net, x = Loose().eval(), torch_inputs()
    fit = fitted(dntk.as_model(net), x)
    before = fit.predict(x)
    net.layer.register_forward_hook(lambda *_: None)  # changes nothing
    assert torch.equal(fit.predict(x), before)
    next(way for way in loosely_made() if way.__name__ == name)(net)
    with pytest.raises(ValueError, match=f"{CHANGED}.*not what it does with them"):
        fit.predict(x)


@pytest.mark.parametrize("kind", ["float64", "float32", "bfloat16", "int64", "int8", "bool", "complex64"])
def test_tensors_of_every_type_show_any_change(kind):
    torch = pytest.importorskip("torch")
    from dntk_torch import state

    value = torch.arange(12).reshape(3, 4).to(getattr(torch, kind)).T
    for mark in (state._mark, state.on_device):
        before = mark(value)
        assert mark(value) == mark(value.view(4, 3)) == before
        value.data[1, 1] = ~value[1, 1] if kind == "bool" else value[1, 1] + 1
        assert mark(value) != before
    with torch.inference_mode():
        assert state.on_device(torch.ones(3))[1] == 0


def test_what_does_not_change_outputs_is_not_refused():
    torch = pytest.importorskip("torch")
    net, x = torch_network(), torch_inputs()
    fit = fitted(dntk.as_model(net), x)
    before = fit.predict(x)
    net(x).sum().backward()
    net.requires_grad_(False)
    net[2] = torch.nn.Tanh().eval()
    net[0].weight = torch.nn.Parameter(net[0].weight.detach().clone())
    net.load_state_dict(copy.deepcopy(net.state_dict()))
    assert torch.equal(fit.predict(x), before)
    for twin in (pickle.loads(pickle.dumps(fit)), copy.deepcopy(fit)):
        assert torch.equal(twin.predict(x), before)
        with torch.no_grad():
            twin.model.module[0].weight.mul_(2)
        with pytest.raises(ValueError, match=CHANGED):
            twin.predict(x)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("parameters", [None, r"3\..*"], ids=["all", "head"])
def test_a_network_that_differs_in_anything_is_refused_where_a_fit_is_read(name, parameters, tmp_path):
    torch = pytest.importorskip("torch")
    net, x = torch_network(), torch_inputs()
    fit = fitted(dntk.as_model(net, parameters=parameters), x)
    before = fit.predict(x)
    fit.save(tmp_path / "fit")
    other = copy.deepcopy(net)
    same = dntk.load(tmp_path / "fit", model=dntk.as_model(other, parameters=parameters))
    torch.testing.assert_close(same.predict(x), before)
    next(way for way in changes() if way.__name__ == name)(other)
    what = "not what it does with them" if name in ("activation", "setting", "forward") else "parameters or buffers"
    with pytest.raises(dntk.StoreError, match=rf"is not the network of the fit in .*fit: .*{what}"):
        dntk.load(tmp_path / "fit", model=dntk.as_model(other, parameters=parameters))


@pytest.mark.parametrize(
    ("activation", "settings"), [("GELU", {"approximate": "tanh"}), ("SiLU", {}), ("LeakyReLU", {}), ("Hardtanh", {})]
)
def test_the_same_weights_under_another_activation_are_refused(activation, settings, tmp_path):
    pytest.importorskip("torch")
    kin = {"GELU": "GELU", "SiLU": "Mish", "LeakyReLU": "ReLU", "Hardtanh": "Tanh"}[activation]
    fit = fitted(dntk.as_model(torch_network(kin)), torch_inputs())
    fit.save(tmp_path / "fit")
    dntk.load(tmp_path / "fit", model=dntk.as_model(torch_network(kin)))
    with pytest.raises(dntk.StoreError, match="not what it does with them"):
        dntk.load(tmp_path / "fit", model=dntk.as_model(torch_network(activation, **settings)))


def test_other_selected_parameters_are_refused(tmp_path):
    pytest.importorskip("torch")
    fit = fitted(dntk.as_model(torch_network(), parameters=r"3\..*"), torch_inputs())
    fit.save(tmp_path / "fit")
    with pytest.raises(dntk.StoreError, match="is not the network of the fit"):
        dntk.load(tmp_path / "fit", model=dntk.as_model(torch_network(), parameters=r"0\..*"))


def test_a_perceptron_whose_arrays_were_written_to_is_refused():
    model, x = mlp(NUMPY), inputs(NUMPY)
    model = dataclasses.replace(model, weights=tuple(w.copy() for w in model.weights))
    fit = fitted(model, x)
    before = fit.predict(x)
    model.weights[0][0, 0] += 1e-6
    with pytest.raises(ValueError, match=CHANGED):
        fit.predict(x)
    model.weights[0][0, 0] -= 1e-6
    np.testing.assert_allclose(fitted(model, x).predict(x), before, atol=1e-4)


def test_writing_into_the_inputs_of_a_fit_does_not_change_what_it_belongs_to(tmp_path):
    x = inputs(NUMPY).copy()
    fit = fitted(mlp(NUMPY), x)
    x[:] = 7
    fit.save(tmp_path / "fit")
    assert dntk.load(tmp_path / "fit").losses == fit.losses


def test_a_network_that_changes_while_it_is_fitted_is_refused():
    pytest.importorskip("torch")
    net, x = torch_network(), torch_inputs()

    @dataclasses.dataclass(frozen=True)
    class Restless:
        size: int = 12

        def select(self, phi):
            net[0].weight.data.mul_(1.01)
            return Random(self.size).select(phi)

    with pytest.raises(ValueError, match=CHANGED):
        dntk.DistilledNTK(dntk.as_model(net), data=Restless(), gradients=None, sketch=None).fit(x)


def flax_network(*, mean=0.0, act="tanh"):
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self):
            self.first = nnx.Linear(6, 8, rngs=nnx.Rngs(0))
            self.norm = nnx.BatchNorm(8, use_running_average=True, rngs=nnx.Rngs(0))
            self.last = nnx.Linear(8, 3, rngs=nnx.Rngs(1))

        def __call__(self, x):
            return self.last(getattr(nnx, act)(self.norm(self.first(x))))

    net = Net()
    net.norm.mean[...] = net.norm.mean[...] + mean
    return net


def test_jax_networks_tell_statistics_and_activations_apart_and_are_what_they_were_when_wrapped():
    jax_library = next(library for library in LIBRARIES if library.id == "jax")
    if jax_library.why_not():
        pytest.skip(jax_library.why_not())
    net, x = flax_network(), inputs(jax_library)
    model = dntk.as_model(net)
    assert isinstance(model, Stateful)
    assert any("mean" in name for name in model.state)
    watch = Watch.of(model, x)
    before = host(model(x))
    net.first.kernel[...] = net.first.kernel[...] * 2  # the model is of the module as it was
    np.testing.assert_array_equal(host(model(x)), before)
    assert watch.difference(model) == watch.difference(dntk.as_model(flax_network())) == ""
    for other, message in (
        (net, "parameters or buffers"),
        (flax_network(mean=0.3), "parameters or buffers"),
        (flax_network(act="relu"), "not what it does with them"),
    ):
        assert message in watch.difference(dntk.as_model(other))


def test_functions_are_told_apart_by_constants_and_by_outputs(tmp_path):
    pytest.importorskip("autograd")
    import autograd.numpy as anp

    params = {"w": np.random.default_rng(0).normal(size=(6, 3)), "v": np.random.default_rng(1).normal(size=(3, 3))}

    def net(p, x):
        return anp.tanh(x @ p["w"]) @ p["v"]

    def other(p, x):
        return anp.sin(x @ p["w"]) @ p["v"]

    x = inputs(NUMPY, dtype="f8")
    fit = fitted(dntk.as_model(net, params, parameters="v"), x)
    fit.save(tmp_path / "fit")
    before = fit.predict(x)
    np.testing.assert_allclose(dntk.load(tmp_path / "fit", model=fit.model).predict(x), before)
    frozen = {**params, "w": params["w"] + 1e-9}
    for function, values in ((other, params), (net, frozen)):
        with pytest.raises(dntk.StoreError, match="is not the network of the fit"):
            dntk.load(tmp_path / "fit", model=dntk.as_model(function, values, parameters="v"))


def test_a_fit_of_margins_knows_its_labels():
    x = dntk.outputs.labelled(inputs(NUMPY), np.arange(30) % 3)
    model = dntk.outputs.margin(mlp(NUMPY))
    identity = Identity.of(model, x)
    assert identity.difference(model) == ""
    other = dntk.outputs.margin(dataclasses.replace(mlp(NUMPY), activation="relu"))
    assert "not what it does" in identity.difference(other)


Pair = collections.namedtuple("Pair", "first second")


@pytest.mark.parametrize(
    ("nest", "back"),
    [
        (np.ones(2), None),
        ({"ids": np.ones(2), "mask": None, "more": (np.zeros(2), [np.ones(2)])}, None),
        (Pair(np.ones(2), np.zeros(2)), (np.ones(2), np.zeros(2))),
        (dntk.outputs.labelled({"a": np.ones((2, 1))}, np.arange(2)), None),
    ],
)
def test_inputs_in_nests_are_stored(nest, back):
    form, found = _probe.described(nest)
    _probe.form(json.loads(json.dumps(form)), "probe")
    again = _probe.rebuilt(json.loads(json.dumps(form)), lambda i: found[i])
    assert repr(again) == repr(nest if back is None else back)


def test_inputs_that_could_not_be_made_again_are_not_stored():
    assert _probe.described({3: np.ones(2)}) == (None, [])
    assert _probe.described((np.ones(2), _Own(np.ones(2)))) == (None, [])
    for form in ("arrays", ["mapping"], ["set", []], ["tuple", [["0", "arrays"]]], ["tuple", [[0, "array"]]], {}, 3):
        with pytest.raises(ValueError, match="expected a"):
            _probe.form(form, "probe")


@dataclasses.dataclass
class _Own:
    x: object


def test_a_fit_of_margins_is_read_again_with_its_labels(tmp_path):
    x = dntk.outputs.labelled(inputs(NUMPY), np.arange(30) % 3)
    fit = fitted(dntk.outputs.margin(mlp(NUMPY)), x)
    fit.save(tmp_path / "fit")
    back = dntk.load(tmp_path / "fit", model=dntk.outputs.margin(mlp(NUMPY)))
    np.testing.assert_array_equal(back.predict(x), fit.predict(x))
    with pytest.raises(dntk.StoreError, match="is not the network"):
        dntk.load(tmp_path / "fit", model=dntk.outputs.loss(mlp(NUMPY)))


@pytest.mark.parametrize("way", ["activation", "statistics"])
def test_a_checkpoint_of_an_objective_notices_another_network(way, tmp_path):
    torch = pytest.importorskip("torch")
    objective, net = TangentResidual(4, steps=2, limits=None), torch_network()
    x = torch_inputs()
    objective.distill(dntk.as_model(net, parameters=r"3\..*"), x, checkpoint=tmp_path / "run")
    with torch.no_grad():
        next(change for change in changes() if change.__name__ == way)(net)
    with pytest.raises(dntk.StoreError, match="another objective, network|another network"):
        objective.distill(dntk.as_model(net, parameters=r"3\..*"), x, checkpoint=tmp_path / "run")


def test_a_look_at_a_network_is_a_small_share_of_a_prediction():
    torch = pytest.importorskip("torch")
    import time

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256), torch.nn.ReLU())
    model, x = dntk.as_model(net.append(torch.nn.Linear(256, 3)).eval()), torch.randn(16, 64)
    watch = Watch.of(model, x)
    fit = dntk.DistilledNTK(model, data=Random(4), gradients=None, sketch=None, ridge=1e-2).fit(x)

    def seconds(call):
        taken = []
        for _ in range(5):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
        return min(taken)

    assert seconds(lambda: watch.require_same(model)) < 0.5 * seconds(lambda: fit.predict(x))
