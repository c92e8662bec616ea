"""Batches whose first texts are masked throughout, so that nothing has a gradient there."""

import pytest

import dntk

torch = pytest.importorskip("torch")
_testing = pytest.importorskip("dntk_torch._testing")
VOCABULARY, WIDTH, CLASSES = 20, 8, 3


class Texts(torch.nn.Module):
    """A mean over what is not masked, without any bias."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(VOCABULARY, WIDTH)
        self.hidden = torch.nn.Linear(WIDTH, WIDTH, bias=False)
        self.last = torch.nn.Linear(WIDTH, CLASSES, bias=False)

    def forward(self, input_ids, attention_mask):
        mask = attention_mask[..., None].to(self.last.weight.dtype)
        tokens = torch.tanh(self.hidden(self.embedding(input_ids))) * mask
        return self.last(tokens.sum(1) / mask.sum(1).clamp(min=1))


class Rounding(Texts):
    def forward(self, input_ids, attention_mask):
        return torch.round(super().forward(input_ids, attention_mask))


def batch(hidden, dtype):
    generator = torch.Generator().manual_seed(0)
    mask = torch.ones(10, 5, dtype=dtype)
    mask[:hidden] = 0
    return {"input_ids": torch.randint(VOCABULARY, (10, 5), generator=generator), "attention_mask": mask}


def network(kind=Texts):
    torch.manual_seed(0)
    return kind().eval()


def exact(net, x):
    """K̄ by a backward pass per input and output."""
    outputs, rows = net(**x), []
    for i in range(len(outputs)):
        for c in range(CLASSES):
            grads = torch.autograd.grad(outputs[i, c], list(net.parameters()), retain_graph=True)
            rows.append(torch.cat([grad.flatten() for grad in grads]))
    jacobian = torch.stack(rows).reshape(len(outputs), CLASSES, -1)
    return torch.einsum("icp,jcp->ij", jacobian, jacobian) / CLASSES


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float32])
@pytest.mark.parametrize("hidden", [4, 9, 10])
def test_texts_that_are_masked_throughout_have_a_kernel_of_zeros(dtype, hidden):
    net, x = network(), batch(hidden, dtype)
    kernel, expected = dntk.ntk(dntk.as_model(net), x), exact(net, x)
    assert torch.all(kernel[:hidden, :] == 0)
    torch.testing.assert_close(kernel, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()) + 1e-30)


def test_what_the_first_inputs_hide_is_verified_at_others(monkeypatch):
    """Where everything is zero a wrong way would pass."""
    tests, first = [], _testing.Test.first.__func__
    monkeypatch.setattr(_testing.Test, "first", classmethod(lambda *given: tests.append(first(*given)) or tests[-1]))
    model, x = dntk.as_model(network()), batch(4, torch.int64)
    list(model.gradient_blocks(x, torch.eye(CLASSES)))
    model.jvp(x, torch.ones(1, model.n_parameters))
    assert [test.untold for _, test in tests] == [frozenset(), frozenset()]
    assert all(torch.any(few["attention_mask"]) for few, _ in tests)


def test_products_of_inputs_without_gradient_are_looked_at_again(monkeypatch):
    tests, first = [], _testing.Test.first.__func__
    monkeypatch.setattr(_testing.Test, "first", classmethod(lambda *given: tests.append(first(*given)) or tests[-1]))
    model = dntk.as_model(network())
    for hidden in (10, 10, 0, 10, 0):
        model.jvp(batch(hidden, torch.int64), torch.ones(1, model.n_parameters))
    assert [bool(test.untold) for _, test in tests] == [True, True, False]


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
@pytest.mark.parametrize("hidden", [0, 4, 10])
def test_networks_that_round_are_refused_still(hidden, dtype):
    with pytest.raises(ValueError, match="carry no gradient of any parameter"):
        dntk.ntk(dntk.as_model(network(Rounding)), batch(hidden, dtype))
