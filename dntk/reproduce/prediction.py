"""Predictions of a regression on sketched features, without features of the points that are predicted."""

from dntk.arrays import namespace, spans
from dntk.model import Model
from dntk.solve import RidgeFit
from dntk.types import Array


def predicted(model: Model, fit: RidgeFit, x: Array, *, batch: int = 100) -> Array:
    """Outputs ⟨w_c, φ_c(x)⟩ (n, C): one Jacobian-vector product per output."""
    tangents = fit.weights if fit.sketch is None else fit.sketch.adjoint(fit.weights)
    xp = namespace(tangents)
    pieces = []
    for start, stop in spans(x.shape[0], batch):
        products = model.jvp(x[start:stop, ...], tangents)
        pieces.append(xp.stack([products[c, :, c] for c in range(products.shape[0])], axis=1))
    return xp.concat(pieces, axis=0)


def root_mean_square(x: Array) -> float:
    """Of all entries."""
    xp = namespace(x)
    return float(xp.mean(x * x)) ** 0.5
