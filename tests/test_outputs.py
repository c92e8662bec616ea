"""Margins, log-probabilities and losses as models, against complex steps through their definitions."""

import numpy as np
import pytest

import dntk
from dntk.models import batches
from tests.jacobians import complex_step_jacobian, float_of, points, random_network, tanh_model
from tests.libraries import Library, host

NUMPY = Library("numpy", "numpy")
N = 5
LABELS = [0, 2, 1, 1, 2]


def margin_of(f, y):
    """Log p_y − log Σ_{c≠y} p_c by its definition; one output is the logit of class 1."""
    f = f if len(f) > 1 else np.asarray([0, f[0]])
    return np.asarray([f[y] - np.log(np.sum(np.delete(np.exp(f), y)))])


def log_softmax_of(f, _):
    f = f if len(f) > 1 else np.asarray([0, f[0]])
    return f - np.log(np.sum(np.exp(f)))


def cross_entropy_of(f, y):
    return -log_softmax_of(f, y)[y : y + 1]


def squared_error_of(f, y):
    return np.sum((f - y) ** 2)[None]


def jacobian_of(function, f, y):
    """(C', C) by complex steps."""
    step = 1e-30
    moved = [f.astype(complex) + 1j * step * np.eye(len(f))[c] for c in range(len(f))]
    return np.stack([function(m, y).imag / step for m in moved], axis=-1)


CASES = {  # the model, its definition, labels of the inputs, and whether inputs carry them
    "margin of labels": (lambda m, _: dntk.outputs.margin(m), margin_of, "classes", True),
    "margin of one class": (lambda m, _: dntk.outputs.margin(m, 1), margin_of, "ones", False),
    "margin of the prediction": (lambda m, _: dntk.outputs.margin(m, "predicted"), margin_of, "predicted", False),
    "log-probabilities": (lambda m, _: dntk.outputs.log_softmax(m), log_softmax_of, "classes", False),
    "cross entropy of labels": (lambda m, _: dntk.outputs.loss(m), cross_entropy_of, "classes", True),
    "cross entropy of one class": (lambda m, _: dntk.outputs.loss(m, 1), cross_entropy_of, "ones", False),
    "squared error": (lambda m, _: dntk.outputs.loss(m), squared_error_of, "targets", True),
}


class Problem:
    """A transformed network with its values and Jacobian (C', n, P) in double precision."""

    def __init__(self, library, case, n_outputs, n=N):
        make, definition, kind, carried = CASES[case]
        weights, biases = random_network((3, 4, 3, n_outputs))
        x, dtype = points(n), float_of(library)
        outputs = tanh_model(NUMPY, weights, biases, np.float64)(x)
        y = self.labels(kind, outputs)
        jacobian = complex_step_jacobian(weights, biases, x)
        self.values = np.stack([definition(f, label) for f, label in zip(outputs, y, strict=True)])
        steps = np.stack([jacobian_of(definition, f, label) for f, label in zip(outputs, y, strict=True)])
        self.jacobian = np.einsum("ikc,cip->kip", steps, jacobian)
        self.base = tanh_model(library, weights, biases, dtype)
        self.model = make(self.base, None)
        self.plain = library.array(x, dtype)
        self.y = library.array(y, dtype if kind == "targets" else "i4")
        self.x = dntk.outputs.labelled(self.plain, self.y) if carried else self.plain
        self.library, self.dtype = library, dtype

    @staticmethod
    def labels(kind, outputs):
        n, c = outputs.shape
        if kind == "classes":
            return np.resize(LABELS, n) % max(2, c)
        if kind == "predicted":
            return np.argmax(outputs, axis=1) if c > 1 else (outputs[:, 0] > 0).astype(int)
        return np.ones(n, dtype=int) if kind == "ones" else points(n, c, seed=9)

    def array(self, values):
        return self.library.array(values, self.dtype)

    def assert_close(self, actual, expected):
        """Rounding of products with at most P terms of numbers up to the largest."""
        terms = self.jacobian.shape[2] * max(1.0, np.max(np.abs(self.jacobian)))
        atol = 16 * terms * np.finfo(self.dtype).eps * max(1.0, np.max(np.abs(expected)))
        assert host(actual).shape == expected.shape
        assert actual.dtype == self.base.dtype
        assert actual.device == self.base.device
        np.testing.assert_allclose(host(actual), expected, rtol=0, atol=atol)


@pytest.fixture(params=[3, 1], ids=["three outputs", "one output"])
def n_outputs(request):
    return request.param


