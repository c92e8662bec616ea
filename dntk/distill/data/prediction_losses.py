"""Losses of a kernel's predictions, with their derivatives."""

import dataclasses
import math
from typing import Protocol, runtime_checkable

from jaxtyping import Float

from dntk import arrays
from dntk._checks import positive
from dntk.types import Array


@runtime_checkable
class PredictionLoss(Protocol):
    """A loss of predictions (n, C) and centred one-hot targets, with parameters of its own that are learned too."""

    def start(self, like: Array) -> dict[str, Array]:
        """Its parameters at the start, of the type and on the device of ``like``; empty where it has none."""

    def value(
        self, predictions: Float[Array, "n c"], targets: Float[Array, "n c"], own: dict[str, Array]
    ) -> tuple[float, Float[Array, "n c"], dict[str, Array]]:
        """The loss, its gradient in the predictions, and its gradients in its own parameters."""


@dataclasses.dataclass(frozen=True)
class SquaredError:
    """Half the mean over points of ‖f̂ − y‖² (Nguyen, Chen and Lee, ICLR 2021)."""

    def start(self, like: Array) -> dict[str, Array]:
        """No parameters."""
        del like
        return {}

    def value(
        self, predictions: Float[Array, "n c"], targets: Float[Array, "n c"], own: dict[str, Array]
    ) -> tuple[float, Float[Array, "n c"], dict[str, Array]]:
        """½‖f̂ − y‖²/n and (f̂ − y)/n."""
        del own
        xp, n = arrays.namespace(predictions), predictions.shape[0]
        error = predictions - targets
        return float(xp.sum(error * error)) / (2 * n), error / n, {}


@dataclasses.dataclass(frozen=True)
class Platt:
    """Cross-entropy of softmax(τ f̂) with the class of each target, τ learned (Loo et al., NeurIPS 2022).

    Regression onto ±1/C leaves predictions that are too small to be log-probabilities; the temperature scales them.
    RFAD takes it with a ridge of 5e-3.
    """

    scale: float = 10.0

    def __post_init__(self) -> None:
        positive("scale", self.scale, remedy="the factor τ at the start")

    def start(self, like: Array) -> dict[str, Array]:
        """The logarithm of τ, so that it stays positive."""
        xp = arrays.namespace(like)
        return {"log_scale": xp.full((1,), math.log(self.scale), dtype=like.dtype, device=arrays.device_of(like))}

    def value(
        self, predictions: Float[Array, "n c"], targets: Float[Array, "n c"], own: dict[str, Array]
    ) -> tuple[float, Float[Array, "n c"], dict[str, Array]]:
        """Mean −log p_y, τ (p − e_y)/n, and Σ τ f̂·(p − e_y)/n."""
        xp, n = arrays.namespace(predictions), predictions.shape[0]
        factor = xp.astype(xp.exp(own["log_scale"]), predictions.dtype)
        scores = predictions * factor
        logs = log_softmax(scores)
        classes = xp.astype(targets > 0, predictions.dtype)
        slope = (xp.exp(logs) - classes) / n
        in_scale = xp.reshape(xp.sum(slope * scores), (1,))
        loss = -float(xp.sum(logs * classes)) / n
        return loss, slope * factor, {"log_scale": xp.astype(in_scale, own["log_scale"].dtype)}


def log_softmax(scores: Float[Array, "n c"]) -> Float[Array, "n c"]:
    """Logarithms of the softmax, without overflow."""
    xp = arrays.namespace(scores)
    shifted = scores - xp.max(scores, axis=1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=1, keepdims=True))
