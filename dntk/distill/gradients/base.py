"""What a gradient distiller is."""

from typing import Protocol, runtime_checkable

from jaxtyping import Float

from dntk import arrays
from dntk._checks import positive_integer
from dntk.distilled_gradients import DistilledGradients
from dntk.features import TangentFeatures, require_kernel_of
from dntk.types import Array


@runtime_checkable
class GradientDistiller(Protocol):
    """Chooses directions and returns the synthetic gradients along them."""

    def distill(self, phi: TangentFeatures, targets: Float[Array, "m c"]) -> DistilledGradients:
        """Synthetic gradients of the features of m points with their targets."""


@runtime_checkable
class TakesRidge(Protocol):
    """A distiller whose directions depend on λ, and which may have been given its own."""

    def at_ridge(self, ridge: float) -> GradientDistiller:
        """The same distiller for a regression with this λ; itself where it was given its own."""


@runtime_checkable
class TakesKernels(Protocol):
    """A distiller that needs every output's kernel, and can do with one that was formed before."""

    def distill_by(
        self, phi: TangentFeatures, targets: Float[Array, "m c"], kernels: Float[Array, "c m m"] | None
    ) -> DistilledGradients:
        """As ``distill``; with the ``kernels`` of these features, in the type in which it would form them."""


def at_ridge(distiller: GradientDistiller, ridge: float) -> GradientDistiller:
    """The distiller for a regression with this λ."""
    return distiller.at_ridge(ridge) if isinstance(distiller, TakesRidge) else distiller


def check_size(size: int, phi: TangentFeatures) -> None:
    """Raise unless these are features of at least ``size`` ≥ 1 points."""
    points = len(require_kernel_of("phi", phi))
    positive_integer("size", size)
    if size > points:
        msg = f"`size`={size} gradients are asked of {points} points: at most {points} directions exist there."
        raise ValueError(msg)


def require_kernel(phi: TangentFeatures) -> None:
    """Raise ``ValueError`` where all features are zero: a dead network has no directions."""
    require_kernel_of("phi", phi)
    if arrays.largest_magnitude(phi.values) == 0:
        msg = (
            "all tangent features are zero: the network's outputs do not depend on the selected parameters at these "
            "points (dead units, or a wrong `parameters` pattern?)."
        )
        raise ValueError(msg)
