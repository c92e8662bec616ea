"""The checks of backends and models accept those of dntk, and name what is wrong with broken ones."""

import dataclasses

import numpy as np
import pytest

import dntk
from dntk.backend import by_images, get_backend
from dntk.testing import CheckFailure, check_backend, check_model
from tests.places import place_of

# As users run them: run-time checks of shapes double the time.
pytestmark = pytest.mark.usefixtures("unchecked")

RNG = np.random.default_rng(0)
NET = dntk.MLP(
    weights=(RNG.normal(size=(4, 3)), RNG.normal(size=(2, 4))), biases=(RNG.normal(size=4), None), activation="tanh"
)
X = RNG.normal(size=(3, 3))


EVERY = {"identity", "round trip", "DLPack", "random draws", "sketches", "erf", "synchronize", "refusal", "kernels"}
EVERY |= {"working_set", "scatter_add", "triangular_solve", "inner", "gram", "expand", "paired"}


def outputs_at(theta):
    first, bias, second = theta[:12].reshape(4, 3), theta[12:16], theta[16:].reshape(2, 4)
    return np.tanh(X @ first.T + bias) @ second.T


def test_backends_of_dntk_pass_on_every_device(library):
    place = place_of(library)
    # Its arrays say over DLPack that they are on the CPU, on whatever device they pretend to be.
    exempt = {"DLPack"} if library.id == "strict-device1" else set()
    if library.module == "jax":  # every shape is compiled
        exempt = {"random draws", "triangular_solve", "inner", "gram", "expand", "kernels", "scatter_add"}
    check_backend(place.backend, device=place.device, examples=1 if library.module == "jax" else 6, exempt=exempt)


@pytest.mark.parametrize("operation", ["triangular_solve", "inner", "gram", "expand", "scatter_add"])
def test_products_of_jax_pass(operation):
    pytest.importorskip("jax")
    check_backend(get_backend("jax"), examples=1, exempt=EVERY - {operation})


def test_network_of_pytorch_is_checked_through_its_backend():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(1, 3, 2), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(12, 2)
    check_backend(
        get_backend("torch"), network=torch.nn.Sequential(*layers).eval(), x=torch.randn(3, 1, 3, 3), examples=2
    )


@dataclasses.dataclass(frozen=True)
class Spoilt:
    """The NumPy backend with one member replaced."""

    member: str
    replacement: object

    def __getattr__(self, name):
        if name == self.member:
            return self.replacement
        return getattr(get_backend("numpy"), name)


def rounded(x, y):
    return (x.astype(np.float16) if np.max(np.abs(x)) < 6e4 else x * (1 + 1e-4)) @ np.swapaxes(y, -1, -2)


def last_wins(updates, index, weights, size):
    out = np.zeros((size, updates.shape[1]), updates.dtype)
    for z in range(index.shape[1]):
        out[index[:, z]] += weights[:, z, None] * updates  # NumPy keeps one of repeated indices
    return out


def upper_only(factor, rhs, *, lower):
    return get_backend("numpy").triangular_solve(np.swapaxes(factor, -1, -2) if lower else factor, rhs, lower=False)


def lopsided(x):
    product = x @ np.swapaxes(x, -1, -2)
    product[..., 0, -1] *= 1 + 2 * np.finfo(x.dtype).eps
    return product


def swapped(cotangents, inputs):
    q, n = cotangents.shape[:2]
    return np.einsum("qitb,ita->qiab", cotangents, inputs).reshape(q, n, -1)


def narrowing(x, *, device=None):
    assert device is None
    return np.asarray(x, dtype=np.float32)


def cleaning(x, *, device=None):
    assert device is None
    return np.nan_to_num(x) if x.dtype.kind == "f" else x


def credulous(net, *_):
    return net


