"""Batches of one image, whose channels become the last axis behind a batch norm: PyTorch's own gradients are wrong."""

import numpy as np
import pytest

import dntk
from tests.libraries import host

torch = pytest.importorskip("torch")
nn = torch.nn


class Rows(nn.Module):
    """A convolution, a batch norm, and rows of channels that weights of their own are multiplied into."""

    def __init__(self, axes):
        super().__init__()
        convolution, norm = ((nn.Conv2d, nn.BatchNorm2d), (nn.Conv3d, nn.BatchNorm3d))[axes - 2]
        self.convolution, self.norm = convolution(2, 4, 1), norm(4)
        self.rows = nn.Parameter(torch.randn(1, 3**axes, 4))
        self.head = nn.Linear(4, 2)
        with torch.no_grad():
            self.norm.weight.normal_()
            self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        return self.head((self.norm(self.convolution(x)).flatten(2).transpose(1, 2) * self.rows).sum(1))


class FunctionalRows(nn.Module):
    """The same by functions: no layer of the network is a batch norm."""

    def __init__(self, axes):
        super().__init__()
        self.convolution, self.head = (nn.Conv2d, nn.Conv3d)[axes - 2](2, 4, 1), nn.Linear(4, 2)
        self.rows, self.weight = nn.Parameter(torch.randn(1, 3**axes, 4)), nn.Parameter(torch.randn(4))
        self.register_buffer("mean", torch.randn(4))
        self.register_buffer("variance", 0.5 + torch.rand(4))

    def forward(self, x):
        normed = nn.functional.batch_norm(self.convolution(x), self.mean, self.variance, self.weight)
        return self.head((normed.flatten(2).transpose(1, 2) * self.rows).sum(1))


@pytest.fixture(params=[(2, Rows), (3, Rows), (2, FunctionalRows)], ids=["pictures", "volumes", "functional"])
def case(request):
    """The model, inputs, and the Jacobian (c, n, p) of autograd in double precision, of every input twice."""
    torch.manual_seed(0)
    axes, kind = request.param
    net = kind(axes).eval()
    x, double = torch.randn(4, 2, *[3] * axes), kind(axes).double().eval()
    double.load_state_dict(net.state_dict())
    rows = [
        [torch.autograd.grad(double(x[[i, i]].double())[0, c], list(double.parameters())) for i in range(4)]
        for c in range(2)
    ]
    jacobian = [[torch.cat([part.flatten() for part in row]) for row in found] for found in rows]
    return dntk.as_model(net), x, np.stack([host(torch.stack(found)) for found in jacobian])


def test_kernels_do_not_depend_on_the_size_of_batches(case):
    model, x, jacobian = case
    expected = np.einsum("cip,cjp->ij", jacobian, jacobian) / 2
    for batch in (1, 3, 4):  # three leave one over
        np.testing.assert_allclose(host(dntk.ntk(model, x, batch_size=batch)), expected, atol=1e-5 * expected.max())
    vector = torch.ones(4)
    product = dntk.NTKOperator(model, x, batch_size=1) @ vector
    np.testing.assert_allclose(host(product), expected.sum(1), atol=4e-5 * expected.max())


def test_one_image_alone_has_its_gradients(case):
    model, x, jacobian = case
    one = dntk.as_model(model.module)  # which has seen no others
    scale = 1e-5 * np.abs(jacobian).max()
    found = host(dntk.tangent_features(one, x[:1], sketch=None).values)
    np.testing.assert_allclose(found, jacobian[:, :1], atol=scale)
    np.testing.assert_allclose(host(one.vjp(x[:1], torch.ones(1, 2))), jacobian[:, 0].sum(0), atol=2 * scale)
    direction = np.linspace(-1, 1, jacobian.shape[2]).astype("f4")
    pushed = host(one.jvp(x[:1], torch.as_tensor(direction)[None]))[0, 0]
    np.testing.assert_allclose(pushed, jacobian[:, 0] @ direction, atol=jacobian.shape[2] * scale)
