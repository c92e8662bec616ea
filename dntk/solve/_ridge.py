"""Ridge regression on tangent features: primal or dual by shape, λ given or chosen, with exact leave-one-out."""

import dataclasses
import functools
from collections.abc import Sequence

from jaxtyping import Float

from dntk import arrays
from dntk._checks import kind_of
from dntk._foreign import require_plain_array
from dntk._progress import task
from dntk._target_checks import check_targets
from dntk.distilled_gradients import DistilledGradients
from dntk.features import StoredFeatures, TangentFeatures, require_kernel_of
from dntk.solve._by_chunks import ChunkedProblem, goes_by_chunks, ridge_by_chunks
from dntk.solve.conditioning import Jitter, SolveReport
from dntk.solve.problem import RidgeProblem
from dntk.solve.ridge_fit import RidgeFit
from dntk.solve.rules import Ridge, feature_ridge, resolve
from dntk.solve.solution import Solution, solve
from dntk.types import Array


def ridge(
    features: TangentFeatures | DistilledGradients,
    targets: Float[Array, "n c"] | Float[Array, "c s"] | None = None,
    *,
    ridge: Ridge = "loo",
    sample_weights: Float[Array, " n"] | None = None,
    jitter: Jitter | None = None,
) -> RidgeFit:
    """Minimise Σ_i w_i(⟨w, ψ_c(x_i)⟩ − y_ic)² + λ‖w‖² for every output; as scikit-learn's ``KernelRidge`` on K^c.

    Parameters
    ----------
    features
        Tangent features, or synthetic gradients: those are regressed on their own targets, which is the Galerkin
        projection of (K + λI)α = y on the span of their directions (the paper's predictor). See
        :func:`dntk.solve.same_span` for the better solution in the same span. Features of one output may be shared by
        any number of targets.
    targets
        (n, C). For synthetic gradients optional: (m, C) targets of the reference points, or (C, s) synthetic ones.
    ridge
        λ in units of squared features, or how to choose it: :class:`dntk.solve.LeaveOneOut`,
        :class:`dntk.solve.GeneralisedCrossValidation`, :class:`dntk.solve.KFold`; :class:`dntk.solve.PerOutput` has one
        for each output, and :class:`dntk.solve.LargestWithin` takes the largest λ that is nearly as good. ``"loo"`` is
        leave-one-out over 41 values between 1e-8 and 1e2 times the kernel's mean diagonal; a sequence is a grid of
        absolute values to choose from by leave-one-out. For synthetic gradients the points left out are the reference
        points and the predictor the one in the same span; where the directions were made from these targets, ``"loo"``
        is the ridge that the distiller chose on the features.
    sample_weights
        w_i ≥ 0, default 1. An integer weight is as many equal points; leave-one-out leaves all of them out.
    jitter
        Permission to enlarge a ridge at which the system is singular to rounding; what was added is reported.

    Returns
    -------
    RidgeFit
        In the dtype of the features. Up to 10⁴ points everything is computed in float64 where the device has it;
        beyond, products are formed in the dtype of the features and added up in float64, and where their measured
        rounding is not below 1e-3 of λ the solution is refined with products in float64.

    Raises
    ------
    ValueError
        A ridge that is not positive or so small that the system is singular to rounding, features that are zero
        throughout, targets of another shape or not finite, weights that are negative or all zero.
    TypeError
        Anything but features or synthetic gradients; those streamed in one pass have solvers of their own.

    Notes
    -----
    Of :class:`dntk.StoredFeatures` of more points than features chunks are read, in three passes (two where λ is given
    or chosen by GCV), with O(C·k²) of memory and products in float64; folds and a λ for each output need all at once.
    Dual Cholesky O(n²k + n³/3) for n ≤ k, else primal O(nk² + k³/3), per set of features. Choosing λ adds an
    eigendecomposition of min(n, k) for all candidates. Leave-one-out: (y_i − f_i)/(1 − h_i), O(n·min(n, k)²).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> phi, y = dntk.TangentFeatures(rng.normal(size=(2, 40, 8))), rng.normal(size=(40, 2))
    >>> fit = dntk.solve.ridge(phi, y, ridge=1.0)
    >>> fit.weights.shape, fit.predict(phi).shape
    ((2, 8), (40, 2))
    >>> psi = phi.values[0]
    >>> np.allclose(fit.weights[0], np.linalg.solve(psi.T @ psi + np.eye(8), psi.T @ y[:, 0]))
    True
    >>> chosen = dntk.solve.ridge(phi, y)  # λ by leave-one-out
    >>> chosen.loo_error <= fit.loo_error * 1.01
    True
    """
    if isinstance(features, DistilledGradients):
        if sample_weights is not None:
            msg = "`sample_weights` weigh points, and synthetic gradients have none: pass the weights to the distiller."
            raise ValueError(msg)
        return _on_synthetic_gradients(features, targets, ridge)
    _require_features(features)
    if targets is None:
        msg = "`targets` is missing: pass one row per point and one column per output."
        raise ValueError(msg)
    y, shared = outputs_of(features, targets)
    weights = None if sample_weights is None else check_weights(sample_weights, features.sample.values, len(features))
    if goes_by_chunks(features, ridge):
        assert isinstance(features, StoredFeatures)
        chunked = ChunkedProblem(features=features, targets=y, shared=shared, weights=weights)
        return ridge_by_chunks(chunked, ridge, jitter)
    problem = RidgeProblem.of(features.values, y, weights)
    with task("ridge regression", total=2) as bar:
        chosen = resolve(ridge, problem)
        bar.advance()
        fit = solved(problem, chosen, features, shared=shared, jitter=jitter)
        bar.advance()
    return fit


