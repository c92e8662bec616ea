"""Ridge regression with one weight vector for all outputs: that of the linearised network itself."""

import dataclasses

from jaxtyping import Float

from dntk import arrays
from dntk._target_checks import check_targets
from dntk.features import StoredFeatures, TangentFeatures, require_comparable, require_features, require_kernel_of
from dntk.features.passes import of_points
from dntk.solve._ridge import solved
from dntk.solve.problem import RidgeProblem
from dntk.solve.regressions import Joint
from dntk.solve.ridge_fit import RidgeFit
from dntk.solve.rules import Ridge, resolve
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class JointFit:
    """One weight vector w for all outputs: f̂_c(x) = ⟨w, ψ_c(x)⟩.

    Parameters
    ----------
    weights
        w (k,).
    rows
        The regression of the stacked rows, with its λ, leave-one-out error and report.
    """

    weights: Float[Array, " k"]
    rows: RidgeFit

    @property
    def ridge(self) -> float:
        """λ, absolute."""
        return float(self.rows.ridge)  # type: ignore[arg-type]  # one target has one λ

    @property
    def loo_error(self) -> float:
        """Mean squared leave-one-out residual of a row; all rows of an input are left out with it."""
        return self.rows.loo_error

    def predict(self, phi: TangentFeatures) -> Float[Array, "n c"]:
        """Predictions of every output that ``phi`` has features of.

        Raises
        ------
        ValueError
            Features of another dimension, or made by another sketch.
        """
        own = arrays.namespace(self.weights).broadcast_to(self.weights, (phi.n_outputs, 1, self.weights.shape[0]))
        require_comparable(own, self.rows.sketch, phi, "phi")
        weights = self.weights
        return of_points(phi, lambda part: (part.values @ weights).T, name="predictions")


def joint_ridge(
    features: TangentFeatures,
    targets: Float[Array, "m c"],
    *,
    cotangents: Float[Array, "m c"] | None = None,
    ridge: Ridge = "loo",
) -> JointFit:
    """Minimise Σ_r (⟨w, ρ_r⟩ − t_r)² + λ‖w‖² over one w (k,) for all outputs; rows ρ of the full kernel's block.

    The linearised network has one parameter vector, not one for each output. On the same Jacobian rows as
    :func:`dntk.solve.ridge` every output is then predicted in the span of all C·m rows, instead of its own m.

    Parameters
    ----------
    features
        Of all outputs, (C, m, k): the rows are ψ_c(x_i), their targets y_ic. Or, with ``cotangents``, those of
        :func:`dntk.outputs.functional`, (1, m, k): the rows are Σ_c g_ic ψ_c(x_i), their targets Σ_c g_ic y_ic, at one
        Jacobian row per input.
    targets
        y (m, C): outputs of the network, or other targets.
    cotangents
        g (m, C), those that the features were made with.
    ridge
        λ, or how to choose it, as for :func:`dntk.solve.ridge`.

    Raises
    ------
    TypeError
        No features, or features on the disk, whose rows are not stacked.
    ValueError
        Targets or cotangents of other shapes; what :func:`dntk.solve.ridge` refuses.

    Notes
    -----
    Cost: O(r² k + r³) for r = C·m rows, or r = m with cotangents; memory O(r² + r k). C separate problems of m rows
    take O(C m² k). Where features of different outputs are orthogonal, as a last layer's, both are the same.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi = dntk.TangentFeatures(rng.normal(size=(2, 10, 15)))
    >>> y = phi.values @ rng.normal(size=15)  # one vector makes both outputs
    >>> joint = dntk.solve.joint_ridge(phi, y.T, ridge=1e-6)
    >>> joint.weights.shape, np.allclose(joint.predict(phi), y.T, atol=1e-4)
    ((15,), True)
    >>> new = dntk.TangentFeatures(rng.normal(size=(2, 5, 15)))
    >>> joint.predict(new).shape
    (5, 2)
    """
    require_features("features", features)
    if isinstance(features, StoredFeatures):
        msg = "`features` are on the disk: pass those of few points in memory, dntk.tangent_features without store=."
        raise TypeError(msg)
    xp, values = arrays.namespace(features.values), features.values
    m = values.shape[1]
    together = 1
    if cotangents is None:
        stacked, goals = Joint().rows(features, targets)
        rows, together = stacked.values, features.n_outputs
    else:
        _require_functionals(features, cotangents)
        y = check_targets(targets, values, points=m, outputs=cotangents.shape[1])
        weights = check_targets(cotangents, values, points=m, outputs=cotangents.shape[1], name="cotangents")
        rows, goals = values, xp.sum(weights * y, axis=1, keepdims=True)
    stacked = dataclasses.replace(features, values=rows)
    problem = RidgeProblem.of(require_kernel_of("features", stacked).values, goals, together=together)
    found = solved(problem, resolve(ridge, problem), stacked)
    return JointFit(weights=found.weights[0, :], rows=found)


def _require_functionals(features: TangentFeatures, cotangents: Array) -> None:
    if features.n_outputs != 1 or cotangents.ndim != 2:
        msg = (
            f"`cotangents` has shape {tuple(cotangents.shape)} and `features` {features.n_outputs} outputs: pass "
            "cotangents (m, C) with features of one functional per input, those of dntk.outputs.functional(model) at "
            "dntk.outputs.labelled(x, cotangents)."
        )
        raise ValueError(msg)
