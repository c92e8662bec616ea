"""Tangent features as objectives of inputs see them: joined over outputs, at a fixed sketch."""

import dataclasses
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float

from dntk import arrays
from dntk._checks import positive_integer
from dntk.arrays import itemsize
from dntk.checkpoints import Checkpoints
from dntk.distill.data.pulling import pull_features
from dntk.features import TangentFeatures, kept_features
from dntk.models.input_gradients import InputDifferentiable
from dntk.outputs import FeatureOutputs
from dntk.outputs.functionals import cotangents_for
from dntk.sketch import Sketch
from dntk.types import Array

_WIDE = 8
"""Bytes of a number in float64."""

AT_ONCE = 2048
"""Points that an objective without ``batch_size`` fits to at once."""

MINIBATCH = 512
"""Points of one step where there are more."""

_SQUARES = 5
"""Square matrices of such points while their eigenvectors are found: the kernel, vectors, coordinates, two at work."""


@runtime_checkable
class _Settings(Protocol):
    """Fields of an objective on which its memory depends."""

    @property
    def outputs(self) -> FeatureOutputs: ...
    @property
    def batch_size(self) -> int | None: ...
    @property
    def held_out(self) -> float: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tangents:
    """Features of a model at one sketch, and the way back from them to inputs.

    Of inputs x they are F = [Ψ¹ … Ψ^Q]/√Q (n, Q·k), with F Fᵀ the mean kernel.
    """

    model: InputDifferentiable
    sketch: Sketch | None
    outputs: FeatureOutputs
    memory_limit: int | None = None
    resident: int = 0

    @classmethod
    def of(
        cls, model: InputDifferentiable, x: Array, sketch: Sketch | None, objective: _Settings, limits: tuple[int, Any]
    ) -> "Tangents":
        """Of an objective that makes so many inputs of ``x`` within a memory limit, if any: ``limits`` are both.

        Raises
        ------
        ValueError
            The limit is no positive integer, or less than features of all data and their copies take.
        """
        size, memory_limit = limits
        found = cls(model=model, sketch=sketch, outputs=objective.outputs)
        if memory_limit is None:
            return found
        limit = positive_integer("memory_limit", memory_limit, remedy="a number of bytes, or None")
        n, batch = x.shape[0], min(x.shape[0], objective.batch_size or x.shape[0])
        dim, entry = found._functionals.shape[0] * (sketch.dim if sketch else model.n_parameters), itemsize(x)
        # Made: features, their parts, joined and accumulated ones. Held: joined ones, a batch of them, those of inputs.
        made = n * dim * (3 * entry + _WIDE) + _WIDE * n * (2 * size + n * objective.held_out**2)
        if objective.batch_size is None:  # eigenvectors of all, where so many are taken at once
            made += _SQUARES * _WIDE * min(n, AT_ONCE) ** 2
        resident = _WIDE * dim * (n + batch + 6 * size)
        if max(made, resident) > limit:
            msg = (
                f"`memory_limit`={limit:,} bytes do not suffice: features of {n:,} points and their copies take about "
                f"{max(made, resident):,}. Pass more, fewer points, or a smaller sketch."
            )
            raise ValueError(msg)
        return dataclasses.replace(found, memory_limit=limit, resident=resident)

    def of_data(self, x: Array, kept: Checkpoints | None) -> TangentFeatures:
        """Features of all data, kept in a folder if there is one."""
        place = None if kept is None else (kept, "features")
        return self._made(x, self.memory_limit, place)

    def features(self, x: Array) -> TangentFeatures:
        """Features of inputs, beside those of all data."""
        return self._made(x, self._left, None)

    def joined(self, phi: TangentFeatures) -> Float[Array, "n d"]:
        """F, in float64 where the device has it."""
        return arrays.in_float64(phi.joined())

    def pull(self, x: Array, phi: TangentFeatures, gradient: Float[Array, "n d"]) -> Array:
        """Gradient in the inputs of a loss with this gradient in F."""
        xp = self.model.namespace
        q, n, k = phi.values.shape
        parts = xp.permute_dims(xp.reshape(gradient * q**-0.5, (n, q, k)), (1, 0, 2))
        return self.pull_each(x, phi, parts)

    def pull_each(self, x: Array, phi: TangentFeatures, gradient: Float[Array, "q n k"]) -> Array:
        """Gradient in the inputs of a loss with this gradient in Ψ."""
        parts = self.model.namespace.astype(gradient, phi.values.dtype)
        return pull_features(self.model, x, phi, self._functionals, parts, memory_limit=self._left)

    @property
    def _left(self) -> int | None:
        """Bytes that are left beside the features of all data."""
        return None if self.memory_limit is None else self.memory_limit - self.resident

    @property
    def _functionals(self) -> Float[Array, "q c"]:
        xp, model = self.model.namespace, self.model
        dtype = arrays.kernel_dtype(xp, model.dtype)
        return cotangents_for(self.outputs, model.n_outputs, xp=xp, dtype=dtype, device=model.device)

    def _made(self, x: Array, limit: int | None, kept: tuple[Checkpoints, str] | None) -> TangentFeatures:
        return kept_features(self.model, x, sketch=self.sketch, outputs=self.outputs, memory_limit=limit, kept=kept)
