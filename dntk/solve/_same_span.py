"""Ridge regression on all reference targets, restricted to the span of synthetic gradients."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk._checks import require_kind
from dntk.distilled_gradients import DistilledGradients
from dntk.features import TangentFeatures
from dntk.solve._ridge import ridge as solve_ridge
from dntk.solve._ridge import ridge_in_span, synthetic_targets
from dntk.solve.ridge_fit import RidgeFit
from dntk.solve.rules import Ridge
from dntk.types import Array


def same_span(
    grads: DistilledGradients, targets: Float[Array, "m c"] | None = None, *, ridge: Ridge = "loo"
) -> RidgeFit:
    """Minimise ‖Ψ^c w − y^c‖² + λ‖w‖² over w in the span of the synthetic gradients of output c.

    Its objective is never above the Galerkin solution's on the same s gradients, at the same storage, and does not
    depend on the basis of the span. It needs the reference features in the span only, which
    :class:`dntk.DistilledGradients` keeps. Cost O(C·m·s²).

    Parameters
    ----------
    grads
        Synthetic gradients.
    targets
        (m, C) targets of the reference points; default: those of the distillation. Others may be passed, to learn
        another task in the same span.
    ridge
        As for :func:`dntk.solve.ridge`; leave-one-out is exact here where the directions do not depend on the targets.

    Returns
    -------
    RidgeFit
        Weights (C, k), dual coefficients (C, m) of the projected problem.

    Raises
    ------
    ValueError
        As :func:`dntk.solve.ridge`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(2, 40, 8))), rng.normal(size=(40, 2))
    >>> grads = dntk.distill.gradients.Principal(3).distill(phi, y)
    >>> def objective(fit):
    ...     return ((fit.predict(phi) - y) ** 2).sum() + (fit.weights**2).sum()
    >>> best = dntk.solve.same_span(grads, ridge=1.0)
    >>> bool(objective(best) <= objective(dntk.solve.ridge(grads, ridge=1.0)))
    True
    """
    require_kind("grads", grads, DistilledGradients, expected="DistilledGradients, as Principal(20).distill(phi, y)")
    xp = arrays.namespace(grads.values)
    reference, _ = synthetic_targets(grads, targets)
    chosen = ridge_in_span(grads, targets, ridge)
    fit = solve_ridge(TangentFeatures(grads.projected), reference, ridge=chosen)
    weights = xp.matmul(fit.weights[:, None, :], grads.basis)[:, 0, :]
    return dataclasses.replace(fit, weights=weights, sketch=grads.sketch)
