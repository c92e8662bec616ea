"""The ledger beside PyTorch's own counter of operations, and the shapes of products: every pass is counted."""

import contextlib
import math

import numpy as np
import pytest

import dntk
from dntk.ledger import LedgerRecorder

torch = pytest.importorskip("torch")
counters = pytest.importorskip("torch.utils.flop_counter")

from tests.torch_networks import one_thread  # noqa: E402

POINTS, KEPT, OUTPUTS = 20, 8, 4
NETWORKS = {"mlp": ((1, 8, 8), 16), "cnn": ((3, 8, 8), 4), "resnet18": ((3, 16, 16), 4), "vit": ((3, 32, 32), 16)}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


def network(name):
    from dntk_studies.networks import networks

    image, width = NETWORKS[name]
    torch.manual_seed(0)
    return getattr(networks, name)(image, OUTPUTS, width).eval(), torch.randn(POINTS, *image)


def last_third(net):
    """A pattern of the parameters of the last layers."""
    names = [name for name, _ in net.named_parameters()]
    return "|".join(name.replace(".", r"\.") for name in names[len(names) * 2 // 3 :])


def by_shapes():
    """What PyTorch's counter does not know or gets wrong: attention, oneDNN products, convolutions in groups."""

    def raw(formula):
        formula._get_raw = True
        return formula

    @raw
    def attention(query, key, value, *_, **__):
        return 2 * query.shape[:-1].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])

    @raw
    def attention_backward(_, query, key, value, *__, **___):
        return 5 * attention(query, key, value) // 2

    @raw
    def linear(x, weight, *_, **__):
        return 2 * x.numel() * weight.shape[0]

    @raw
    def convolution_backward(grad, _x, weight, *rest, **_):
        return 2 * grad.numel() * math.prod(weight.shape[1:]) * sum(rest[-1][:2])

    aten = torch.ops.aten
    return {
        aten._scaled_dot_product_flash_attention_for_cpu: attention,
        aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward,
        aten.convolution_backward: convolution_backward,
        torch.ops.mkldnn._linear_pointwise: linear,
    }


@contextlib.contextmanager
def both():
    """Yields a function that, afterwards, gives the ledger's operations over PyTorch's."""
    recorder = LedgerRecorder()
    counter = counters.FlopCounterMode(display=False, custom_mapping=by_shapes())
    with counter, recorder.stage("it"):
        yield lambda: recorder.ledger()["it"].flops / counter.get_total_flops()


@pytest.mark.parametrize("some", [False, True], ids=["all parameters", "last layers"])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_operations_are_those_of_pytorchs_counter_whatever_asks_for_them(name, some):
    net, x = network(name)
    model = dntk.as_model(net, parameters=last_third(net) if some else None)
    data, gradients = dntk.distill.data.LastLayer(dntk.distill.data.KMeans(KEPT)), dntk.distill.gradients.Solution(3)
    found, spec = {}, dntk.DistilledNTK(model, data, None, gradients)
    for what, action in {
        "forward": lambda: model(x),
        "choosing": lambda: data.select_inputs(model, x),
        "features": lambda: dntk.tangent_features(model, x, sketch=None),
        "features of one functional": lambda: dntk.tangent_features(model, x, sketch=None, outputs="sum"),
        "fit": lambda: found.setdefault("fit", spec.fit(x)),
        "predict": lambda: found["fit"].predict(x),
        "query": lambda: found.setdefault("query", found["fit"].query(x)),
        "trust": lambda: found["fit"].trust(x),
        "certificate": lambda: found["fit"].certificate,
        "jvp": lambda: model.jvp(x, torch.ones(2, model.n_parameters)),
        "vjp": lambda: model.vjp(x, torch.ones(POINTS, OUTPUTS)),
    }.items():
        with both() as ratio:
            action()
        # Single numbers: sums over positions, products with one vector, element by element parts of algorithms.
        assert 0.9 < ratio() < 1.1, (what, ratio())
    assert found["query"].cost.jacobian_rows == POINTS * OUTPUTS
    assert found["fit"].ledger["certificate"].jacobian_rows == (POINTS - KEPT) * OUTPUTS


def test_certificate_and_queries_tell_what_they_took(tmp_path):
    net, x = network("mlp")
    model = dntk.as_model(net)
    data = dntk.distill.data.LastLayer(dntk.distill.data.KMeans(KEPT))
    fit = dntk.DistilledNTK(model, data, None, dntk.distill.gradients.Solution(3)).fit(x)
    assert "certificate" not in [stage.stage for stage in fit.ledger.stages]
    recorder = LedgerRecorder()
    with recorder.stage("both"):
        certificate, query = fit.certificate, fit.query(x)
    made, asked, both = fit.ledger["certificate"], query.cost, recorder.ledger()["both"]
    assert made == certificate.cost
    for column in ("jacobian_rows", "forward_passes", "backward_passes", "flops"):
        assert getattr(made, column) + getattr(asked, column) == getattr(both, column)
    assert 0 < asked.seconds < both.seconds
    fit.save(tmp_path / "fit")
    again = dntk.load(tmp_path / "fit", model=model)
    assert again.ledger == fit.ledger
    assert again.certificate.cost is None


