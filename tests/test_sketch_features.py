"""Features through factored forms against sketches of whole gradients; sketches of others; storage."""

import dataclasses
import tracemalloc

import numpy as np
import pytest

import dntk
from dntk.gradient_blocks import DenseBlock, FactoredBlock, IndexedBlock
from dntk.ledger import LedgerRecorder
from dntk.sketch import (
    SRHT,
    Gaussian,
    Kronecker,
    Mask,
    Mixed,
    Rademacher,
    SparseSign,
    TensorSketch,
    sketch_block,
    sketch_blocks,
)
from dntk.sketch.base import block_by_pieces
from dntk.sketch.layout import layout_of_shapes
from tests.libraries import Library, host, set_working_set
from tests.networks import inputs, mlp

NUMPY = Library("numpy", "numpy")
FAMILIES = [
    Gaussian(24, seed=1),
    Kronecker(4, 6, seed=1),
    Mask(24, seed=1),
    Mixed(24, inner=5, seed=1),
    Mixed(23, inner=4, seed=1),
    Rademacher(24, seed=1),
    SparseSign(24, seed=1),
    SRHT(24, width=32, seed=1),
    TensorSketch(24, seed=1),
]
NAMES = [f"{type(sketch).__name__}-{sketch.dim}" for sketch in FAMILIES]


def assert_features_are_sketches_of_gradients(model, x, sketch, points):
    phi = dntk.tangent_features(model, x, sketch=sketch)
    whole = host(dntk.tangent_features(model, x, sketch=None).values).astype(np.float64)
    matrix = np.abs(phi.sketch.apply(np.eye(model.n_parameters)))
    applied = host(phi.sketch.apply(dntk.tangent_features(model, x, sketch=None).values))
    # Every order of summation, and transforms of length 24 (log₂ 24 < 5 levels, forth and back, three factors).
    slack = 64 * (model.n_parameters + 5) * 2**-23 * np.max(np.abs(whole) @ matrix)
    assert phi.values.shape[1] == points
    np.testing.assert_allclose(host(phi.values), applied, rtol=0, atol=slack)
    assert np.max(np.abs(applied)) > 100 * slack


@pytest.mark.parametrize("sketch", FAMILIES, ids=NAMES)
def test_features_of_every_family_are_sketches_of_whole_gradients(library, sketch):
    assert_features_are_sketches_of_gradients(mlp(library), inputs(library, 5), sketch, 5)


class Tokens:
    """A small transformer-like network: a table, packed projections, convolution and norm."""

    @staticmethod
    def net():
        torch = pytest.importorskip("torch")
        from torch import nn

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.table = nn.Embedding(7, 6)
                self.conv = nn.Conv1d(6, 5, 3, padding=1)
                self.norm = nn.LayerNorm(5)
                self.mix = nn.Linear(5, 4)
                self.head = nn.Linear(4, 2)

            def forward(self, ids):
                x = self.conv(self.table(ids).mT).mT
                return self.head(torch.tanh(self.mix(self.norm(x))).mean(1))

        torch.manual_seed(0)
        return Net().eval(), torch.randint(0, 7, (4, 3))


@pytest.mark.parametrize("sketch", FAMILIES, ids=NAMES)
def test_layers_with_several_positions_tables_and_norms_are_sketched_alike(sketch):
    net, ids = Tokens.net()
    assert_features_are_sketches_of_gradients(dntk.as_model(net), ids, sketch, 4)


def factored(n=3, t=2, b=30, a=40, q=2, offset=0, transposed=False):
    rng = np.random.default_rng(0)
    return FactoredBlock(
        name="w",
        offset=offset,
        inputs=rng.normal(size=(n, t, a)),
        cotangents=rng.normal(size=(q, n, t, b)),
        transposed=transposed,
    )


