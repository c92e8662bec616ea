"""Models of one library for arrays of another: the same numbers, in the same memory."""

import dataclasses

import numpy as np
import pytest

import dntk
from dntk.backend import backend_of, get_backend
from dntk.gradient_blocks import DenseBlock, IndexedBlock
from dntk.models._bridge import BridgedModel
from tests.libraries import LIBRARIES, host
from tests.networks import inputs, mlp

BY_ID = {library.id: library for library in LIBRARIES}
WAYS = [
    ("torch", "numpy"),
    ("jax", "numpy"),
    ("numpy", "torch"),
    ("jax", "torch"),
    ("torch", "jax"),
    ("torch", "strict"),
    ("strict", "torch"),
]


@pytest.fixture(params=WAYS, ids="-to-".join)
def way(request):
    """(library inside, library outside)."""
    libraries = [BY_ID[name] for name in request.param]
    for library in libraries:
        if library.why_not():
            pytest.skip(library.why_not())
    return libraries


def bridged(inside, outside, **settings):
    """A perceptron of ``inside``, and its bridge to ``outside``."""
    model = mlp(inside, **settings)
    return model, dntk.bridge(model, outside.array(np.ones(1, np.float32)))


def address(x):
    """Where an array's memory begins."""
    return np.from_dlpack(x).__array_interface__["data"][0]


def conv_net():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(1, 3, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(48, 2)]
    return torch.nn.Sequential(*layers).eval()


def test_outputs_and_products_are_the_models_own(way):
    inside, outside = way
    model, over = bridged(inside, outside)
    ours, theirs = inputs(inside), inputs(outside)
    assert isinstance(over, dntk.Model)
    assert type(over(theirs)) is type(theirs)
    assert over(theirs).dtype == theirs.dtype == over.dtype
    assert over(theirs).device == theirs.device == over.device
    np.testing.assert_array_equal(host(over(theirs)), host(model(ours)))
    assert (over.n_parameters, over.n_outputs) == (model.n_parameters, model.n_outputs)
    draws = np.random.default_rng(0).normal(size=(2, model.n_parameters))
    pushed = over.jvp(theirs, outside.array(draws, np.float32))
    np.testing.assert_array_equal(host(pushed), host(model.jvp(ours, inside.array(draws, np.float32))))
    draws = np.random.default_rng(1).normal(size=(30, 3))
    pulled = over.vjp(theirs, outside.array(draws, np.float32))
    np.testing.assert_array_equal(host(pulled), host(model.vjp(ours, inside.array(draws, np.float32))))


def test_blocks_are_the_models_own_for_shared_and_own_functionals(way):
    inside, outside = way
    model, over = bridged(inside, outside)
    for shape in ((2, 3), (2, 30, 3)):
        draws = np.random.default_rng(0).normal(size=shape)
        ours = model.gradient_blocks(inputs(inside), inside.array(draws, np.float32))
        theirs = over.gradient_blocks(inputs(outside), outside.array(draws, np.float32))
        for one, other in zip(ours, theirs, strict=True):
            assert type(one) is type(other)
            assert (one.name, one.offset, one.size) == (other.name, other.offset, other.size)
            for field in dataclasses.fields(one):
                value, handed = getattr(one, field.name), getattr(other, field.name)
                if field.name in ("inputs", "cotangents", "values"):
                    assert type(handed) is type(inputs(outside))
                    np.testing.assert_array_equal(host(handed), host(value))
                else:
                    assert value == handed


def test_parameters_are_shared_both_ways():
    """What the network learns later, the view outside shows, and the other way round."""
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(3, 2).eval()
    over = dntk.bridge(dntk.as_model(net), "numpy")
    with torch.no_grad():
        net.weight[0, 0] = 7
    assert over.parameters["weight"][0, 0] == 7
    over.parameters["weight"][1, 1] = -7
    assert net.weight[1, 1] == -7
    assert address(over.parameters["weight"]) == net.weight.data_ptr()


@pytest.mark.parametrize("names", [("torch", "numpy"), ("numpy", "torch"), ("jax", "numpy"), ("torch", "strict")])
def test_nothing_is_copied_on_the_way_in_or_out(names, monkeypatch):
    inside, outside = (BY_ID[name] for name in names)
    for library in (inside, outside):
        pytest.importorskip(library.module)
    model, over = bridged(inside, outside)
    seen, made = [], []
    call = type(model).__call__

    def watched(self, x):
        seen.append(address(x))
        made.append(call(self, x))
        return made[-1]

    monkeypatch.setattr(type(model), "__call__", watched)
    # JAX takes memory of others as it is only where it begins at a multiple of 64 bytes.
    x = inputs(outside)
    outputs = over(x)
    if inside.module != "jax":
        assert seen == [address(x)]
    assert address(outputs) == address(made[0])


