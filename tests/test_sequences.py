"""Losses and log-likelihoods of language models, against complex steps through their definitions."""

import dataclasses

import numpy as np
import pytest

import dntk
from dntk.models.adapter import After, Followable, Following, followed
from dntk.outputs.token_labels import checked_labels
from dntk.outputs.tokens import OfEachToken, OfSequences
from tests.libraries import Library, host

V, WIDTH = 7, 3
RNG = np.random.default_rng(11)
TABLE, WEIGHTS = RNG.normal(size=(V, WIDTH)), RNG.normal(size=(WIDTH, V))
P = TABLE.size + WEIGHTS.size
LENGTHS = [5, 3, 4, 2]
IDS = [RNG.integers(0, V, size=length) for length in LENGTHS]
LABELS = [np.where(np.arange(len(ids)) == 2, -100, ids) for ids in IDS]  # one in the middle is not to be predicted

FUNCTIONS = {
    "loss": (dntk.outputs.sequence_loss, lambda log_p: [-np.sum(log_p) / len(log_p)]),
    "log-likelihood": (dntk.outputs.sequence_log_likelihood, lambda log_p: [np.sum(log_p)]),
    "tokens": (dntk.outputs.token_log_likelihoods, None),
}


def padded(rows, fill, length=5):
    return np.stack([np.concatenate([row, np.full(length - len(row), fill)]) for row in rows])


def batch(length=5, ids=0, **more):
    """Sequences padded with token ``ids``, which the mask hides."""
    mask = padded([np.ones(len(row)) for row in IDS], 0.0, length).astype("f4")
    return {"ids": padded(IDS, ids, length), "mask": mask, "labels": padded(LABELS, -100, length), **more}


def log_likelihoods(vector, ids, labels, *, causal):
    """log p of every label of one sequence by its definition; 0 where there is none."""
    table, weights = vector[: TABLE.size].reshape(TABLE.shape), vector[TABLE.size :].reshape(WEIGHTS.shape)
    logits = np.tanh(np.cumsum(table[ids], axis=0)) @ weights
    logits, labels = (logits[:-1], labels[1:]) if causal else (logits, labels)
    log_p = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
    return [log_p[t, y] if y != -100 else None for t, y in enumerate(labels)]


def expected(name, *, causal=True, length=5):
    """Values (n, c) and Jacobian (c, n, P)."""
    start, values, rows = np.concatenate([TABLE.ravel(), WEIGHTS.ravel()]), [], []
    for ids, labels in zip(IDS, LABELS, strict=True):

        def of(vector, ids=ids, labels=labels):
            found = log_likelihoods(vector, ids, labels, causal=causal)
            if name == "tokens":
                return np.asarray([0.0 if value is None else value for value in found])
            return np.asarray(FUNCTIONS[name][1]([value for value in found if value is not None]))

        moved = [of(start + 1e-30j * direction).imag / 1e-30 for direction in np.eye(P)]
        value, row = of(start), np.stack(moved, axis=-1)
        missing = (length - causal - len(value)) if name == "tokens" else 0
        values.append(np.pad(value, (0, missing)))
        rows.append(np.pad(row, ((0, missing), (0, 0))))
    return np.stack(values), np.stack(rows, axis=1)


def numpy_model():
    anp = pytest.importorskip("autograd.numpy")
    pushed = np.tril(np.ones((9, 9), "f4"))

    def network(params, x):
        rows = params["table"][x["ids"]] * x["mask"][..., None]
        length = x["ids"].shape[1]
        return anp.tanh(anp.einsum("ts,nsd->ntd", pushed[:length, :length], rows)) @ params["weights"]

    return dntk.as_model(network, {"table": TABLE.astype("f4"), "weights": WEIGHTS.astype("f4")})


def jax_model():
    jnp = pytest.importorskip("jax.numpy")

    def network(params, x):
        rows = params["table"][x["ids"]] * x["mask"][..., None]
        return {"logits": jnp.tanh(jnp.cumsum(rows, axis=1)) @ params["weights"]}

    params = {"table": jnp.asarray(TABLE, "float32"), "weights": jnp.asarray(WEIGHTS, "float32")}
    return dntk.as_model(network, params)