NUMPY = get_backend("numpy")
BROKEN = [
    ("devices", lambda: (), "identity"),
    ("version", None, "identity"),
    ("from_numpy", narrowing, "round trip"),
    ("from_numpy", cleaning, "round trip"),
    ("from_dlpack", lambda x: np.asarray(x, dtype=np.float64), "DLPack"),
    ("scatter_add", last_wins, "scatter_add"),
    ("triangular_solve", upper_only, "triangular_solve"),
    ("inner", rounded, "inner"),
    ("gram", lopsided, "gram"),
    ("expand", swapped, "expand"),
    ("erf", np.tanh, "erf"),
    ("working_set", lambda _: 0, "working_set"),
    ("as_model", credulous, "refusal"),
]


@pytest.mark.parametrize(("member", "replacement", "name"), BROKEN, ids=[f"{m}-{n}" for m, _, n in BROKEN])
def test_broken_backends_are_named_with_their_fault(member, replacement, name):
    with pytest.raises(CheckFailure, match=rf"backend 'numpy' .* violates [\s\S]*\n- {name}: "):
        check_backend(Spoilt(member, replacement), examples=10, exempt={"kernels", "random draws", "sketches"})


class Pairing(Spoilt):
    """The NumPy backend with a way to pair that takes the matrices of other functionals."""

    def paired(self, cotangents, matrices, inputs):
        return by_images(cotangents, matrices[::-1], inputs)


def test_a_wrong_way_to_pair_is_named():
    with pytest.raises(CheckFailure, match=r"violates 1 of 1 properties:\n- paired: "):
        check_backend(Pairing("nothing", None), examples=10, exempt=EVERY - {"paired"})


def test_draws_that_are_not_numpys_are_named(monkeypatch):
    monkeypatch.setattr("dntk.testing._backend_properties.philox_words", lambda xp, **_: xp.zeros(8))
    kept = {"identity", "random draws"}
    message = rf"violates 1 of {len(kept)} properties:\n- random draws: [\s\S]*words drawn on the device"
    with pytest.raises(CheckFailure, match=message):
        check_backend(NUMPY, examples=2, exempt=EVERY - kept)


def test_models_of_dntk_pass():
    check_model(NET, X, outputs_at=outputs_at, examples=4)


@dataclasses.dataclass(frozen=True)
class SpoiltModel:
    """The perceptron with one member replaced."""

    member: str
    replacement: object

    def __getattr__(self, name):
        if name == self.member:
            return self.replacement
        return getattr(NET, name)

    def __call__(self, x):
        return self.replacement(x) if self.member == "__call__" else NET(x)


def half_of_the_blocks(x, cotangents):
    return list(NET.gradient_blocks(x, cotangents))[:1]


def batch_means(x, cotangents):
    for block in NET.gradient_blocks(x, cotangents):
        yield (
            dataclasses.replace(block, inputs=block.inputs + block.inputs.mean(axis=0))
            if block.name == "weights.1"
            else block
        )


BROKEN_MODELS = [
    ("__call__", lambda x: NET(x)[:, :1], "outputs"),
    ("gradient_blocks", half_of_the_blocks, "coordinates"),
    ("gradient_blocks", batch_means, "single inputs"),
    ("jvp", lambda x, v: 1.001 * NET.jvp(x, v), "jvp"),
    ("jvp", lambda x, v: 1.001 * NET.jvp(x, v), "adjoint"),
    ("jvp", lambda x, v: 1.001 * NET.jvp(x, v), "finite differences"),
    ("vjp", lambda x, c: -NET.vjp(x, c), "vjp"),
    ("subset", lambda _: NET, "subset"),
]


@pytest.mark.parametrize(
    ("member", "replacement", "name"), BROKEN_MODELS, ids=[f"{m}-{n}" for m, _, n in BROKEN_MODELS]
)
def test_broken_models_are_named_with_their_fault(member, replacement, name):
    with pytest.raises(CheckFailure, match=rf"SpoiltModel violates [\s\S]*\n?- {name}: "):
        check_model(SpoiltModel(member, replacement), X, outputs_at=outputs_at, examples=4)
