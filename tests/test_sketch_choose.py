"""The choice of a sketch: its error against the measured one, its costs, and what it says."""

import dataclasses

import numpy as np
import pytest

import dntk
from dntk.sketch import Kronecker, Mask, Mixed, SketchPlan, SparseSign, TensorSketch, automatic, choose, layout_of
from dntk.sketch.choice import cheapest, deviations
from dntk.sketch.concentration import _extrapolated, probe
from tests.libraries import Library, host
from tests.networks import inputs, mlp

NUMPY = Library("numpy", "numpy")
torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402


def convolutional(widths=(3, 24, 40), outputs=3, seed=0):
    torch.manual_seed(seed)
    layers = []
    for i, o in zip(widths[:-1], widths[1:], strict=True):
        layers += [nn.Conv2d(i, o, 3, padding=1), nn.ReLU()]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], outputs))
    return dntk.as_model(net.double().eval()), torch.randn(6, widths[0], 6, 6, dtype=torch.float64)


def measured(model, x, sketch, seeds):
    exact = host(dntk.ntk(model, x))
    found = [
        host(dntk.tangent_features(model, x, sketch=dataclasses.replace(sketch, seed=s)).kernel()) for s in range(seeds)
    ]
    return np.array([np.linalg.norm(k - exact) / np.linalg.norm(exact) for k in found])


def test_expected_error_bounds_the_measured_one():
    """Mean square over 25 seeds against the bound on its expectation, with five standard errors of slack."""
    model, x = convolutional()
    for settings in ({"error": 0.3}, {"error": 0.15, "confidence": 0.9}):
        plan = choose(model, x, n=6, **settings)
        squares = measured(model, x, plan.sketch, 25) ** 2
        slack = 5 * np.std(squares) / 5
        assert np.mean(squares) <= plan.expected_error**2 + slack
        # The bound is no excuse for a sketch much larger than needed: powers of two cost a factor of two at most.
        assert plan.expected_error <= settings["error"]
        assert np.sum(squares <= settings["error"] ** 2) >= 25 * settings.get("confidence", 0.95) - 8


def test_reduced_layers_carry_the_variance_that_is_computed():
    """One reduced layer and k so large that little meets: the error is about 2Σ‖X_iᵀX_j‖²/m."""
    model, x = convolutional(widths=(3, 20))
    seen = probe(model, x, "each", 6)
    layer = seen.layers[0]
    assert layer.name == "0.weight"
    sketch = Mixed(2**12, inner=8, widths=(("4.weight", 20),))
    squares = measured(model, x, sketch, 49) ** 2
    bound = 2 * layer.spread / 8
    assert np.mean(squares) <= bound + 5 * np.std(squares) / 7
    assert np.mean(squares) >= bound / 4


def test_spread_is_that_of_the_expanded_matrices():
    model, x = convolutional(widths=(3, 5, 7))
    seen = probe(model, x, "each", 6)
    dense = host(dntk.tangent_features(model, x, sketch=None).values)
    kernel = np.linalg.norm(np.mean(dense @ dense.transpose(0, 2, 1), axis=0)) ** 2
    for matrix in layout_of(model):
        layer = next(one for one in seen.layers if one.name == matrix.name)
        if layer.positions == 0:
            continue
        mats = dense[:, :, matrix.offset : matrix.stop].reshape(3, 6, matrix.rows, matrix.columns)
        products = np.einsum("cira,cjrb->cijab", mats, mats)
        assert layer.spread == pytest.approx(np.sum(products**2) / 3 / kernel, rel=1e-9)
        own = np.einsum("ciiab->ci", products**2) / np.sum(mats**2, axis=(2, 3)) ** 2
        assert layer.rho == pytest.approx(np.mean(own), rel=1e-9)
        assert layer.share == pytest.approx(np.sum(mats**2) / np.sum(dense**2), rel=1e-9)
    norms = np.sum(dense**2, axis=2)
    assert seen.norms == pytest.approx(np.mean(np.sum(norms, axis=1) ** 2) / kernel, rel=1e-9)
    assert seen.kernel == pytest.approx(np.sum((dense @ dense.transpose(0, 2, 1)) ** 2) / 3 / kernel, rel=1e-9)


def test_tables_are_probed_by_their_rows():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(9, 20), nn.Flatten(), nn.Linear(60, 2)).double().eval()
    ids = torch.tensor([[0, 1, 1], [2, 3, 1], [8, 8, 8]])
    model = dntk.as_model(net)
    model(ids)
    layer = next(one for one in probe(model, ids, "each", 3).layers if one.name == "0.weight")
    dense = host(dntk.tangent_features(model, ids, sketch=None).values)[:, :, :180].reshape(2, 3, 9, 20)
    own = np.einsum("cira,cirb->ciab", dense, dense)
    assert layer.rho == pytest.approx(np.mean(np.sum(own**2, (2, 3)) / np.sum(dense**2, (2, 3)) ** 2), rel=1e-9)