@dataclasses.dataclass
class Answer:
    logits: object


def torch_model(dtype="float32", forward=None):
    torch = pytest.importorskip("torch")

    class Head(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weights = torch.nn.Parameter(torch.tensor(WEIGHTS))

        def forward(self, x):
            return x @ self.weights

    class Decoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding.from_pretrained(torch.tensor(TABLE), freeze=False)
            self.head = Head()

        def forward(self, ids, mask):
            return Answer(self.head(torch.tanh(torch.cumsum(self.table(ids) * mask[..., None], 1))))

    return dntk.as_model(Decoder().to(getattr(torch, dtype)).eval(), forward=forward)


MODELS = {
    "numpy": (numpy_model, Library("numpy", "numpy")),
    "jax": (jax_model, Library("jax", "jax")),
    "torch": (torch_model, Library("torch", "torch")),
}
ROUNDING = 64 * P * np.finfo("f4").eps  # of products with at most P terms of entries near one


@pytest.fixture(params=MODELS)
def language_model(request):
    make, library = MODELS[request.param]
    model = make()
    return model, lambda x: {key: library.array(part) for key, part in x.items()}


@pytest.mark.usefixtures("compiled_quickly")
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients_are_those_of_the_definition(language_model, name, causal):
    network, arrays = language_model
    model, x = FUNCTIONS[name][0](network, causal=causal), arrays(batch())
    values, jacobian = expected(name, causal=causal)
    assert isinstance(model, dntk.Model)
    assert isinstance(model, dntk.outputs.SequenceModel)
    np.testing.assert_allclose(host(model(x)), values, atol=ROUNDING)
    assert model.n_outputs == values.shape[1]
    features = dntk.tangent_features(model, x, sketch=None, batch_size=3)
    np.testing.assert_allclose(host(features.values), jacobian, atol=ROUNDING)

    tangents, weights = RNG.normal(size=(2, P)).astype("f4"), RNG.normal(size=values.shape).astype("f4")
    as_array = model.namespace.asarray
    np.testing.assert_allclose(
        host(model.jvp(x, as_array(tangents))), np.einsum("cip,qp->qic", jacobian, tangents), atol=4 * ROUNDING
    )
    np.testing.assert_allclose(
        host(model.vjp(x, as_array(weights))), np.einsum("cip,ic->p", jacobian, weights), atol=4 * ROUNDING
    )


@pytest.mark.usefixtures("compiled_quickly")
def test_padding_changes_no_kernel(language_model):
    network, arrays = language_model
    short, long = arrays(batch()), arrays(batch(length=8, ids=3))
    model = dntk.outputs.sequence_loss(network)
    kernel = host(dntk.ntk(model, short))
    np.testing.assert_allclose(host(dntk.ntk(model, short, long)), kernel, rtol=1e-6, atol=1e-6 * kernel.max())


def test_padding_adds_tokens_without_gradients():
    arrays = lambda x: {key: Library("torch", "torch").array(part) for key, part in x.items()}  # noqa: E731
    short, long = arrays(batch()), arrays(batch(length=8, ids=3))
    tokens = dntk.outputs.token_log_likelihoods(torch_model())
    few, many = host(dntk.ntk(tokens, short, outputs="full")), host(dntk.ntk(tokens, long, outputs="full"))
    np.testing.assert_allclose(many[:, :, :4, :4], few, atol=1e-6 * few.max())
    assert not many[:, :, 4:, :].any()


def test_labels_come_as_a_part_of_a_mapping_or_beside_the_inputs():
    model = dntk.outputs.sequence_loss(torch_model())
    x = {key: Library("torch", "torch").array(part) for key, part in batch().items()}
    inputs = {"ids": x["ids"], "mask": x["mask"]}
    kernel = dntk.ntk(model, x)
    np.testing.assert_array_equal(host(dntk.ntk(model, dntk.outputs.labelled(inputs, x["labels"]))), host(kernel))
    own = torch_model(forward=lambda net, parts: net(parts[0], parts[1]).logits)
    beside = dntk.outputs.labelled((x["ids"], x["mask"]), x["labels"])
    np.testing.assert_array_equal(host(dntk.ntk(dntk.outputs.sequence_loss(own), beside)), host(kernel))


def collated(rows):
    ids, labels = zip(*rows, strict=True)
    length = max(map(len, ids))
    mask = padded([np.ones(len(row)) for row in ids], 0.0, length).astype("f4")
    return {"ids": padded(ids, 0, length), "mask": mask, "labels": padded(labels, -100, length)}


def test_sequences_of_several_lengths_are_fitted_from_a_source():
    model = dntk.outputs.sequence_log_likelihood(torch_model())
    source = dntk.points(list(zip(IDS, LABELS, strict=True)), collate=collated)
    fit = dntk.DistilledNTK(model, data=None, sketch=None, gradients=None, ridge=1e-3).fit(source)
    values, jacobian = expected("log-likelihood")
    kernel = jacobian[0] @ jacobian[0].T
    assert fit.predict(source).shape == values.shape
    np.testing.assert_allclose(host(fit.kernel(source)), kernel, atol=1e-5 * kernel.max())


def test_tokens_of_batches_of_several_lengths_are_refused():
    model = dntk.outputs.token_log_likelihoods(torch_model())
    source = dntk.points(list(zip(IDS, LABELS, strict=True)), collate=collated)
    for outputs in ("each", "full"):
        with pytest.raises(ValueError, match=r"has . predicted positions where another has 4, .* pad all sequences"):
            dntk.ntk(model, source, outputs=outputs, batch_size=2)


def test_some_parameters_have_their_share_of_the_gradient():
    model = dntk.as_model(dntk.outputs.sequence_loss(torch_model()), parameters="head.weights")
    x = {key: Library("torch", "torch").array(part) for key, part in batch().items()}
    values = dntk.tangent_features(model, x, sketch=None).values
    np.testing.assert_allclose(host(values), expected("loss")[1][:, :, TABLE.size :], atol=ROUNDING)


def test_networks_of_sixteen_bits_have_losses_in_single_precision():
    model = dntk.outputs.sequence_loss(torch_model("bfloat16"))
    x = {key: Library("torch", "torch").array(part) for key, part in batch().items()}
    x["mask"] = x["mask"].bfloat16()
    values = model(x)
    assert str(values.dtype) == "torch.float32"
    np.testing.assert_allclose(host(values), expected("loss")[0], rtol=0.05)


@pytest.mark.parametrize("after", [OfSequences(causal=True, mean=True, sign=-1), OfEachToken(causal=False)])
def test_the_functions_themselves_are_array_code(library, after):
    logits, labels = RNG.normal(size=(3, 4, V)), RNG.integers(0, V, size=(3, 4))
    labels[0, 1] = -100
    x = (None, library.array(labels, "i4"))
    own = library.array(logits, "f4")
    from dntk import arrays

    values = host(after.outputs(own, x, arrays.namespace(own)))
    reference, wanted = (logits[:, :-1], labels[:, 1:]) if after.causal else (logits, labels)
    log_p = reference - np.log(np.sum(np.exp(reference), axis=2, keepdims=True))
    counted = wanted != -100
    chosen = np.where(counted, np.take_along_axis(log_p, np.where(counted, wanted, 0)[..., None], 2)[..., 0], 0)
    mean = -(chosen.sum(1) / counted.sum(1))[:, None]
    np.testing.assert_allclose(values, mean if isinstance(after, OfSequences) else chosen, atol=1e-5)
    assert checked_labels(x, after, "x") is x[1]


def test_nearly_certain_tokens_keep_the_relative_accuracy_of_loss_and_gradient():
    torch = pytest.importorskip("torch")
    net = torch.nn.Embedding.from_pretrained(torch.tensor([[40.0, 0.0, 1.0], [0.0, 0.0, 0.0]]), freeze=False).eval()
    model = dntk.outputs.sequence_loss(dntk.as_model(net))
    x = dntk.outputs.labelled(torch.tensor([[0, 0]]), torch.tensor([[-100, 0]]))
    small = np.exp(-40.0) * (1 + np.e)
    np.testing.assert_allclose(float(model(x)[0, 0]), small, rtol=1e-5)
    gradient = dntk.tangent_features(model, x, sketch=None).values[0, 0, :3]
    np.testing.assert_allclose(host(gradient), np.exp(-40.0) * np.asarray([-(1 + np.e), 1, np.e]), rtol=1e-5)


REFUSED = {
    "has no labels: pass a mapping with the part 'labels'": (ValueError, {"labels": None}),
    r"`x1\['labels'\]` has dtype torch.float32: expected signed integers": (TypeError, lambda y: y.float()),
    r"`x1\['labels'\]` has shape \(4,\)": (ValueError, lambda y: y[:, 0]),
    r"`x1\['labels'\]` holds -1: expected token ids": (ValueError, lambda y: y.clamp(min=-1)),
    r"the labels of `x1` hold 7, but the network's logits are for tokens 0 to 6": (ValueError, lambda y: y.fill_(7)),
    r"sequence 0 has no label in `x1\['labels'\]` that is predicted": (ValueError, lambda y: y.fill_(-100)),
    r"the logits have shape \(\d, 5, 7\) and the labels \(\d, 4\)": (ValueError, lambda y: y[:, :4]),
}


@pytest.mark.parametrize("message", REFUSED)
def test_labels_that_mean_nothing_are_refused(message):
    error, change = REFUSED[message]
    x = {key: Library("torch", "torch").array(part) for key, part in batch().items()}
    model = dntk.outputs.sequence_loss(torch_model())
    if callable(change):
        x["labels"] = change(x["labels"].clone())
    else:
        del x["labels"]
    with pytest.raises(error, match=message):
        dntk.ntk(model, x)
    with pytest.raises(error):  # also where an input like it was seen before
        model.vjp(x, model.namespace.ones((4, 1)))


def test_labels_at_padding_are_refused():
    torch = pytest.importorskip("torch")

    class Masked(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table = torch.nn.Embedding(V, V)

        def forward(self, input_ids, attention_mask):
            return self.table(input_ids) * attention_mask[..., None]

    model = dntk.outputs.sequence_loss(dntk.as_model(Masked().eval()))
    ids, mask = torch.tensor([[1, 2, 3], [4, 5, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    with pytest.raises(ValueError, match=r"has tokens at 1 positions where `x1\['attention_mask'\]` is 0"):
        dntk.ntk(model, {"input_ids": ids, "attention_mask": mask, "labels": ids})
    labels = ids.masked_fill(mask == 0, -100)
    assert dntk.ntk(model, {"input_ids": ids, "attention_mask": mask, "labels": labels}).shape == (2, 2)


@pytest.mark.usefixtures("unchecked")
def test_an_answer_that_is_no_array_is_left_for_others_to_refuse():
    after = OfEachToken(causal=True)
    assert isinstance(after, After)
    assert isinstance(torch_model(), Followable)
    assert followed("words", {}, after, np) == "words"
    way = Following(None, after, np)
    with pytest.raises(ValueError, match="the network returns a tuple, not a tensor"):
        dntk.as_model(torch_model().module, forward=lambda *_: ())(dntk.outputs.labelled(*[torch_ids()] * 2))
    assert way(lambda ids: ("words", ids), (1, 2)) == ("words", 1)


def torch_ids():
    return Library("torch", "torch").array(padded(IDS, 0))


def test_networks_without_sequences_are_refused():
    with pytest.raises(TypeError, match="which has no sequences"):
        dntk.outputs.sequence_loss(dntk.MLP(weights=(np.ones((2, 3), "f4"),), biases=(None,)))
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match=r"the logits have shape \(2, 3\) and the labels \(2, 3\)"):
        dntk.ntk(
            dntk.outputs.sequence_loss(dntk.as_model(torch.nn.Linear(4, 3).eval())),
            dntk.outputs.labelled(torch.ones(2, 4), torch.ones((2, 3), dtype=torch.int64)),
        )
    with pytest.raises(ValueError, match="of a language model take dntk.outputs.sequence_loss"):
        dntk.ntk(dntk.as_model(torch.nn.Embedding(4, 3).eval()), torch.ones((2, 3), dtype=torch.int64))
