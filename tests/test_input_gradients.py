"""Derivatives in the inputs, against finite differences and autodiff of the whole dense objective."""

import numpy as np
import pytest

import dntk
from dntk.distill.data.adam import Adam
from dntk.distill.data.pulling import pull_features
from dntk.models.input_gradients import InputDifferentiable, require_input_gradients
from tests.libraries import LIBRARIES, host
from tests.networks import inputs, mlp

NUMPY = LIBRARIES[0]
ACTIVATIONS = ["relu", "tanh", "gelu", "gelu_tanh", "logistic", "identity"]


def _central(function, x, step=1e-5):
    """Central differences of a number, error O(step² f''' + eps f / step)."""
    slope = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[place] += step
        down[place] -= step
        slope[place] = (function(up) - function(down)) / (2 * step)
    return slope


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("selected", [".*", "biases.*", r"weights\.0|biases\.2"])
def test_the_closed_form_of_a_perceptron_is_the_slope_of_its_jacobian_products(activation, selected):
    net = mlp(NUMPY, (5, 7, 6, 3), activation=activation, dtype="f8").subset(selected)
    rng, x = np.random.default_rng(0), inputs(NUMPY, 3, 5, dtype="f8")
    u, v = rng.normal(size=(2, 3)), rng.normal(size=(3, 2, net.n_parameters))

    def value(at):
        return sum(u[q] @ net.jvp(at[i : i + 1], v[i, q : q + 1])[0, 0] for i in range(3) for q in range(2))

    expected = _central(value, x)
    np.testing.assert_allclose(net.input_gradient(x, u, v), expected, atol=1e-7 * max(1, abs(expected).max()))


def test_input_gradients_are_the_same_on_every_library(library):
    rng, reference = np.random.default_rng(0), mlp(NUMPY, dtype="f8")
    u, v = rng.normal(size=(3, 3)), rng.normal(size=(4, 3, reference.n_parameters))
    expected = reference.input_gradient(inputs(NUMPY, 4, dtype="f8"), u, v)
    net = mlp(library)
    found = net.input_gradient(inputs(library, 4), library.array(u, "f4"), library.array(v, "f4"))
    assert abs(host(found) - expected).max() < 64 * 2.0**-23 * abs(expected).max() * net.n_parameters**0.5


def test_a_pulled_loss_of_outputs_and_layers_is_its_slope(library):
    net, x = mlp(library, (5, 7, 6, 3)), inputs(library, 4, 5)
    rng = np.random.default_rng(0)
    out, hidden = rng.normal(size=(4, 3)), rng.normal(size=(4, 6))
    seen = net.observe(x, ("weights.2",))
    found = seen.pull(library.array(out, "f4"), {"weights.2": library.array(hidden[:, None, :], "f4")})
    reference = mlp(NUMPY, (5, 7, 6, 3), dtype="f8")

    def value(at):
        inner = reference.observe(at, ("weights.2",))
        return (inner.outputs * out).sum() + (inner.inputs["weights.2"][:, 0] * hidden).sum()

    expected = _central(value, inputs(NUMPY, 4, 5, dtype="f8").astype("f8"))
    np.testing.assert_allclose(host(found), expected, atol=1e-5 * abs(expected).max())
    assert net.head(x) == "weights.2"


@pytest.mark.parametrize("sketch", [None, dntk.sketch.Gaussian(20), dntk.sketch.SparseSign(20)])
def test_the_gradient_of_features_is_that_of_the_whole_dense_objective(sketch):
    net, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, 3, dtype="f8")
    u = np.eye(3)
    phi = dntk.tangent_features(net, x, sketch=sketch)
    weights = np.random.default_rng(1).normal(size=phi.values.shape)
    expected = _central(lambda at: (dntk.tangent_features(net, at, sketch=sketch).values * weights).sum(), x)
    found = pull_features(net, x, phi, u, weights)
    np.testing.assert_allclose(found, expected, atol=1e-7 * abs(expected).max())


def test_chunks_of_points_have_their_own_derivatives(monkeypatch):
    net, x = mlp(NUMPY, dtype="f8"), inputs(NUMPY, 5, dtype="f8")
    phi = dntk.tangent_features(net, x, sketch=None)
    weights = np.random.default_rng(1).normal(size=phi.values.shape)
    whole = pull_features(net, x, phi, np.eye(3), weights)
    monkeypatch.setattr(
        "dntk.distill.data.pulling._DIRECTION_BYTES", 2 * 3 * net.n_parameters * 8
    )  # two points at a time
    found = pull_features(net, x, phi, np.eye(3), weights)
    np.testing.assert_allclose(found, whole, atol=1e-12 * abs(whole).max())


@pytest.mark.usefixtures("unchecked")
def test_inputs_that_have_no_gradient_are_refused():
    with pytest.raises(TypeError, match="embeddings can"):
        require_input_gradients(mlp(NUMPY), np.zeros((3, 6), dtype=int))
    with pytest.raises(ValueError, match="no layer is called"):
        mlp(NUMPY).observe(inputs(NUMPY), ("head",))

    with pytest.raises(TypeError, match="not differentiable in its inputs"):
        require_input_gradients(dntk.outputs.margin(mlp(NUMPY)), inputs(NUMPY))
    with pytest.raises(TypeError, match=r"`model` is a builtin_function_or_method: wrap the network first"):
        require_input_gradients(print, inputs(NUMPY))
    assert isinstance(mlp(NUMPY), InputDifferentiable)


RATE = 0.1
# Five steps of a tenth, on entries below 4: each step rounds the entry (4 ε) and its update (a few ε/10), ε = 1.2e-7.
ROUNDING = 5 * 5 * float(np.finfo("f4").eps)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9)])
def test_adam_is_that_of_pytorch(betas):
    torch = pytest.importorskip("torch")
    x, slopes = _walk()
    leaf = torch.tensor(x, requires_grad=True)
    direct = torch.optim.Adam([leaf], lr=RATE, betas=betas)
    for slope in slopes:
        leaf.grad = torch.tensor(slope)
        direct.step()
    for array in (np.asarray, torch.tensor):
        end = _after(Adam(decays=betas), array(x), [array(g) for g in slopes])
        np.testing.assert_allclose(np.asarray(end), leaf.detach().numpy(), atol=ROUNDING)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9)])
def test_adam_is_that_of_optax(betas):
    optax, jnp = pytest.importorskip("optax"), pytest.importorskip("jax.numpy")
    x, slopes = _walk()
    direct = optax.adam(RATE, b1=betas[0], b2=betas[1])
    moved, state = jnp.asarray(x), direct.init(jnp.asarray(x))
    for slope in slopes:
        update, state = direct.update(jnp.asarray(slope), state)
        moved = moved + update
    end = _after(Adam(decays=betas), jnp.asarray(x), [jnp.asarray(g) for g in slopes])
    # Optax forms 1 − β₂ᵗ in float32, to ε/2 of the one that it is taken from; the root of it halves the relative error.
    corrections = sum(float(np.finfo("f4").eps) / 2 / (1 - betas[1] ** t) for t in range(1, 6))
    np.testing.assert_allclose(np.asarray(end), np.asarray(moved), rtol=0, atol=ROUNDING + RATE * corrections)


def _walk():
    rng = np.random.default_rng(0)
    return rng.normal(size=4).astype("f4"), rng.normal(size=(5, 4)).astype("f4")


def _after(optimiser, x, slopes):
    state = optimiser.start(x)
    for number, slope in enumerate(slopes, start=1):
        x, state = optimiser.step(x, slope, state, learning_rate=RATE, number=number)
    return x