def test_parts_of_one_matrix_are_one_layer():
    torch.manual_seed(0)

    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.MultiheadAttention(20, 2, batch_first=True)
            self.head = nn.Linear(20, 2)

        def forward(self, x):
            return self.head(self.mix(x, x, x, need_weights=False)[0].mean(1))

    model, x = dntk.as_model(Attention().double().eval()), torch.randn(4, 5, 20, dtype=torch.float64)
    model(x)
    layers = probe(model, x, "each", 4).layers
    assert [layer.name for layer in layers].count("mix.in_proj_weight") == 1
    packed = next(layer for layer in layers if layer.name == "mix.in_proj_weight")
    assert (packed.rows, packed.columns) == (60, 20)
    matrix = next(m for m in layout_of(model) if m.name == "mix.in_proj_weight")
    whole = host(dntk.tangent_features(model, x, sketch=None).values)
    kernel = np.linalg.norm(np.mean(whole @ whole.transpose(0, 2, 1), axis=0)) ** 2
    mats = whole[:, :, matrix.offset : matrix.stop].reshape(2, 4, 60, 20)
    spread = np.sum(np.einsum("cira,cjrb->cijab", mats, mats) ** 2) / 2 / kernel
    assert spread * (1 - 1e-9) <= packed.spread <= 3 * spread * (1 + 1e-9)
    assert 0 < packed.rho <= 1


def test_sums_over_pairs_are_extrapolated_by_kind():
    pairs = np.array([[2.0, 1.0], [1.0, 4.0]])
    assert _extrapolated(pairs, 2) == 8
    assert _extrapolated(pairs, 10) == 10 * 3 + 90 * 1
    assert _extrapolated(np.array([[2.0]]), 3) == 18


def test_layers_where_much_is_lost_are_reduced_less():
    """The head has one position, ρ = 1, and a large share of the trace."""
    model, x = convolutional(widths=(3, 64, 64))
    plan = choose(model, x, n=10**6, error=0.2)
    assert isinstance(plan.sketch, Mixed)
    layers = {layer.probe.name: layer for layer in plan.layers}
    assert layers["6.weight"].width is None
    assert layers["2.weight"].width is not None
    assert plan.sketch.bound(layout_of(model)).width_of(layout_of(model)[2]) == layers["2.weight"].width
    tighter = choose(model, x, n=10**6, error=0.05)
    assert tighter.cost > plan.cost
    assert tighter.expected_error < 0.05


def test_the_widths_of_the_plan_are_those_of_its_sketch():
    model, x = convolutional(widths=(3, 30, 50, 20))
    for error in (0.4, 0.1, 0.03):
        plan = choose(model, x, n=10**6, error=error)
        if isinstance(plan.sketch, Mixed):
            bound = plan.sketch.bound(layout_of(model))
            found = {matrix.name: bound.width_of(matrix) for matrix in layout_of(model)}
            assert found == {layer.probe.name: layer.width for layer in plan.layers}


def test_wide_perceptrons_get_tensor_sketches():
    """One position a layer: nothing can be reduced, and transforms of the factors cost less than expansions."""
    model, x = mlp(NUMPY, (50, 2000, 2000, 5)), 1 + 0.1 * inputs(NUMPY, n=4, d=50)
    plan = choose(model, x, n=10**6)
    assert isinstance(plan.sketch, TensorSketch)
    assert plan.expected_error < 0.05


@pytest.mark.parametrize("error", [0.01, 0.05, 0.5])
def test_kronecker_and_masks_are_never_chosen(error):
    for model, x in (convolutional(), (mlp(NUMPY, (6, 60, 3)), inputs(NUMPY, n=4))):
        for n in (10, 10**6):
            assert not isinstance(choose(model, x, n=n, error=error).sketch, Kronecker | Mask)


def test_the_exact_kernel_of_few_inputs_is_cheaper():
    model, x = convolutional()
    plan = choose(model, x, n=6)
    assert plan.exact_is_cheaper
    assert "exact layer Grams are cheaper than a sketch" in repr(plan)
    assert not choose(model, x, n=10**7).exact_is_cheaper
    assert plan.exact_cost < plan.cost


