"""The check of sketches accepts those of dntk on every library, and names what is wrong with broken ones."""

import dataclasses

import numpy as np
import pytest

from dntk.sketch import SRHT, Gaussian, Kronecker, Mask, Rademacher, SparseSign, TensorSketch
from dntk.sketch.error import moment_error, subspace_error
from dntk.testing import CheckFailure, check_sketch
from tests.places import place_of

# As users run them: run-time checks of shapes double the time.
pytestmark = pytest.mark.usefixtures("unchecked")

SKETCHES = [Gaussian(8), Rademacher(16), SparseSign(9), SRHT(8, width=8), TensorSketch(7), Kronecker(2, 3), Mask(5)]


@pytest.mark.parametrize("sketch", SKETCHES, ids=repr)
def test_sketches_of_dntk_pass_on_numpy(sketch):
    check_sketch(sketch, examples=5)


def test_sketches_of_dntk_pass_on_every_library(library):
    slow = {"gradient blocks", "pieces", "batches"} if library.module == "jax" else set()
    # Draws are NumPy's, bit for bit, and so are averages over seeds.
    check_sketch(
        SparseSign(8), place=place_of(library), examples=2 if slow else 5, exempt={*slow, "unbiased", "stated error"}
    )


@dataclasses.dataclass(frozen=True)
class Signs:
    """Dense random signs, the smallest sketch that somebody may write; each subclass breaks one thing."""

    dim: int
    seed: int = 0
    n_parameters: int | None = None

    def matrix(self, start, stop):
        rng = np.random.default_rng(self.seed)
        return rng.choice([-1.0, 1.0], (1000, self.dim))[start:stop] / self.dim**0.5

    def apply(self, gradients):
        return gradients @ self.matrix(0, gradients.shape[-1]).astype(gradients.dtype)

    def adjoint(self, z, *, n_parameters=None):
        return z @ self.matrix(0, n_parameters or self.n_parameters).T.astype(z.dtype)

    def columns(self, values, start):
        return values @ self.matrix(start, start + values.shape[1]).astype(values.dtype)

    def chunk_width(self, rows):
        return max(1, 100 // rows)

    def error(self, n, *, confidence=0.999):
        return subspace_error(self.dim, n, confidence, theorem="the Gaussian band", kind="empirical")


def test_somebodys_own_sketch_passes_in_one_line():
    check_sketch(Signs(16), examples=5)


class TooLong(Signs):
    def matrix(self, start, stop):
        return 1.2 * super().matrix(start, stop)


class OneSeed(Signs):
    def matrix(self, start, stop):
        return Signs(self.dim).matrix(start, stop)


class Restarting(Signs):
    """Every piece begins at coordinate 0."""

    def columns(self, values, start):
        return super().columns(values, 0 * start)


class OtherAdjoint(Signs):
    def adjoint(self, z, *, n_parameters=None):
        return -super().adjoint(z, n_parameters=n_parameters)


class Affine(Signs):
    def apply(self, gradients):
        return super().apply(gradients) + 1e-3


class Magnitudes(Signs):
    def apply(self, gradients):
        return super().apply(np.abs(gradients))


class Narrowing(Signs):
    def apply(self, gradients):
        return super().apply(gradients).astype(np.float32)


class Flattening(Signs):
    def apply(self, gradients):
        return super().apply(gradients).reshape(-1, self.dim)


class Writing(Signs):
    def apply(self, gradients):
        out = super().apply(gradients)
        gradients *= 2
        return out


class Forgetful(Signs):
    """Another matrix at every call."""

    def matrix(self, start, stop):
        return np.random.default_rng().choice([-1.0, 1.0], (stop - start, self.dim)) / self.dim**0.5


class Normalising(Signs):
    """Divides by the largest row: zero rows become NaN."""

    def apply(self, gradients):
        with np.errstate(invalid="ignore"):
            rows = np.linalg.norm(gradients, axis=-1, keepdims=True)
            return super().apply(gradients / rows) * rows


class Overconfident(Signs):
    def error(self, n, *, confidence=0.999):
        return moment_error(0.2 / self.dim, n, confidence, theorem="a wish")


class Optimistic(Signs):
    """A band of a tenth of the width."""

    def error(self, n, *, confidence=0.999):
        return subspace_error(1000 * self.dim, n, confidence, theorem="a wish", kind="probabilistic")


class Blockwise:
    """A sketch without the members of one."""

    dim = 4


BROKEN = {
    TooLong: "unbiased",
    OneSeed: "seeds",
    Restarting: "pieces",
    OtherAdjoint: "adjoint",
    Affine: "zero and equal rows",
    Magnitudes: "linear",
    Narrowing: "batches",
    Flattening: "batches",
    Writing: "matrix",
    Forgetful: "matrix",
    Normalising: "zero and equal rows",
    Overconfident: "stated error",
    Optimistic: "stated error",
}


@pytest.mark.parametrize(("kind", "name"), BROKEN.items(), ids=lambda value: getattr(value, "__name__", value))
def test_broken_sketches_are_named_with_their_fault(kind, name):
    with pytest.raises(CheckFailure, match=f"{kind.__name__}.* violates [\\s\\S]*\\n- {name}: ") as caught:
        check_sketch(kind(16), examples=5)
    assert name in ("unbiased", "stated error") or "case=SketchCase(" in str(caught.value)


def test_a_thing_that_is_no_sketch_is_told_so():
    with pytest.raises(CheckFailure, match=r"- protocol: .*\n    a member of dntk.sketch.Sketch is missing"):
        check_sketch(Blockwise(), examples=1)


def test_exempted_properties_are_not_asked_and_unknown_ones_are_refused():
    check_sketch(TooLong(16), examples=5, exempt={"unbiased", "stated error"})
    with pytest.raises(ValueError, match=r"`exempt` names 'beauty', but the properties are: 'protocol'"):
        check_sketch(Signs(16), exempt={"beauty"})
    with pytest.raises(ValueError, match="`examples` must be positive, got 0"):
        check_sketch(Signs(16), examples=0)