def test_arrays_of_jax_are_read_only_in_numpy_and_shared():
    pytest.importorskip("jax")
    model, over = bridged(BY_ID["jax"], BY_ID["numpy"])
    weight = over.parameters["weights.0"]
    assert not weight.flags.writeable
    assert address(weight) == model.parameters["weights.0"].unsafe_buffer_pointer()


def test_kernels_and_features_are_those_of_the_same_network_outside(way):
    """Two forward passes in two libraries, and then the same arithmetic."""
    inside, outside = way
    _, over = bridged(inside, outside)
    native = mlp(outside)
    x = inputs(outside)
    bound = 64 * 16 * np.finfo(np.float32).eps
    for outputs in ("mean", "each", "full", 1):
        kernel, reference = host(dntk.ntk(over, x, outputs=outputs)), host(dntk.ntk(native, x, outputs=outputs))
        np.testing.assert_allclose(kernel, reference, rtol=0, atol=bound * np.max(np.abs(reference)))
    sketch = dntk.sketch.SparseSign(32, seed=0)
    phi, reference = (host(dntk.tangent_features(m, x, sketch=sketch).values) for m in (over, native))
    np.testing.assert_allclose(phi, reference, rtol=0, atol=bound * np.max(np.abs(reference)))


def test_kernel_equals_the_originals_bit_for_bit_where_nothing_is_rounded():
    """Small integers: every order of summation gives the same kernel."""
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    weights = [rng.integers(-2, 3, size=shape).astype(np.float32) for shape in ((5, 4), (2, 5))]
    x = rng.integers(-3, 4, size=(9, 4)).astype(np.float32)

    def net(library):
        return dntk.MLP(weights=tuple(map(library.array, weights)), biases=(None, None), activation="relu")

    inside = net(BY_ID["torch"])
    original = host(dntk.ntk(inside, BY_ID["torch"].array(x), outputs="full"))
    np.testing.assert_array_equal(dntk.ntk(dntk.bridge(inside, "numpy"), x, outputs="full"), original)


def test_torch_network_is_distilled_on_numpy_arrays():
    torch = pytest.importorskip("torch")
    net = conv_net()
    x = np.random.default_rng(0).normal(size=(40, 1, 6, 6)).astype(np.float32)
    over = dntk.bridge(dntk.as_model(net), "numpy")
    settings = {
        "sketch": dntk.sketch.SparseSign(256, seed=0),
        "gradients": dntk.distill.gradients.Solution(20),
        "seed": 0,
    }
    estimator = dntk.DistilledNTK(over, **settings).fit(x)
    direct = dntk.DistilledNTK(dntk.as_model(net), **settings).fit(torch.from_numpy(x))
    predictions = estimator.predict(x[:9])
    assert isinstance(predictions, np.ndarray)
    with torch.no_grad():
        outputs = net(torch.from_numpy(x[:9])).numpy()
    # Two fits in float32, whose ridge amplifies rounding to a small share of the outputs.
    scale = np.max(np.abs(outputs))
    np.testing.assert_allclose(predictions, direct.predict(torch.from_numpy(x[:9])).numpy(), atol=0.02 * scale)
    np.testing.assert_allclose(predictions, outputs, atol=0.05 * scale)
    assert np.all(estimator.trust(x[:3]) >= 0)


def test_tables_are_handed_over_with_their_ids():
    torch = pytest.importorskip("torch")

    class Bag(torch.nn.Module):
        def __init__(self):
            torch.nn.Module.__init__(self)
            torch.manual_seed(0)
            self.table, self.last = torch.nn.Embedding(7, 4), torch.nn.Linear(4, 2)

        def forward(self, ids):
            return self.last(torch.tanh(self.table(ids)).mean(dim=1))

    model = dntk.as_model(Bag().eval())
    ids = np.random.default_rng(0).integers(0, 7, size=(6, 3))
    over = dntk.bridge(model, "numpy")
    over(ids)
    blocks = {block.name: block for block in over.gradient_blocks(ids, np.eye(2, dtype=np.float32))}
    table = blocks["table.weight"]
    assert isinstance(table, IndexedBlock)
    assert isinstance(table.ids, np.ndarray)
    reference = dntk.ntk(model, torch.from_numpy(ids)).numpy()
    bound = 64 * 16 * np.finfo(np.float32).eps * np.max(reference)
    np.testing.assert_allclose(dntk.ntk(over, ids), reference, rtol=0, atol=bound)