def test_a_plan_says_why_layer_by_layer():
    model, x = convolutional(widths=(3, 64, 64))
    text = repr(choose(model, x, n=10**6, error=0.2))
    assert "error 0.2 at confidence 0.95 for n = 1,000,000 inputs" in text
    assert "2.weight (64 × 576, 36 positions): reduced to" in text
    assert "6.weight (3 × 64, 1 positions): whole, ρ = 1" in text


def test_without_inputs_the_kernel_is_taken_to_have_one_eigenvalue():
    model, x = convolutional()
    plan = choose(model, error=0.05, n=10**7)
    assert plan.sketch == SparseSign(4096)
    assert "no inputs given" in repr(plan)
    phi = dntk.tangent_features(model, x, sketch=plan)
    assert phi.dim == 4096
    assert isinstance(plan, SketchPlan)


def test_a_given_number_of_features_is_kept_or_refused():
    model, x = convolutional()
    assert choose(model, x, n=6, error=0.1, dim=5000).sketch.dim == 5000
    with pytest.raises(ValueError, match=r"`dim`=100 is too small for error=0.05 with confidence=0.95: pass at least"):
        choose(model, x, n=6, dim=100)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"n": 0}, "n"),
        ({"n": 5, "error": 0.0}, "error"),
        ({"n": 5, "confidence": 1.0}, "confidence"),
        ({"n": 5, "dim": 2.5}, "dim"),
        ({"n": 5, "points": 0}, "points"),
        ({"n": 5, "seed": -1}, "seed"),
    ],
)
def test_numbers_out_of_range_are_named(settings, name):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        choose(mlp(NUMPY), inputs(NUMPY), **settings)


def test_networks_without_a_kernel_have_no_plan():
    net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2, bias=False)).double().eval()
    with torch.no_grad():
        net[0].bias -= 100
    model = dntk.as_model(net)
    with pytest.raises(ValueError, match="the kernel is zero on the inputs looked at"):
        choose(model, torch.zeros(3, 4, dtype=torch.float64), n=5)


def test_a_perceptron_is_sketched_by_transforms_at_the_error_of_the_plain_sketch():
    """It costs the sum of a layer's sides, not their product; wider features make up for the larger variance."""
    model, x = mlp(NUMPY, (500, 300, 5)), inputs(NUMPY, n=8, d=500)
    plan = automatic(model, x, n=8)
    assert isinstance(plan.sketch, TensorSketch)
    assert 1024 < plan.sketch.dim <= 4096
    hashed = cheapest(model, x, n=8, dim=1024)
    assert plan.cost < hashed.cost / 3
    assert plan.expected_error**2 <= 2 * choose(model, x, n=8, dim=1024, error=0.99).expected_error ** 2
    found = measured(model, x, plan.sketch, 10)
    # Of ten seeds the mean square is below 2.5 of what is expected at 99.9%.
    assert np.mean(found**2) <= 2.5 * plan.expected_error**2
    # No more than are asked for, and never more than half as many as there are parameters.
    assert hashed.sketch.dim == 1024
    narrow = automatic(mlp(NUMPY, (60, 60, 5)), inputs(NUMPY, n=8, d=60), n=8)
    assert narrow is None or narrow.sketch.dim <= 60 * 66 / 2


def test_the_cheapest_sketch_of_a_size_is_little_worse_than_sparse_signs():
    for model, x in (convolutional(), (mlp(NUMPY, (6, 600, 3)), inputs(NUMPY, n=8))):
        plan = cheapest(model, x, n=8, dim=256, seed=3)
        plain = measured(model, x, SparseSign(256), 25)
        found = measured(model, x, plan.sketch, 25)
        assert plan.sketch.dim == 256
        # Twice the mean square at most; of 25 seeds each the ratio of mean squares is within a factor of 2.5 at 99.9%.
        assert np.mean(found**2) <= 2 * 2.5 * np.mean(plain**2)
        assert np.mean(found**2) <= 2.5 * plan.expected_error**2
        assert plan.error == pytest.approx(plan.expected_error * deviations(0.95))


def test_the_automatic_sketch_has_sixteen_features_a_point_where_memory_allows():
    model, x = mlp(NUMPY, (6, 6000, 3)), inputs(NUMPY, n=8)

    def dim(n, **settings):
        return automatic(model, x, n=n, **settings).sketch.dim

    assert [dim(n) for n in (200, 512, 10_000)] == [4096, 8192, 8192]
    feature = 200 * 3 * model.dtype.itemsize
    # What does not fit is halved, down to four features a point.
    assert dim(200, memory=4096 * feature) == 4096
    assert dim(200, memory=4096 * feature - 1) == 2048
    assert dim(200, memory=1) == 1024
    assert dim(200, memory=4096 * feature // 3, outputs="sum") == 4096
