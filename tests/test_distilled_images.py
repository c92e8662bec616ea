"""Distillation of images with PyTorch and JAX networks, with augmentation and statistics."""

import numpy as np
import pytest

import dntk
from dntk.distill.data import Augmentation, KernelInducing, TangentResidual, Wasserstein

pytestmark = pytest.mark.usefixtures("compiled_quickly")
MILD = Augmentation(area=(0.8, 1.0), flip=0.0, shift=0.2)


def torch_case():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1),
        torch.nn.BatchNorm2d(4),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(100, 3),
    )
    x = torch.rand(45, 1, 5, 5)
    net(x)
    return dntk.as_model(net.eval()), x, torch.arange(45) % 3, None


def jax_case():
    jnp, nnx = pytest.importorskip("jax.numpy"), pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self):
            rngs = nnx.Rngs(0)
            self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
            self.norm = nnx.LayerNorm(4, rngs=rngs)
            self.head = nnx.Linear(100, 3, rngs=rngs)

        def __call__(self, x):
            x = nnx.relu(self.norm(self.conv(x)))
            return self.head(x.reshape(x.shape[0], -1))

    net = Net()
    net.eval()
    x = jnp.asarray(np.random.default_rng(0).random((45, 5, 5, 1)), jnp.float32)
    return dntk.as_model(net), x, jnp.arange(45) % 3, ("norm",)


@pytest.mark.parametrize("case", [torch_case, jax_case])
def test_features_and_statistics_of_images_come_near_those_of_their_class(case):
    model, x, y, names = case()
    last = case is jax_case
    augmentation = Augmentation(area=(0.8, 1.0), flip=0.0, shift=0.2, channels_last=last)
    objective = Wasserstein(
        2, steps=20, learning_rate=0.1, statistics=names, augmentation=augmentation, limits=(0.0, 1.0)
    )
    data = objective.distill(model, x, y)
    assert data.x.shape == (6, *x.shape[1:])
    assert float(data.x.min()) >= 0
    assert float(data.x.max()) <= 1
    first, best = data.history["plain_loss"]
    assert best < first
    assert data.step == 20
    assert min(data.history["statistics"]) > 0


def test_tangents_of_images_are_distilled_within_their_range():
    model, x, y, _ = torch_case()
    for objective in (TangentResidual(5, steps=4, limits=(0.0, 1.0)), KernelInducing(2, steps=4, limits=(0.0, 1.0))):
        data = objective.distill(model, x, y)
        judged = data.history.get("residual", data.history.get("held_out_loss"))
        assert min(judged) < judged[0]
        assert float(data.x.min()) >= 0
        assert float(data.x.max()) <= 1


@pytest.mark.usefixtures("unchecked")
def test_images_without_range_token_ids_and_augmented_vectors_are_refused():
    torch = pytest.importorskip("torch")
    model, x, y, _ = torch_case()
    for objective in (TangentResidual(5), KernelInducing(2), Wasserstein(2)):
        with pytest.raises(ValueError, match="`limits` is missing"):
            objective.distill(model, x, y)
    from tests.torch_networks import Text

    text = dntk.as_model(Text().eval())
    with pytest.raises(TypeError, match="embeddings can"):
        TangentResidual(2).distill(text, torch.zeros(9, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="no layer 'pool'"):
        Wasserstein(2, limits=(0.0, 1.0), features="pool").distill(model, x, y)
    with pytest.raises(ValueError, match="needs images"):
        MILD.maps(x.flatten(1), seed=0, step=0)
    with pytest.raises(ValueError, match="`area`"):
        Augmentation(area=(0.5, 0.1))
    with pytest.raises(ValueError, match="`flip`"):
        Augmentation(flip=2.0)