def test_blocks_of_another_kind_are_handed_over_expanded(monkeypatch):
    torch = pytest.importorskip("torch")

    class Opaque:
        """Of a third party: the protocol and no more."""

        name, offset, size, shape, nbytes, cotangent_nbytes = "w", 3, 2, (1, 4), 32, 32

        def gram(self, other):
            return self.dense() @ other.dense().mT

        mean_gram = cross_gram = gram

        def chunks(self, max_coordinates):
            yield 0, self.dense()[..., :max_coordinates]

        def dense(self):
            return torch.ones(1, 4, 2)

    model, over = bridged(BY_ID["torch"], BY_ID["numpy"])
    monkeypatch.setattr(type(model), "gradient_blocks", lambda *_: iter([Opaque()]))
    (block,) = over.gradient_blocks(inputs(BY_ID["numpy"], 4), np.eye(3, dtype=np.float32)[:1])
    assert isinstance(block, DenseBlock)
    assert (block.name, block.offset) == ("w", 3)
    np.testing.assert_array_equal(block.values, np.ones((1, 4, 2)))


def test_arrays_inside_blocks_of_blocks_are_handed_over(monkeypatch):
    torch = pytest.importorskip("torch")

    @dataclasses.dataclass(frozen=True)
    class Joined:
        """Several blocks as one."""

        parts: tuple
        name: str = "w"

    parts = (DenseBlock(name="a", offset=0, values=torch.ones(1, 4, 2)), None)
    model, over = bridged(BY_ID["torch"], BY_ID["numpy"])
    monkeypatch.setattr(type(model), "gradient_blocks", lambda *_: iter([Joined(parts=parts)]))
    with dntk.checking(False):
        (block,) = over.gradient_blocks(inputs(BY_ID["numpy"], 4), np.eye(3, dtype=np.float32)[:1])
    assert isinstance(block.parts[0].values, np.ndarray)
    assert block.parts[1] is None


def test_subsets_are_bridged():
    pytest.importorskip("torch")
    model, over = bridged(BY_ID["torch"], BY_ID["numpy"])
    assert list(over.subset(".*1").parameters) == list(model.subset(".*1").parameters) == ["weights.1", "biases.1"]
    assert list(dntk.as_model(over, parameters="biases.0").parameters) == ["biases.0"]


def test_bridge_to_the_models_own_library_is_the_model():
    model = mlp(BY_ID["numpy"])
    assert dntk.bridge(model, "numpy") is model
    assert dntk.bridge(model, np.ones(1)) is model


@pytest.mark.parametrize("outside", ["torch", "jax", "numpy", "strict"])
@pytest.mark.parametrize("kind", ["negative stride", "read-only", "gaps", "broadcast", "transposed", "one number"])
@pytest.mark.filterwarnings("error")
def test_every_library_takes_every_layout_of_memory(outside, kind):
    library = BY_ID[outside]
    pytest.importorskip(library.module)
    values = np.arange(24, dtype=np.float32).reshape(4, 6)
    values = {
        "negative stride": values[::-1],
        "read-only": values,
        "gaps": values[:, ::2],
        "broadcast": np.broadcast_to(values[:1], (4, 6)),
        "transposed": values.T,
        "one number": np.asarray(3, np.float32),
    }[kind]
    if kind == "read-only":
        values.flags.writeable = False
    taken = backend_of(library.array(np.ones(1, np.float32))).from_dlpack(values)
    assert type(taken) is type(library.array(np.ones(1, np.float32)))
    np.testing.assert_array_equal(host(taken), values)


def test_inputs_that_run_backwards_reach_the_network():
    """PyTorch's own import of such memory ends the process."""
    pytest.importorskip("torch")
    _, over = bridged(BY_ID["torch"], BY_ID["numpy"])
    x = inputs(BY_ID["numpy"])
    np.testing.assert_array_equal(over(x[::-1]), over(np.ascontiguousarray(x[::-1])))
    pytest.importorskip("array_api_strict")
    strict = BY_ID["strict"].array(x)
    _, over = bridged(BY_ID["torch"], BY_ID["strict"])
    np.testing.assert_array_equal(host(over(strict[::-1, :])), host(over(BY_ID["strict"].array(x[::-1]))))