@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_the_definition(library, case, n_outputs):
    p = Problem(library, case, n_outputs)
    assert p.model.n_outputs == p.values.shape[1]
    assert isinstance(p.model, dntk.Model)
    p.assert_close(p.model(p.x), p.values)
    blocks = dntk.tangent_features(p.model, p.x, sketch=None, batch_size=2)
    p.assert_close(blocks.values, p.jacobian)

    rng = np.random.default_rng(0)
    tangents, weights = rng.normal(size=(2, p.jacobian.shape[2])), rng.normal(size=p.values.shape)
    p.assert_close(p.model.jvp(p.x, p.array(tangents)), np.einsum("kip,qp->qik", p.jacobian, tangents))
    p.assert_close(p.model.vjp(p.x, p.array(weights)), np.einsum("kip,ik->p", p.jacobian, weights))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("outputs", ["mean", "each", "full", "sum", 0])
def test_kernels_and_operators_are_products_of_the_gradients(case, outputs):
    p = Problem(NUMPY, case, 3)
    full = np.einsum("kip,ljp->ijkl", p.jacobian, p.jacobian)
    each, c = np.moveaxis(np.diagonal(full, axis1=2, axis2=3), -1, 0), full.shape[2]
    expected = {"mean": np.mean(each, axis=0), "each": each, "full": full, "sum": np.sum(full, (2, 3)) / c, 0: each[0]}
    kernel = dntk.ntk(p.model, p.x, outputs=outputs, batch_size=2)
    p.assert_close(kernel, expected[outputs])

    op = dntk.NTKOperator(p.model, p.x, outputs, batch_size=2)
    dense, v = op.to_dense(), np.random.default_rng(1).normal(size=op.shape[:-1])
    p.assert_close(op @ v, (dense @ v[..., None])[..., 0])
    p.assert_close(op.diagonal(), np.diagonal(dense, axis1=-2, axis2=-1))


def test_both_sides_of_a_kernel_have_labels_of_their_own():
    p = Problem(NUMPY, "margin of labels", 3, n=7)
    left, right = batches.span(p.x, 0, 3), batches.span(p.x, 3, 7)
    between = dntk.ntk(p.model, left, right, batch_size=2)
    p.assert_close(between, (p.jacobian[0] @ p.jacobian[0].T)[:3, 3:])


def test_some_parameters_have_their_share_of_the_gradient():
    p = Problem(NUMPY, "cross entropy of labels", 3)
    part = dntk.as_model(p.model, parameters="biases.0")
    assert list(part.parameters) == ["biases.0"]
    p.assert_close(dntk.tangent_features(part, p.x, sketch=None).values, p.jacobian[:, :, 12:16])


def test_transforms_compose():
    p = Problem(NUMPY, "margin of labels", 3)
    twice = dntk.outputs.margin(dntk.outputs.log_softmax(p.base))
    p.assert_close(twice(p.x), p.values)
    p.assert_close(dntk.tangent_features(twice, p.x, sketch=None).values, p.jacobian)


def test_the_pipeline_runs_on_a_margin():
    p = Problem(NUMPY, "margin of the prediction", 3, n=12)
    estimator = dntk.DistilledNTK(p.model, sketch=None, ridge=1e-9).fit(p.plain)
    p.assert_close(estimator.kernel(p.plain), p.jacobian[0] @ p.jacobian[0].T)
    np.testing.assert_allclose(estimator.predict(p.plain), p.values, rtol=1e-4)


def test_networks_of_pytorch_agree_with_its_own_derivatives():
    torch = pytest.importorskip("torch")
    from torch.nn import functional

    from tests.torch_networks import Residual, one_thread

    torch.manual_seed(0)
    net = Residual().double().eval()
    x, y = torch.randn(4, 2, 6, 5, dtype=torch.float64), torch.tensor([0, 2, 1, 2])
    targets = torch.randn(4, 3, dtype=torch.float64)
    parameters = dict(net.named_parameters())

    def outputs(values):
        return torch.func.functional_call(net, values, (x,))

    def margins(values):
        p = functional.softmax(outputs(values), 1)[torch.arange(4), y]
        return (torch.log(p) - torch.log(1 - p))[:, None]

    cases = [
        (dntk.outputs.margin, y, margins),
        (dntk.outputs.loss, y, lambda v: functional.cross_entropy(outputs(v), y, reduction="none")[:, None]),
        (dntk.outputs.loss, targets, lambda v: ((outputs(v) - targets) ** 2).sum(1, keepdim=True)),
        (dntk.outputs.log_softmax, None, lambda v: functional.log_softmax(outputs(v), 1)),
    ]
    with one_thread():
        for make, labels, reference in cases:
            model = make(dntk.as_model(net))
            inputs = x if labels is None else dntk.outputs.labelled(x, labels)
            jacobian = torch.func.jacrev(reference)(parameters)
            expected = torch.cat([j.detach().flatten(2) for j in jacobian.values()], 2).permute(1, 0, 2)
            actual = dntk.tangent_features(model, inputs, sketch=None, batch_size=3).values
            scale = 64 * model.n_parameters * torch.finfo(torch.float64).eps * float(expected.abs().max())
            torch.testing.assert_close(actual, expected, rtol=0, atol=scale)