def outputs_of(features: TangentFeatures, targets: Array) -> tuple[Float[Array, "n c"], bool]:
    """Checked targets, and whether several of them share one set of features; ``TypeError`` for other things."""
    _require_features(features)
    require_plain_array("targets", targets)
    shared = features.n_outputs == 1 and targets.ndim == 2 and targets.shape[1] > 1
    outputs = targets.shape[1] if shared else features.n_outputs
    return check_targets(targets, features.sample.values, points=len(features), outputs=outputs), shared


def _require_features(features: object) -> None:
    if isinstance(features, TangentFeatures):
        require_kernel_of("features", features)
        return
    msg = (
        f"`features` is {kind_of(features)}: expected dntk.TangentFeatures. Wrap an array (n, k) or "
        "(C, n, k) in dntk.TangentFeatures(values); StreamedGradients have solvers of their own, .solve(ridge) and "
        ".same_span(chunks, ridge); NormalEquations go to dntk.solve.solve_statistics(statistics, ridge=...); "
        "DistilledGradients only to dntk.solve.ridge and dntk.solve.same_span."
    )
    raise TypeError(msg)


def check_weights(sample_weights: Array, like: Float[Array, "c _ k"], points: int) -> Float[Array, " n"]:
    """Weights of the points in the dtype of the features.

    Raises
    ------
    ValueError
        Another number of weights than points, one that is negative or not finite, or none that is positive.
    """
    xp = arrays.require_same_place(features=like, sample_weights=sample_weights)
    if not xp.isdtype(sample_weights.dtype, ("integral", "real floating")):
        msg = f"`sample_weights` has dtype {sample_weights.dtype}: expected numbers of at least 0, one per point."
        raise TypeError(msg)
    if sample_weights.ndim != 1 or sample_weights.shape[0] != points:
        msg = f"`sample_weights` has shape {tuple(sample_weights.shape)}: expected one per point, ({points},)."
        raise ValueError(msg)
    arrays.require_finite("sample_weights", sample_weights)
    if float(xp.min(sample_weights)) < 0 or float(xp.max(sample_weights)) <= 0:
        msg = "`sample_weights` must not be negative, and one must be positive: use 0 to leave a point out."
        raise ValueError(msg)
    return xp.astype(sample_weights, like.dtype, copy=False)


