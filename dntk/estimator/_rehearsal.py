"""What a fit does with features, run on random ones: all points and one or two outputs of them, or fewer points."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk.distilled_gradients import DistilledGradients
from dntk.estimator._steps import left_by, reduced, regressed, span_of_features, span_of_gradients, spectrum_of
from dntk.estimator.certification import Evidence
from dntk.estimator.losses import Losses
from dntk.estimator.once import Once
from dntk.estimator.search import resized
from dntk.estimator.stages import AsGiven
from dntk.features import TangentFeatures
from dntk.ledger import StageCost
from dntk.plan._measure import grown, per_output
from dntk.plan._standin import outputs_of, reach, stand_in
from dntk.solve.problem import RidgeProblem
from dntk.types import Array

_RIDGE = 1e-3
"""λ at which gradients are distilled for measure, in units of the kernel's mean diagonal."""
_NOTHING: dict[str, Any] = {field.name: 0 for field in dataclasses.fields(Losses) if field.name != "together"}
_LOSSES = Losses(**_NOTHING)
"""Nothing is lost where nothing is kept."""


@dataclasses.dataclass(frozen=True)
class Scene:
    """Random features, their stages and regression, and the gradients that were distilled of them, if any were yet."""

    stages: AsGiven
    phi: TangentFeatures
    problem: RidgeProblem
    made: dict[str, DistilledGradients | None] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, stages: AsGiven, phi: TangentFeatures) -> "Scene":
        """With the kernels of the regression, which later stages find formed."""
        problem = RidgeProblem.of(phi.values, _targets(phi), together=stages.parts.rows(1)[1])
        if problem.dual:
            _ = problem.gram
        return cls(stages, phi, problem)

    @property
    def targets(self) -> Float[Array, "m c"]:
        """Something to regress on."""
        return _targets(self.phi)

    @functools.cached_property
    def ridge(self) -> float:
        """λ, far below the kernel's mean diagonal."""
        xp = arrays.namespace(self.phi.values)
        return _RIDGE * float(xp.sum(self.phi.values**2)) / (self.phi.n_outputs * len(self.phi))

    @functools.cached_property
    def grads(self) -> DistilledGradients | None:
        """Synthetic gradients; those that were made already, if they were."""
        if "grads" not in self.made:
            self.gradients()
        return self.made["grads"]

    def regression(self) -> object:
        """As the stage "ridge"."""
        return regressed(self.stages, self.phi, self.targets)[1].weights

    def gradients(self) -> object:
        """As the stage "gradients"."""
        found = reduced(self.stages, self.phi, self.targets, self.ridge, self.problem)
        self.made["grads"] = None if found is None else found[0]
        return found

    def spectrum(self) -> object:
        """As the stage "spectrum"."""
        return spectrum_of(self.stages, self.phi, self.problem)

    def loss_of(self, sample: int) -> object:
        """As what the stage "loss of points" does with features of a sample."""
        others = stand_in(self.phi.values, outputs=self.phi.n_outputs, points=max(1, sample), dim=self.phi.dim)
        return left_by(self.phi, others, self.problem)

    def certificate(self) -> object:
        """As the certificate of a fit without points that were not kept."""
        phi, grads = self.phi, self.grads
        span = Once(functools.partial(span_of_features, phi)) if grads is None else Once.made(span_of_gradients(grads))
        return Evidence(
            phi=phi,
            grads=grads,
            weights=phi.values[:, 0, :],
            targets=self.targets,
            ridge=self.ridge,
            span=span,
            dropped=None,
            losses=_LOSSES,
            tolerance=None,
            seed=self.stages.parts.seed,
        ).certificate()


@dataclasses.dataclass(frozen=True)
class Rehearsal:
    """The stages of a fit on m points with k features for each of C outputs, where ``like`` is."""

    stages: AsGiven
    like: Array
    points: int
    dim: int
    outputs: int
    _scenes: dict[tuple[int, float], Scene] = dataclasses.field(default_factory=dict)

    def cost(self, run: Callable[[Scene], object]) -> StageCost:
        """What ``run`` costs at these sizes."""

        def of(outputs: int) -> StageCost:
            return grown(lambda share: functools.partial(run, self._scene(outputs, share)), self._reach)

        return per_output(of, self.outputs, self._measured)

    @property
    def basis(self) -> str:
        """What is measured, in words."""
        of = "" if self._measured == self.outputs else f"of {self._measured} of {self.outputs} outputs "
        points = "" if self._reach == 1 else f", {self._sizes(self._reach)[0]:,} points, to the power three"
        return f"random features {of}measured{points}"

    @functools.cached_property
    def directions(self) -> int:
        """Number s of synthetic gradients per output; 0 where gradients are not distilled."""
        distiller: Any = self.stages.parts.gradients
        if distiller is None or isinstance(distiller, str):
            return 0 if distiller is None else self.stages.parts.automatic_gradients(self.points)
        if isinstance(getattr(distiller, "size", None), int):
            return int(distiller.size)
        grads = self._scene(1, self._reach).grads
        return 0 if grads is None else grads.size

    @property
    def _reach(self) -> float:
        return reach(self.points, self.dim)

    @property
    def _measured(self) -> int:
        return outputs_of(self.outputs, self.points, self.dim)

    def _sizes(self, share: float) -> tuple[int, int]:
        """Rows, all of those of every point, and features."""
        rows, dim = (min(size, max(2, round(share * size))) for size in (self.points, self.dim))
        together = self.stages.parts.rows(1)[1]
        return max(1, rows // together) * together, dim

    def _scene(self, outputs: int, share: float) -> Scene:
        if (outputs, share) not in self._scenes:
            points, dim = self._sizes(share)
            phi = stand_in(self.like, outputs=outputs, points=points, dim=dim)
            self._scenes[outputs, share] = Scene.of(_fewer(self.stages, points), phi)
        return self._scenes[outputs, share]


def _targets(phi: TangentFeatures) -> Float[Array, "m c"]:
    """Something to regress on."""
    return phi.values[:, :, 0].T


def _fewer(stages: AsGiven, points: int) -> AsGiven:
    """The stages without a folder, and with no more gradients than there are points."""
    gradients = stages.parts.gradients
    size = getattr(gradients, "size", 0)
    if isinstance(size, int) and size > points:
        gradients = resized(gradients, points)
    return AsGiven(dataclasses.replace(stages.parts, gradients=gradients))
