"""Whether what a checkpoint holds can be of the fit that goes on from it: it may have been edited and signed again."""

from collections.abc import Mapping

from dntk import arrays
from dntk.distill.data import Selection
from dntk.features import TangentFeatures
from dntk.types import Array


def require_points(selection: Selection, points: int) -> None:
    """Raise ``ValueError`` unless it names some of so many points, with what each left of the kernel."""
    xp, chosen = arrays.namespace(selection.indices), selection.indices
    if not xp.isdtype(chosen.dtype, "integral") or chosen.ndim != 1 or chosen.shape[0] == 0:
        msg = f"indices of dtype {chosen.dtype}, shape {tuple(chosen.shape)}: expected integers, at least one"
        raise ValueError(msg)
    least, most = int(xp.min(chosen)), int(xp.max(chosen))
    if least < 0 or most >= points:
        msg = f"indices from {least} to {most} of {points} points"
        raise ValueError(msg)
    for name in ("weights", "residual_trace"):
        value = getattr(selection, name)
        if value.shape != chosen.shape or not arrays.is_floating(value):
            msg = f"{name} of dtype {value.dtype}, shape {tuple(value.shape)}, for {len(selection)} points"
            raise ValueError(msg)


def require_weights(kept: Mapping[str, Array], phi: TangentFeatures) -> None:
    """Raise ``ValueError`` unless a regression is one on these features."""
    _require_shapes(kept, {"weights": (phi.n_outputs, phi.dim), "dual": (phi.n_outputs, len(phi))})


def require_gradients(kept: Mapping[str, Array], phi: TangentFeatures) -> None:
    """Raise ``ValueError`` unless synthetic gradients can be of these features.

    Directions and basis are orthonormal, so that no entry of theirs is above 1, and Uᵀ Ψ and Ψ Bᵀ have no longer
    columns and rows than Ψ; twice as much is let pass for rounding.
    """
    outputs, points, size = phi.n_outputs, len(phi), kept["values"].shape[1]
    rows, projected = (outputs, size, phi.dim), (outputs, points, size)
    directions = projected if kept["directions"].ndim == 3 else (points, size)
    large = {"directions": directions, "values": rows, "basis": rows, "projected": projected}
    _require_shapes(kept, large | {"targets": (outputs, size), "reference_targets": (points, outputs)})
    longest = arrays.largest_magnitude(phi.values)
    most = {"directions": 1.0, "basis": 1.0, "values": points**0.5 * longest, "projected": phi.dim**0.5 * longest}
    for name, bound in most.items():
        largest = arrays.largest_magnitude(kept[name])
        if not largest <= 2 * bound:
            msg = f"{name} with entries up to {largest:.3g}: features up to {longest:.3g} give none above {bound:.3g}"
            raise ValueError(msg)


def _require_shapes(kept: Mapping[str, Array], shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        value = kept[name]
        if value.shape != shape or not arrays.is_floating(value):
            msg = f"{name} of dtype {value.dtype}, shape {tuple(value.shape)}: expected numbers of shape {shape}"
            raise ValueError(msg)