def solved(
    problem: RidgeProblem,
    chosen: float | tuple[float, ...],
    features: TangentFeatures,
    *,
    shared: bool = False,
    jitter: Jitter | None = None,
) -> RidgeFit:
    """The regression of a problem that was made of ``features``, for λ as it was chosen."""
    xp = arrays.namespace(problem.features)
    if isinstance(chosen, tuple):
        parts = [solve(part, r, jitter) for part, r in zip(_by_output(problem), chosen, strict=True)]
        axis = 0 if problem.targets.shape[2] == 1 else 2
        weights = xp.concat([part.weights for part in parts], axis=axis)
        dual = xp.concat([part.dual for part in parts], axis=axis)
        report = functools.reduce(_worse, (part.report for part in parts))
        solution = Solution(weights=weights, dual=dual, left_out=lambda: _mean_error(parts), report=report)
    else:
        solution = solve(problem, chosen, jitter)
    dual = solution.dual if problem.scale is None else solution.dual * problem.scale[None, :, None]
    dtype = features.values.dtype
    return RidgeFit(
        weights=xp.astype(_outputs_first(solution.weights), dtype, copy=False),
        dual=xp.astype(_outputs_first(dual), dtype, copy=False),
        ridge=chosen,
        left_out=solution.left_out,
        report=solution.report,
        sketch=features.sketch,
        shared=shared,
    )


def _by_output(problem: RidgeProblem) -> list[RidgeProblem]:
    g, _, q = problem.targets.shape
    return [
        dataclasses.replace(
            problem, features=problem.features[i : i + 1, :, :], targets=problem.targets[i : i + 1, :, j : j + 1]
        )
        for i in range(g)
        for j in range(q)
    ]


def _mean_error(parts: Sequence[Solution]) -> float:
    return sum(part.left_out() for part in parts) / len(parts)


def _worse(one: SolveReport, other: SolveReport) -> SolveReport:
    return SolveReport(
        condition=max(one.condition, other.condition),
        rounding=max(one.rounding, other.rounding),
        forward_error=max(one.forward_error, other.forward_error),
        jitter=max(one.jitter, other.jitter),
        refinements=max(one.refinements, other.refinements),
    )


def _outputs_first(x: Float[Array, "g m q"]) -> Float[Array, "c m"]:
    return x[:, :, 0] if x.shape[2] == 1 else x[0, :, :].T


def _on_synthetic_gradients(grads: DistilledGradients, targets: Array | None, ridge: Ridge) -> RidgeFit:
    """Galerkin solution; leave-one-out refers to the reference points in the same span."""
    xp = arrays.namespace(grads.values)
    reference, synthetic = synthetic_targets(grads, targets)
    chosen = ridge_in_span(grads, targets, ridge)
    own = TangentFeatures(grads.values, grads.sketch)
    fit = solved(RidgeProblem.of(own.values, synthetic.T), chosen, own)
    in_span = solve(RidgeProblem.of(grads.projected, reference), chosen)
    # w = Φ̂ᵀa = ΨᵀU a: the dual over the reference points is U a.
    a = fit.dual[:, :, None]
    dual = xp.matmul(grads.directions, a)[:, :, 0]
    return dataclasses.replace(fit, dual=dual, left_out=in_span.left_out)


def ridge_in_span(grads: DistilledGradients, targets: Array | None, ridge: Ridge) -> float:
    """λ for synthetic gradients.

    Leave-one-out in a span that was made from the very targets is too optimistic: there ``"loo"`` means the ridge
    that the distiller chose by leave-one-out on the features.
    """
    if isinstance(ridge, str) and ridge == "loo" and targets is None and grads.ridge is not None:
        return grads.ridge
    return feature_ridge(ridge, grads.projected, synthetic_targets(grads, targets)[0])


def synthetic_targets(
    grads: DistilledGradients, targets: Array | None
) -> tuple[Float[Array, "m c"], Float[Array, "c s"]]:
    """Targets of the reference points and of the synthetic gradients, from either or from the stored ones."""
    if targets is None:
        return grads.reference_targets, grads.targets
    require_plain_array("targets", targets)
    c, m, s = grads.projected.shape
    if tuple(targets.shape) == (c, s) and (m, c) != (c, s):
        arrays.require_same_place(gradients=grads.values, targets=targets)
        arrays.require_floating("targets", targets)
        arrays.require_finite("targets", targets)
        return grads.reference_targets, targets
    y = check_targets(targets, grads.values, points=m, outputs=c)
    xp = arrays.namespace(y)
    return y, xp.matmul(grads.directions.mT, y.T[:, :, None])[:, :, 0]