@pytest.mark.parametrize("kind", [TensorSketch(16), Kronecker(4, 4), Mixed(16, 5)], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_factored_blocks_equal_their_expansion(kind, transposed, packed):
    block = factored(offset=120 if packed else 0, transposed=transposed)
    width = 30 if transposed else 40
    sketch = kind.bound(layout_of_shapes({"w": ((120 if packed else 0) // width + (40 if transposed else 30), width)}))
    expected = sketch.columns(block.dense().reshape(6, -1), block.offset).reshape(2, 3, 16)
    np.testing.assert_allclose(sketch_block(sketch, block), expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(block_by_pieces(sketch, block), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    "kind", [TensorSketch(16), Kronecker(4, 4), Mask(16), Mixed(16, 5)], ids=lambda s: type(s).__name__
)
@pytest.mark.parametrize("transposed", [False, True])
def test_a_bias_in_the_block_of_its_weight_is_sketched_as_its_own_parameter(kind, transposed):
    block = dataclasses.replace(factored(transposed=transposed), bias=True)
    shape = (40, 30) if transposed else (30, 40)
    layout = layout_of_shapes({"w": shape, "b": (30,)})
    sketch = kind.bound(layout) if hasattr(kind, "bound") else dataclasses.replace(kind, n_parameters=1230)
    expected = sketch.columns(block.dense().reshape(6, -1), 0).reshape(2, 3, 16)
    np.testing.assert_allclose(sketch_blocks(sketch, [block]), expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(sketch_block(sketch, block), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("kind", [TensorSketch(16), Kronecker(4, 4), Mixed(16, 5)], ids=lambda s: type(s).__name__)
def test_blocks_of_other_shapes_than_their_parameter_are_expanded(kind):
    block = factored()
    sketch = kind.bound(layout_of_shapes({"w": (20, 60)}))
    expected = sketch.columns(block.dense().reshape(6, -1), 0).reshape(2, 3, 16)
    np.testing.assert_allclose(sketch_block(sketch, block), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("entries", [1, 50, 2**24])
@pytest.mark.parametrize("kind", ["tensor_sketch", "mask", "mixed"])
def test_slabs_of_inputs_do_not_change_a_contribution(monkeypatch, kind, entries):
    block = factored(n=5)
    layout = layout_of_shapes({"w": (30, 40)})
    bound = {"tensor_sketch": TensorSketch(16), "mixed": Mixed(16, 5)}
    sketch = bound[kind].bound(layout) if kind in bound else Mask(16, n_parameters=1200)
    expected = sketch_block(sketch, block)
    if kind == "mixed":
        set_working_set(monkeypatch, NUMPY, entries)
    else:
        monkeypatch.setattr(f"dntk.sketch.{kind}.CHUNK_ENTRIES", entries)
    np.testing.assert_allclose(sketch_block(sketch, block), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("held", [1, 2**24])
@pytest.mark.parametrize("entries", [1, 50, 2**24])
@pytest.mark.parametrize("t", [1, 60], ids=["factors are smaller", "gradients are smaller"])
@pytest.mark.parametrize("kind", [Mixed(64, 64), SparseSign(64, nonzeros=2)], ids=lambda s: type(s).__name__)
def test_coordinates_that_wait_to_be_hashed_are_those_of_every_input(monkeypatch, kind, t, entries, held):
    """Slab by slab of inputs, and piece by piece of two layers and a bias."""
    set_working_set(monkeypatch, NUMPY, entries)
    monkeypatch.setattr("dntk.sketch.slabs.CHUNK_ENTRIES", held)
    layout = layout_of_shapes({"w1": (30, 40), "w2": (30, 40), "b": (30,)})
    first = factored(n=5, t=t)
    second = dataclasses.replace(factored(n=5, t=t, offset=1200), cotangents=2 * first.cotangents, bias=True)
    sketch = kind.bound(layout) if hasattr(kind, "bound") else dataclasses.replace(kind, n_parameters=2430)
    dense = np.concatenate([first.dense(), second.dense()], axis=2)
    expected = sketch.columns(dense.reshape(10, -1), 0).reshape(2, 5, 64)
    np.testing.assert_allclose(sketch_blocks(sketch, [first, second]), expected, rtol=0, atol=1e-10)
    together = DenseBlock(name="both layers", offset=0, values=dense)
    np.testing.assert_allclose(sketch_blocks(sketch, [together]), expected, rtol=0, atol=1e-10)


def flops_of(action):
    recorder = LedgerRecorder()
    with recorder.stage("it"):
        action()
    return recorder.ledger()["it"].flops


@pytest.mark.parametrize(("t", "b", "a"), [(1, 80, 90), (50, 3, 4)])
def test_tensor_sketch_takes_the_way_with_fewer_operations(monkeypatch, t, b, a):
    block = factored(t=t, b=b, a=a)
    sketch = TensorSketch(16).bound(layout_of_shapes({"w": (b, a)}))
    found = {}
    for cheaper in (True, False):
        with monkeypatch.context() as patch:
            patch.setattr(TensorSketch, "_transforms_are_cheaper", lambda *_, cheaper=cheaper: cheaper)
            found[cheaper] = flops_of(lambda: sketch.block(block)), sketch.block(block)
    np.testing.assert_allclose(found[True][1], found[False][1], rtol=0, atol=1e-10)
    assert (found[True][0] < found[False][0]) == (t == 1)
    assert flops_of(lambda: sketch.block(block)) == min(found[True][0], found[False][0])


def test_layers_share_one_inverse_transform(monkeypatch):
    layout = layout_of_shapes({"w1": (80, 90), "w2": (80, 90), "b": (5,)})
    blocks = [factored(t=1, b=80, a=90), factored(t=1, b=80, a=90, offset=7200)]
    sketch = TensorSketch(16).bound(layout)
    expected = sketch_block(sketch, blocks[0]) + sketch_block(sketch, blocks[1])
    inverse, calls = np.fft.irfft, []
    monkeypatch.setattr("array_api_compat.numpy.fft.irfft", lambda *a, **k: calls.append(1) or inverse(*a, **k))
    np.testing.assert_allclose(sketch_blocks(sketch, blocks), expected, rtol=0, atol=1e-11)
    assert len(calls) == 1


def test_kronecker_mixed_and_mask_never_expand_a_factored_gradient(monkeypatch):
    block = factored()
    monkeypatch.setattr(FactoredBlock, "chunks", lambda *_: pytest.fail("expanded"))
    sketch_block(Kronecker(4, 4).bound(layout_of_shapes({"w": (30, 40)})), block)
    sketch_block(Mixed(16, 5).bound(layout_of_shapes({"w": (30, 40)})), block)
    sketch_block(Mask(16, n_parameters=1200), block)


@pytest.mark.parametrize("entries", [1, 200, 2**24])
def test_coordinates_hashed_together_are_those_of_their_layers(monkeypatch, entries):
    layout = layout_of_shapes({"w1": (30, 40), "w2": (30, 40), "b": (5,)})
    rng = np.random.default_rng(1)
    bias = DenseBlock(name="b", offset=2400, values=rng.normal(size=(2, 3, 5)))
    blocks = [factored(), bias, factored(offset=1200)]
    sketch = Mixed(16, 5, widths=(("w2", 40),)).bound(layout)
    expected = sum(sketch.columns(b.dense().reshape(6, -1), b.offset) for b in blocks).reshape(2, 3, 16)
    monkeypatch.setattr("dntk.sketch.mixed.CHUNK_ENTRIES", entries)
    np.testing.assert_allclose(sketch_blocks(sketch, blocks), expected, rtol=0, atol=1e-11)


def test_tables_are_sketched_row_by_row():
    rng = np.random.default_rng(0)
    block = IndexedBlock(
        name="t", offset=3, ids=rng.integers(0, 7, size=(4, 2)), cotangents=rng.normal(size=(2, 4, 2, 5)), rows=7
    )
    layout = layout_of_shapes({"b": (3,), "t": (7, 5)})
    kinds = TensorSketch(8), Kronecker(2, 4), Mixed(8, 3), Mixed(7, 3), Mixed(8, 5)
    for sketch in (*(kind.bound(layout) for kind in kinds), Mask(8, n_parameters=38)):
        expected = sketch.columns(block.dense().reshape(8, -1), 3).reshape(2, 4, sketch.dim)
        np.testing.assert_allclose(sketch_block(sketch, block), expected, rtol=0, atol=1e-12)


@dataclasses.dataclass(frozen=True)
class FirstCoordinates:
    """A sketch of somebody else: the members of ``Sketch`` and nothing more."""

    dim: int
    seed: int = 0
    n_parameters: int | None = None

    def apply(self, gradients):
        return gradients[..., : self.dim]

    def adjoint(self, z, *, n_parameters=None):
        size = n_parameters or self.n_parameters
        return np.concatenate([z, np.zeros((*z.shape[:-1], size - self.dim))], axis=-1)

    def columns(self, values, start):
        out = np.zeros((values.shape[0], self.dim), dtype=values.dtype)
        kept = max(0, min(self.dim - start, values.shape[1]))
        out[:, start : start + kept] = values[:, :kept]
        return out

    def chunk_width(self, rows):
        return max(1, 50 // rows)


def test_a_sketch_with_columns_alone_is_enough():
    model, x = mlp(NUMPY), inputs(NUMPY, 4)
    phi = dntk.tangent_features(model, x, sketch=FirstCoordinates(20))
    whole = dntk.tangent_features(model, x, sketch=None).values
    np.testing.assert_allclose(phi.values, whole[..., :20], rtol=0, atol=1e-6)
    assert phi.sketch.n_parameters == model.n_parameters


@pytest.mark.parametrize("sketch", FAMILIES, ids=NAMES)
def test_every_family_is_stored_and_predicts_with_its_adjoint(sketch, tmp_path):
    est = dntk.DistilledNTK(mlp(NUMPY), data=None, sketch=sketch).fit(inputs(NUMPY))
    # ⟨w, Sφ⟩ = ⟨Sᵀw, φ⟩: the adjoint of the bound sketch predicts what the features do.
    query = inputs(NUMPY, 5, seed=3)
    state = est.state
    phi = dntk.tangent_features(est.model, query, sketch=state.sketch).values
    expected = np.einsum("cnk,ck->nc", phi, state.weights)
    scale = np.max(np.abs(phi)) * np.max(np.sum(np.abs(state.weights), axis=1))
    np.testing.assert_allclose(est.predict(query), expected, rtol=0, atol=200 * 2**-23 * max(1, scale))
    est.save(tmp_path / "est")
    back = dntk.load(tmp_path / "est")
    assert back.state.sketch == state.sketch
    np.testing.assert_array_equal(back.predict(query), est.predict(query))


@pytest.mark.parametrize("sketch", FAMILIES, ids=NAMES)
def test_features_stream(monkeypatch, sketch):
    """Neither n × P nor P × k numbers ever exist: the peak is that of a batch's features, its blocks and a chunk."""
    for module in ("gaussian", "kronecker", "mask", "mixed", "rademacher", "sparse_sign", "srht", "tensor_sketch"):
        monkeypatch.setattr(f"dntk.sketch.{module}.CHUNK_ENTRIES", 2**17)
    monkeypatch.setattr("dntk.sketch.slabs.PIECES", 1)
    model, x = mlp(NUMPY, (100, 300, 200, 3)), inputs(NUMPY, 64, 100)
    sketch = dataclasses.replace(sketch, seed=2)
    with dntk.checking(False):
        tracemalloc.start()
        dntk.tangent_features(model, x, sketch=sketch, batch_size=8)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert model.n_parameters > 91_000
    assert peak < 5e6 < min(4 * model.n_parameters * 24, 64 * 4 * model.n_parameters)


def test_features_of_another_network_are_refused():
    first, second = mlp(NUMPY, (6, 10, 3)), mlp(NUMPY, (6, 3, 9, 3))
    bound = dntk.tangent_features(first, inputs(NUMPY, 2), sketch=TensorSketch(8)).sketch
    with pytest.raises(ValueError, match=r"bound to 103 parameters, but the model has 87"):
        dntk.tangent_features(second, inputs(NUMPY, 2), sketch=bound)
    with pytest.raises(ValueError, match="bound to the parameters of another model"):
        dntk.tangent_features(
            first.subset(".*"), inputs(NUMPY, 2), sketch=TensorSketch(8).bound(layout_of_shapes({"all": (103,)}))
        )
