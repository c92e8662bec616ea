"""Objectives of distilled inputs: what they say is what their definition says, and so are their slopes.

For features F (n, d) of the data and F̃ (m, d) of distilled inputs, Π̃ the projector on the span of F̃'s rows and Π_μ the
damped one, K_Π = F F̃ᵀ (F̃F̃ᵀ + μI)⁻¹ F̃ Fᵀ, with σ_i the singular values of F,

    Σ_{i>m} σ_i² ≤ ‖F(I − Π̃)‖_F² ≤ tr(FFᵀ) − tr(K_Π) ≤ ‖F‖_F²,

the first by Eckart, Young and Mirsky, the second as Π_μ ≤ Π̃. The share of it does not change under permutations, common
rotations of the feature space, and changes of unit of F or of F̃, by powers of two to the last bit.

Rounding: K_Π is solved with condition number κ ≤ 1 + ‖F̃‖²/μ, so that its trace is off by c·eps·N·κ of tr(FFᵀ) (K3).
Slopes are compared with Richardson's extrapolation of central differences of the definition, computed in float64.
A barycentre has weights on the simplex and costs at most the variance, as the mean of the cloud alone does: points are
means of what transport sends them, and means reduce squares.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dntk.distill.data.barycentres import FreeSupport, WeightedSupport, transport_cost
from dntk.distill.data.nystrom_residual import residual, residual_gradient
from dntk.distill.data.prediction_losses import Platt, SquaredError
from property_tests.allowances import allowance, eps
from property_tests.strategies import features, for_libraries, host64, orthogonal

dampings = st.sampled_from([1e-3, 1e-1, 1.0])
seeds = st.integers(0, 2**32 - 1)


class Split:
    """The features of a case, first output: of the data, and of a few inputs near and far from them."""

    def __init__(self, case, seed):
        rng = np.random.default_rng(seed)
        self.points = case.values[0]
        n, d = self.points.shape
        m = max(1, n // 2)
        mixed = rng.standard_normal((m, n)).astype(case.dtype) @ self.points / np.sqrt(n)
        self.inducing = mixed.astype(case.dtype)
        self.size = max(n, d)

    def exact(self, ridge):
        """The definition in float64: the damped share, and the scale of its rounding."""
        return definition(self.points.astype(np.float64), self.inducing.astype(np.float64), ridge)


def definition(points, inducing, ridge):
    """1 − tr(K_Π)/tr(FFᵀ) by a dense solve."""
    gram = inducing @ inducing.T
    mu = ridge * np.trace(gram) / len(gram)
    across = inducing @ points.T
    return 1 - np.sum(across * np.linalg.solve(gram + mu * np.eye(len(gram)), across)) / np.sum(points**2)


def kappa(inducing, ridge):
    """1 + ‖F̃‖²/μ, at most 1 + m/ridge."""
    return 1 + len(inducing) / ridge


def is_normal(split):
    """Whether fourth powers stay in the range of the dtype, and the features are not zero."""
    norms = [np.linalg.norm(x.astype(np.float64)) for x in (split.points, split.inducing)]
    limit = 1e8 if split.points.dtype == np.float32 else 1e70
    return all(1 / limit < norm < limit for norm in norms)


@for_libraries(case=features(), ridge=dampings, seed=seeds, jax_examples=3)
def test_residual_is_between_the_pca_tail_and_everything(library, case, ridge, seed):
    split = Split(case, seed)
    if not is_normal(split):
        return
    found = residual(library.array(split.points, case.dtype), library.array(split.inducing, case.dtype), ridge=ridge)
    wide, span = split.points.astype(np.float64), split.inducing.astype(np.float64)
    squares = np.linalg.svd(wide, compute_uv=False) ** 2
    tail = np.sum(squares[len(span) :]) / np.sum(squares)
    slack = allowance("K3", case.dtype, split.size, kappa(span, ridge))
    assert abs(found - split.exact(ridge)) <= slack
    assert tail - slack <= found <= 1 + slack


@for_libraries(case=features(), ridge=dampings, seed=seeds, jax_examples=3)
def test_slope_of_the_residual_is_that_of_its_definition(library, case, ridge, seed):
    split = Split(case, seed)
    if not is_normal(split):
        return
    _, slope = residual_gradient(
        library.array(split.points, case.dtype), library.array(split.inducing, case.dtype), ridge=ridge
    )
    points, inducing = split.points.astype(np.float64), split.inducing.astype(np.float64)
    direction = np.random.default_rng(seed + 1).standard_normal(inducing.shape)
    direction *= np.linalg.norm(inducing) / np.linalg.norm(direction)

    def central(step):
        ends = [definition(points, inducing + sign * step * direction, ridge) for sign in (1, -1)]
        return (ends[0] - ends[1]) / (2 * step)

    step = 1e-3 * ridge / (ridge + 1)
    exact = (4 * central(step / 2) - central(step)) / 3
    condition = kappa(inducing, ridge)
    # Along ‖D‖ = ‖F̃‖ the slope is at most 4κ of the share; Richardson leaves O(step⁴) and eps·κ/step of rounding.
    slack = 4 * condition * (allowance("K3", case.dtype, split.size, condition) + step**2)
    slack += 4 * split.size * eps("float64") * condition / step
    assert abs(float(np.sum(host64(slope) * direction)) - exact) <= slack


@for_libraries(case=features(few=[(1, 6, 9)]), ridge=dampings, seed=seeds, jax_examples=2)
def test_residual_does_not_depend_on_order_basis_or_unit(library, case, ridge, seed):
    split = Split(case, seed)
    if not is_normal(split):
        return

    def found(points, inducing):
        placed = [library.array(x.astype(case.dtype), case.dtype) for x in (points, inducing)]
        return residual(*placed, ridge=ridge)

    points, inducing = split.points, split.inducing
    rng, plain = np.random.default_rng(seed), found(points, inducing)
    slack = 2 * allowance("K3", case.dtype, split.size, kappa(inducing, ridge))
    assert abs(found(points[rng.permutation(len(points))], inducing[::-1]) - plain) <= slack
    turn = orthogonal(rng, points.shape[1])
    assert abs(found(points @ turn, inducing @ turn) - plain) <= slack
    assert found(points * 4, inducing * 0.25) == plain


@for_libraries(
    logits=st.sampled_from([1e-3, 1.0, 30.0]),
    loss=st.sampled_from([SquaredError(), Platt(3.0)]),
    seed=seeds,
    jax_examples=2,
)
def test_slopes_of_prediction_losses_are_those_of_their_values(library, logits, loss, seed):
    rng = np.random.default_rng(seed)
    dtype = "float64" if library.has_float64 else "float32"
    predictions = (logits * rng.standard_normal((5, 3))).astype(dtype)
    targets = np.eye(3)[rng.integers(0, 3, 5)] - 1 / 3
    y = library.array(targets, dtype)
    own = loss.start(y)
    _, slope, own_slope = loss.value(library.array(predictions, dtype), y, own)
    direction = rng.standard_normal((5, 3))

    def value(predictions, log_scale):
        p, t = predictions.astype(np.float64), targets
        if isinstance(loss, SquaredError):
            return np.sum((p - t.astype(dtype)) ** 2) / 10
        scores = np.exp(log_scale) * p
        top = np.max(scores, axis=1)
        return np.mean(np.log(np.sum(np.exp(scores - top[:, None]), axis=1)) + top - scores[t > 0])

    start = float(host64(own["log_scale"])[0]) if own else 0.0
    step = 1e-4 / (1 + logits)
    exact = (value(predictions + step * direction, start) - value(predictions - step * direction, start)) / (2 * step)
    # The third derivative is at most (τ|D|)³; values of size 3τ·logits lose their rounding over the step.
    norm = float(np.linalg.norm(direction))
    size = 1 + 3 * logits * np.sqrt(15)
    slack = step**2 * (3 * norm) ** 3 + 100 * eps("float64") * size / step + 100 * eps(dtype) * (size + norm)
    assert abs(float(np.sum(host64(slope) * direction)) - exact) <= slack
    for name, found in own_slope.items():
        assert name == "log_scale"
        exact = (value(predictions, start + step) - value(predictions, start - step)) / (2 * step)
        slack = step**2 * size**3 + 100 * eps("float64") * size / step + 100 * eps(dtype) * size
        assert abs(float(host64(found)[0]) - exact) <= slack


clouds = st.sampled_from(["normal", "clusters", "copies", "line"])


def cloud(story, seed, n=24):
    """Points (n, 3) of several shapes."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((n, 3))
    if story == "clusters":
        points = 0.01 * points + 5 * rng.standard_normal((3, 3))[rng.integers(0, 3, n)]
    if story == "copies":
        points = np.repeat(points[: n // 4], 4, axis=0)
    if story == "line":
        points = points[:, :1] * np.ones(3)
    return points


@pytest.mark.parametrize("kind", [FreeSupport(iterations=20), WeightedSupport(rounds=3)])
@given(story=clouds, size=st.sampled_from([1, 3, 5]), seed=st.integers(0, 2**32 - 1))
def test_barycentres_cost_no_more_than_the_mean_of_the_cloud(kind, story, size, seed):
    points = cloud(story, seed)
    support, weights = kind.summarise(points, size, seed=seed)
    assert support.shape == (size, 3)
    assert np.all(weights >= 0)
    assert abs(np.sum(weights) - 1) <= 4 * size * eps("float64")
    cost = transport_cost(points, support, weights)
    scale = float(np.mean(np.sum((points - points.mean(axis=0)) ** 2, axis=1)))
    slack = 1e-12 * (scale + float(np.max(points**2)))
    assert cost <= scale + slack