@pytest.mark.usefixtures("unchecked")
class TestRefusals:
    """Each says what came, and what to do."""

    def test_what_is_no_model(self):
        with pytest.raises(TypeError, match=r"`model` is a str: wrap the network first"):
            dntk.bridge("net", "numpy")

    def test_backend_that_nobody_registered(self):
        with pytest.raises(ValueError, match="no backend is called 'mlx'"):
            dntk.bridge(mlp(BY_ID["numpy"]), "mlx")

    def test_precision_that_the_other_library_has_not(self):
        torch = pytest.importorskip("torch")
        model = dntk.as_model(torch.nn.Linear(3, 2).bfloat16().eval())
        with pytest.raises(TypeError, match="dtype bfloat16, which numpy does not have: convert the network"):
            dntk.bridge(model, "numpy")

    def test_precision_that_the_other_library_would_cut(self):
        pytest.importorskip("jax")
        model = mlp(BY_ID["numpy"], dtype=np.float64)
        with pytest.raises(TypeError, match="dtype float64, of which jax makes float32.*jax_enable_x64"):
            dntk.bridge(model, "jax")

    def test_memory_that_the_other_library_cannot_reach(self, monkeypatch):
        def refuse(*_):
            message = "Unsupported device in DLTensor."
            raise BufferError(message)

        monkeypatch.setattr(type(get_backend("numpy")), "from_dlpack", refuse)
        pytest.importorskip("torch")
        message = r"numpy cannot use the memory of `model`.*torch arrays on device cpu.*move the network to a device of"
        with pytest.raises(ValueError, match=message):
            dntk.bridge(mlp(BY_ID["torch"]), "numpy")

    def test_array_on_another_device_than_the_model(self):
        pytest.importorskip("torch")
        pytest.importorskip("array_api_strict")
        with pytest.raises(ValueError, match=r"`like` is on device .*device1.*sees the model's parameters on .*CPU"):
            dntk.bridge(mlp(BY_ID["torch"]), BY_ID["strict-device1"].array(np.ones(1)))

    def test_inputs_of_the_library_inside(self):
        torch = pytest.importorskip("torch")
        over = dntk.bridge(mlp(BY_ID["torch"]), "numpy")
        with pytest.raises(TypeError, match="`x` is a torch array, but the model computes with numpy"):
            over(torch.ones(2, 6))

    def test_inputs_of_the_wrong_shape_precision_or_value(self):
        pytest.importorskip("torch")
        over = dntk.bridge(mlp(BY_ID["torch"]), "numpy")
        with pytest.raises(ValueError, match="`x` has shape .*takes 6 features"):
            over(np.ones((2, 5), np.float32))
        with pytest.raises(TypeError, match="`query` has dtype torch.float64"):
            over.check_inputs(np.ones((2, 6)), "query")
        with pytest.raises(ValueError, match="`x1` has NaN"):
            dntk.ntk(over, np.full((2, 6), np.nan, np.float32))


def test_model_that_is_called_twice_is_one_model():
    pytest.importorskip("torch")
    over = dntk.bridge(mlp(BY_ID["torch"]), "numpy")
    assert isinstance(over, BridgedModel)
    assert dntk.as_model(over) is over


def test_read_only_arrays_are_copied_where_libraries_cannot_hand_them_over(monkeypatch):
    """As NumPy 2.0 and PyTorch 2.5 do, whatever is installed here."""
    torch = pytest.importorskip("torch")
    target, inside = get_backend("torch"), mlp(BY_ID["numpy"])
    for value in inside.parameters.values():
        value.flags.writeable = False
    taken = type(target).from_dlpack

    def refusing(self, x):
        if isinstance(x, np.ndarray) and not x.flags.writeable:
            msg = "Cannot export readonly array since signalling readonly is unsupported by DLPack"
            raise BufferError(msg)
        return taken(self, x)

    monkeypatch.setattr(type(target), "from_dlpack", refusing)
    x = host(inputs(BY_ID["numpy"]))
    found = dntk.ntk(dntk.bridge(inside, "torch"), torch.from_numpy(x.copy()))
    np.testing.assert_allclose(host(found), dntk.ntk(inside, x), rtol=1e-6)
