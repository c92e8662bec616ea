"""The check of distillers accepts those of dntk on every library, and names what is wrong with broken ones."""

import dataclasses

import numpy as np
import pytest

from dntk.distill.data import LCMD, MaxDet, Random, RPCholesky
from dntk.distill.gradients import LocalGlobal, Principal, Solution
from dntk.testing import CheckFailure, check_distiller
from tests.places import place_of

# As users run them: run-time checks of shapes double the time.
pytestmark = pytest.mark.usefixtures("unchecked")

DISTILLERS = [
    (Principal(3), set()),
    (Principal(2, per_output=True), set()),
    (Solution(2), set()),
    (Solution(2, ridge=1e-2), {"scaling"}),  # an absolute ridge
    (LocalGlobal(size=4), set()),
    (RPCholesky(3), {"permutation"}),  # draws along the positions
    (Random(3), {"permutation"}),
    (LCMD(3), set()),
    (MaxDet(3), set()),
]


@pytest.mark.parametrize(("distiller", "exempt"), DISTILLERS, ids=lambda value: type(value).__name__)
def test_distillers_of_dntk_pass_on_numpy(distiller, exempt):
    check_distiller(distiller, examples=6, exempt=exempt)


def test_distillers_of_dntk_pass_on_every_library(library):
    place = place_of(library)
    if library.module == "jax":  # every shape is compiled
        few = {"values", "interlacing", "basis", "permutation", "scaling", "deterministic", "trace bracket"}
        check_distiller(Principal(2), place=place, examples=1, exempt=few)
        few = {"trace residual", "basis", "permutation", "scaling", "deterministic"}
        check_distiller(RPCholesky(2), place=place, examples=1, exempt=few)
    else:
        check_distiller(Principal(2), place=place, examples=4)
        check_distiller(RPCholesky(2), place=place, examples=4, exempt={"permutation"})


@dataclasses.dataclass(frozen=True)
class Broken:
    """A principal distiller, one of whose results is spoilt."""

    spoil: object
    size: int = 2

    def distill(self, phi, targets):
        return self.spoil(Principal(self.size).distill(phi, targets))


def longer(grads):
    return dataclasses.replace(grads, directions=1.01 * grads.directions, values=1.01 * grads.values)


def other_values(grads):
    return dataclasses.replace(grads, values=1.01 * grads.values)


def other_targets(grads):
    return dataclasses.replace(grads, targets=-grads.targets)


def too_optimistic(grads):
    return dataclasses.replace(grads, trace_residual=grads.trace_residual / 2)


def fewer(grads):
    return dataclasses.replace(grads, basis=grads.basis[:, :1])


@dataclasses.dataclass(frozen=True)
class Leading:
    """The first points' unit vectors: blind to the features, hence to the order of the points."""

    size: int = 2

    def distill(self, phi, targets):
        from dntk.distilled_gradients import distil_along

        return distil_along(phi, targets, np.eye(len(phi))[:, : self.size])


@dataclasses.dataclass(frozen=True)
class Coordinates:
    """Looks at the largest coordinate of the features, which another basis changes."""

    size: int = 2

    def distill(self, phi, targets):
        from dntk.distilled_gradients import distil_along

        first = np.argsort(-np.max(np.abs(phi.values), axis=(0, 2)) * (phi.values[0, :, 0] > 0), kind="stable")
        return distil_along(phi, targets, np.eye(len(phi))[:, first[: self.size]])


@dataclasses.dataclass(frozen=True)
class Thresholding:
    """Directions that depend on the absolute size of the features."""

    size: int = 2

    def distill(self, phi, targets):
        from dntk.distilled_gradients import distil_along

        large = int(np.sum(np.abs(phi.values) > 1e-2)) % len(phi)
        turned = (np.arange(self.size) + large) % len(phi)
        return distil_along(phi, targets, np.eye(len(phi))[:, turned])


BROKEN = [
    (Broken(longer), "orthonormal"),
    (Broken(other_values), "values"),
    (Broken(other_values), "interlacing"),
    (Broken(other_targets), "values"),
    (Broken(too_optimistic), "trace bracket"),
    (Broken(fewer), "protocol"),
    (Leading(), "permutation"),
    (Coordinates(), "basis"),
    (Thresholding(), "scaling"),
]


@pytest.mark.parametrize(("distiller", "name"), BROKEN)
def test_broken_distillers_are_named_with_their_fault(distiller, name):
    with pytest.raises(CheckFailure, match=rf"{type(distiller).__name__}\(.* violates [\s\S]*\n- {name}: "):
        check_distiller(distiller, examples=10)


class _Selector:
    size = 3

    def select(self, phi):
        return RPCholesky(3).select(phi)


class Repeating(_Selector):
    def select(self, phi):
        found = super().select(phi)
        return dataclasses.replace(found, indices=0 * found.indices)


class Optimist(_Selector):
    def select(self, phi):
        found = super().select(phi)
        return dataclasses.replace(found, residual_trace=found.residual_trace / 2)


class Rising(_Selector):
    def select(self, phi):
        found = super().select(phi)
        return dataclasses.replace(found, residual_trace=found.residual_trace[::-1])


class Erratic(_Selector):
    def select(self, phi):
        return Random(3, seed=int(np.random.default_rng().integers(2**32))).select(phi)


class Negative(_Selector):
    def select(self, phi):
        found = super().select(phi)
        return dataclasses.replace(found, weights=-found.weights)


class Forgetful(_Selector):
    def select(self, phi, *, given=None):  # noqa: ARG002
        return RPCholesky(3).select(phi)


@pytest.mark.parametrize(
    ("selector", "name"),
    [
        (Forgetful, "given points"),
        (Repeating, "distinct points"),
        (Optimist, "trace residual"),
        (Rising, "trace residual"),
        (Erratic, "deterministic"),
        (Negative, "protocol"),
        (_Selector, "permutation"),
    ],
)
def test_broken_selectors_are_named_with_their_fault(selector, name):
    with pytest.raises(CheckFailure, match=rf"{selector.__name__}[\s\S]* violates [\s\S]*\n- {name}: "):
        check_distiller(selector(), examples=10)


def test_a_thing_that_is_no_distiller_is_refused():
    with pytest.raises(TypeError, match=r"`distiller` is a int: expected one with distill\(phi, targets\)"):
        check_distiller(3)
