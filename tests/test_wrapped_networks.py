"""Networks as PyTorch wraps them, to compile them or to spread them over devices; and networks that nobody wrapped."""

import copy

import numpy as np
import pytest

import dntk
from tests.libraries import host

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.usefixtures("unchecked"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning"),
]


def network():
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)).eval()


WRAPPERS = {
    "data parallel": torch.nn.DataParallel,
    "compiled": lambda net: torch.compile(net, backend="eager"),
    "averaged": torch.optim.swa_utils.AveragedModel,
    "compiled, then data parallel": lambda net: torch.nn.DataParallel(torch.compile(net, backend="eager")),
    "data parallel, then compiled": lambda net: torch.compile(torch.nn.DataParallel(net), backend="eager"),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrapped_networks_are_those_inside(name):
    net, x = network(), torch.randn(5, 4)
    wrapped = WRAPPERS[name](net)
    model = dntk.as_model(wrapped)
    assert list(model.parameters) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    np.testing.assert_array_equal(host(dntk.ntk(model, x)), host(dntk.ntk(dntk.as_model(net), x)))


@pytest.mark.parametrize("name", ["data parallel", "averaged"])
def test_the_network_inside_is_the_one_that_must_not_be_training(name):
    with pytest.raises(ValueError, match=r"training mode \(the network itself, Sequential\)"):
        dntk.as_model(WRAPPERS[name](network().train()))


@pytest.fixture
def one_process(tmp_path):
    distributed = torch.distributed
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("one_process")
def test_networks_of_several_processes():
    net, x = network(), torch.randn(5, 4)
    parallel = torch.nn.parallel.DistributedDataParallel(copy.deepcopy(net))
    np.testing.assert_array_equal(host(dntk.ntk(dntk.as_model(parallel), x)), host(dntk.ntk(dntk.as_model(net), x)))
    sharded = copy.deepcopy(net)
    torch.distributed.fsdp.fully_shard(sharded)
    with pytest.raises(ValueError, match=r"the parameter '0.weight' is sharded over processes: load torch.distributed"):
        dntk.as_model(sharded)


FORGOTTEN = {
    "ntk": lambda net, x: dntk.ntk(net, x),
    "tangent_features": lambda net, x: dntk.tangent_features(net, x),
    "NTKOperator": lambda net, x: dntk.NTKOperator(net, x),
    "DistilledNTK": lambda net, _: dntk.DistilledNTK(net),
    "choose": lambda net, _: dntk.sketch.choose(net, error=0.1, n=10),
    "Wasserstein": lambda net, x: dntk.distill.data.Wasserstein(per_class=1).distill(net, x, torch.zeros(5).long()),
    "sequence_loss": lambda net, _: dntk.outputs.sequence_loss(net),
}


@pytest.mark.parametrize("name", FORGOTTEN)
def test_a_network_in_place_of_a_model_is_told_what_to_do(name):
    with pytest.raises(TypeError, match=r"`model` is a torch Sequential: .* model = dntk.as_model\(net\)"):
        FORGOTTEN[name](network(), torch.randn(5, 4))


def test_selectors_tell_how_features_are_made_of_a_network():
    selector = dntk.distill.data.RPCholesky(3)
    for given in (network(), dntk.as_model(network())):
        with pytest.raises(
            TypeError, match=r"`phi` is .*: expected its features: dntk.tangent_features\(dntk.as_model"
        ):
            selector.select(given)


def test_functions_are_told_that_their_parameters_are_missing():
    with pytest.raises(TypeError, match=r"`model` is a function: .* dntk.as_model\(fn, params\)"):
        dntk.ntk(lambda _, x: x, np.ones((3, 2)))
    with pytest.raises(TypeError, match=r"its parameters are not known: pass them beside a function of them"):
        dntk.as_model(lambda _, x: x)


def test_a_module_that_is_not_called_by_its_forward_is_told_how_to_say_so():
    class Steps(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

    with pytest.raises(ValueError, match=r"Say how it is called: dntk.as_model\(net, forward="):
        dntk.ntk(dntk.as_model(Steps().eval()), torch.randn(5, 4))
    model = dntk.as_model(Steps().eval(), forward=lambda net, x: net.net(x))
    assert dntk.ntk(model, torch.randn(5, 4)).shape == (5, 5)


def test_arrays_of_another_library_are_told_how_to_convert_themselves():
    model = dntk.as_model(network())
    with pytest.raises(TypeError, match=r"`x1` is a numpy array, but .* with torch: convert it, torch.as_tensor\(x1\)"):
        dntk.ntk(model, np.ones((3, 4), "f4"))
    with pytest.raises(ValueError, match=r"`x1` is on device meta, .* on cpu: move it, x1.to\('cpu'\)"):
        dntk.ntk(model, torch.ones((3, 4), device="meta"))


def test_features_have_a_sketch_of_their_own_where_none_is_named():
    features = dntk.tangent_features(dntk.as_model(network()), torch.randn(5, 4))
    assert features.dim == 51  # all parameters of a small network