def test_passes_are_counted_beside_their_operations():
    net, x = network("cnn")
    model, recorder = dntk.as_model(net), LedgerRecorder()
    dntk.tangent_features(model, x, sketch=None)  # what is looked at once is not part of it
    with recorder.stage("targets"):
        model(x)
    with recorder.stage("features"):
        dntk.tangent_features(model, x, sketch=None)
    targets, features = recorder.ledger().stages
    assert (targets.forward_passes, targets.backward_passes, targets.jacobian_rows) == (POINTS, 0, 0)
    assert (features.forward_passes, features.backward_passes) == (POINTS, POINTS * OUTPUTS)
    assert features.jacobian_rows == POINTS * OUTPUTS


def test_a_grouped_convolution_is_counted_by_its_own_channels():
    net = torch.nn.Sequential(
        torch.nn.Conv2d(4, 8, 3, groups=4, padding=1), torch.nn.Flatten(), torch.nn.Linear(128, 2)
    )
    model, x, recorder = dntk.as_model(net.eval()), torch.randn(5, 4, 4, 4), LedgerRecorder()
    with recorder.stage("probes"):
        model.vjp(x, torch.ones(5, 2))
    with recorder.stage("it"):
        model.vjp(x, torch.ones(5, 2))
    convolution, linear = 2 * 8 * 16 * 9, 2 * 128 * 2
    # Forward; the gradients of both weights; and of the linear map's inputs.
    assert recorder.ledger()["it"].flops == 5 * (2 * convolution + 3 * linear)


def dense(xp, weights, x):
    (first, middle, last) = weights
    return xp.tanh(xp.tanh(x @ first) @ middle) @ last


SIZES = ((6, 5), (5, 4), (4, 3))
EACH = [2 * a * b for a, b in SIZES]


def models():
    rng = np.random.default_rng(0)
    weights = [rng.normal(size=size).astype(np.float32) for size in SIZES]
    x = rng.normal(size=(7, 6)).astype(np.float32)
    names = ["jax", "autograd", "dntk"]
    return [pytest.param(name, weights, x, id=name) for name in names]


@pytest.mark.parametrize(("library", "weights", "x"), models())
@pytest.mark.parametrize("last", [False, True], ids=["all", "the last"])
def test_other_libraries_count_the_products_of_every_pass(library, weights, x, last):
    """Three layers: forward all; backward those after the first whose parameters are differentiated."""
    if library == "jax":
        jnp = pytest.importorskip("jax.numpy")
        model = dntk.as_model(lambda w, at: dense(jnp, w, at), [jnp.asarray(w) for w in weights])
        x = jnp.asarray(x)
    elif library == "autograd":
        anp = pytest.importorskip("autograd.numpy")
        model = dntk.as_model(lambda w, at: dense(anp, w, at), weights)
    else:
        model = dntk.MLP(weights=tuple(w.T for w in weights), biases=(None,) * 3, activation="tanh")
    model = model.subset(list(model.parameters)[-1].replace(".", r"\.")) if last else model
    model(x), list(model.gradient_blocks(x, model.namespace.eye(3)))
    model.jvp(x, model.namespace.ones((2, model.n_parameters)))
    recorder = LedgerRecorder()
    with recorder.stage("forward"):
        model(x)
    with recorder.stage("blocks"):
        list(model.gradient_blocks(x, model.namespace.eye(3, dtype=x.dtype)))
    with recorder.stage("jvp"):
        model.jvp(x, model.namespace.ones((2, model.n_parameters), dtype=x.dtype))
    cost = recorder.ledger()
    assert cost["forward"].flops == 7 * sum(EACH)
    assert (cost["blocks"].forward_passes, cost["blocks"].backward_passes) == (7, 21)
    # An MLP of dntk's own is pulled back through every layer, whatever is asked.
    inner = 0 if last and library != "dntk" else EACH[1] + EACH[2]
    assert cost["blocks"].flops == 7 * (sum(EACH) + 3 * inner)
    assert cost["jvp"].backward_passes == 14
    assert cost["jvp"].flops > cost["forward"].flops


def test_nothing_is_measured_where_no_ledger_is_kept():
    net, x = network("mlp")
    calls = []
    net.register_forward_hook(lambda *_: calls.append(1))
    model = dntk.as_model(net)
    model(x)
    calls.clear()
    model(x)
    assert len(calls) == 1
    with LedgerRecorder().stage("it"):
        model(x)
        model(x)
    assert len(calls) == 1 + 2 + 1  # and one input, once
