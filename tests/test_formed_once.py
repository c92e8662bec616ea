"""A fit forms every output's kernel once, and all its stages use it."""

import numpy as np
import pytest

import dntk
from dntk.backend import backend_of
from dntk.distill.gradients import Principal, Solution
from dntk.sketch import Gaussian
from tests.libraries import LIBRARIES, host
from tests.networks import inputs, mlp

NUMPY = LIBRARIES[0]
POINTS, DIM, OUTPUTS = 30, 40, 3


@pytest.fixture
def products(monkeypatch):
    """Shapes of the matrices whose inner products are formed, as they come."""
    shapes, kind = [], type(backend_of(np.ones(1)))
    own = kind.gram

    def counted(self, x):
        shapes.append(x.shape)
        return own(self, x)

    monkeypatch.setattr(kind, "gram", counted)
    return shapes


def fitted(library, gradients):
    model, x = mlp(library), inputs(library, n=POINTS)
    return dntk.DistilledNTK(model, data=None, sketch=Gaussian(DIM), gradients=gradients, ridge="loo").fit(x), x


@pytest.mark.parametrize("gradients", [Solution(3), "auto"], ids=["given", "auto"])
def test_kernels_of_all_outputs_are_formed_once(products, gradients):
    fitted(NUMPY, gradients)
    assert [shape for shape in products if shape == (POINTS, DIM)] == OUTPUTS * [(POINTS, DIM)]


@pytest.mark.parametrize("gradients", [Solution(3), Principal(3)], ids=["solution", "principal"])
def test_spectra_of_fits_are_those_of_their_features(library, gradients):
    fit, x = fitted(library, gradients)
    values = host(dntk.tangent_features(fit.model, x, sketch=fit.sketch).values).astype(float)
    expected = np.linalg.eigvalsh(np.mean(values @ values.transpose(0, 2, 1), axis=0))[::-1]
    # Each of the kernel's entries has the rounding of its features.
    np.testing.assert_allclose(host(fit.spectrum), expected, rtol=0, atol=1e-5 * expected[0])