def linear(logits):
    """A network whose logits at input 1 are ``logits``, in single precision."""
    weight = np.asarray(logits, dtype=np.float32)[:, None]
    return dntk.MLP(weights=(weight,), biases=(None,)), np.ones((1, 1), dtype=np.float32)


@pytest.mark.parametrize("gap", [5.0, 20.0, 60.0])
def test_values_and_gradients_keep_relative_accuracy_where_a_class_is_certain(gap):
    network, x = linear([1.0, gap, 0.5])
    exact = np.asarray([1.0, gap, 0.5])
    odds = np.exp(exact - gap)
    odds[1] = 0.0
    rest = np.sum(odds)  # (1 − p_1)/p_1
    p = odds / (1 + rest)
    labelled = dntk.outputs.labelled(x, np.asarray([1]))
    tolerance = 4 * gap * np.finfo(np.float32).eps  # exp turns an absolute error of the exponent into a relative one

    def gradient(model, inputs):
        return dntk.tangent_features(model, inputs, sketch=None).values[:, 0, :]

    loss = dntk.outputs.loss(network)
    descent = np.asarray([[p[0], -rest / (1 + rest), p[2]]])
    np.testing.assert_allclose(loss(labelled), [[np.log1p(rest)]], rtol=tolerance)
    np.testing.assert_allclose(gradient(loss, labelled), descent, rtol=tolerance)
    pushed = loss.jvp(labelled, np.asarray([[1.0, 2.0, 5.0]], dtype=np.float32))
    np.testing.assert_allclose(pushed, [[[-p[0] + 3 * p[2]]]], rtol=4 * tolerance)

    margin = dntk.outputs.margin(network)
    np.testing.assert_allclose(margin(labelled), [[-np.log(rest)]], rtol=tolerance)
    np.testing.assert_allclose(gradient(margin, labelled), [[-odds[0] / rest, 1, -odds[2] / rest]], rtol=tolerance)
    certain = gradient(dntk.outputs.log_softmax(network), x)[1]
    np.testing.assert_allclose(certain, -descent[0], rtol=tolerance)


@pytest.mark.parametrize("logits", [[3e4, -3e4, 0.0], [1e38, -1e38, 0.0], [-3e4], [3e4], [2.0, 2.0, 2.0]])
@pytest.mark.parametrize("label", [0, 1])
def test_extreme_and_tied_logits_give_finite_values_and_gradients(logits, label):
    network, x = linear(logits)
    for model in (
        dntk.outputs.margin(network, label),
        dntk.outputs.loss(network, label),
        dntk.outputs.log_softmax(network),
    ):
        assert np.all(np.isfinite(model(x)))
        assert np.all(np.isfinite(dntk.tangent_features(model, x, sketch=None).values))


def test_labels_follow_spans_and_positions_of_their_inputs(library):
    x, y = library.array(np.arange(12.0).reshape(6, 2), "f4"), library.array([5, 4, 3, 2, 1, 0], "i4")
    inputs = dntk.outputs.labelled(x, y)
    assert len(inputs) == 6
    for part in (batches.span(inputs, 1, 3), inputs.take(library.array([1, 2], "i4"))):
        np.testing.assert_array_equal(host(part.x), [[2, 3], [4, 5]])
        np.testing.assert_array_equal(host(part.y), [4, 3])


def test_small_integers_label_many_classes():
    network, x = linear(np.linspace(0, 1, 300))
    inputs = dntk.outputs.labelled(x, np.asarray([20], dtype=np.uint8))  # 276 has the same eight bits
    expected = dntk.outputs.loss(network, 20)(x)
    np.testing.assert_array_equal(dntk.outputs.loss(network)(inputs), expected)
