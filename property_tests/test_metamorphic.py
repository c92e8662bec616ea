"""Changes that must not matter, or matter in a known way.

* Points permuted: weights and predictions are those of before, the dual and the eigenvectors' rows
  move along.
* Features in another orthonormal basis, ψ → Qψ: kernels, hence predictions, spectra and traces,
  stay.
* Features scaled by c with the ridge scaled by c²: predictions stay, w → w/c, α → α/c²; targets
  scaled: all scale.
* Outputs are independent problems: solving them one at a time gives the same.
* A slice of points has the slice of the kernel; two sets of points have the blocks of the kernel, and
  their features are those of each, whatever the batch size.
* Every point twice with twice the ridge, zero points with zero targets, and zero features: the fit
  stays. Features side by side: kernels add up.

Rounding: fits 4c·eps·N·κ‖y‖, c = 0.18 (K3), and λα 4c·eps·N·κ‖y‖, c = 0.71 (K1 carried forward),
for each of the two solves; a transformed input is rounded to its dtype once more, a backward error
of 2·eps·√P·‖K‖ of the same kind, and is given the same allowance a third time. Spectra:
4c·eps·N·‖K‖, c = 0.46 (W1), for each of two, and the rounding of the input. Gradients of networks:
`Network.gradient_error`; a sparse sketch has unit columns, so that ‖Sφ‖ ≤ ‖φ‖₁ ≤ √P‖φ‖.
"""

import dataclasses

import numpy as np
from hypothesis import strategies as st

import dntk
from dntk import spectrum
from dntk.distill.gradients import Principal
from dntk.solve import ridge as solve_ridge
from dntk.solve import same_span
from property_tests.allowances import allowance, gamma, solved
from property_tests.networks import networks
from property_tests.strategies import (
    features,
    for_libraries,
    host64,
    orthogonal,
    relative_ridges,
)


def changed(case, values, targets=None):
    """The case with other features and targets, in the same dtype."""
    targets = case.targets if targets is None else targets
    return dataclasses.replace(case, values=np.asarray(values).astype(case.dtype), targets=targets.astype(case.dtype))


def fits_of(library, case, ridge):
    fit = solve_ridge(case.phi(library), case.y(library), ridge=ridge)
    return fit, host64(fit.predict(case.phi(library)))


def fit_slack(case, relative):
    return 3 * allowance("K3", case.dtype, case.size, (1 + 1 / relative) * np.linalg.norm(case.wide_targets))


def dual_slack(case, relative):
    """The same for λ·α (K1 carried forward)."""
    kappa = 1 + 1 / relative
    return 3 * solved(case.dtype, case.size, kappa, np.linalg.norm(case.wide_targets))


def spectrum_slack(case):
    return 3 * allowance("W1", case.dtype, case.size, np.linalg.norm(case.joined, 2) ** 2)


def values_of(library, case):
    """Eigenvalues; where there is no float64, accurate to √: compare within the Gram's rounding."""
    return host64(spectrum.eigenvalues(case.phi(library)))


@for_libraries(case=features(), relative=relative_ridges, seed=st.integers(0, 2**32 - 1))
def test_points_may_come_in_any_order(library, case, relative, seed):
    ridge = relative * case.norm
    order = np.random.default_rng(seed).permutation(case.shape[1])
    other = changed(case, case.values[:, order], case.targets[order])
    first, fits = fits_of(library, case, ridge)
    second, turned = fits_of(library, other, ridge)
    slack = fit_slack(case, relative)
    assert np.linalg.norm(fits[order] - turned) <= slack
    slack = dual_slack(case, relative) / ridge
    assert np.linalg.norm(host64(first.dual)[:, order] - host64(second.dual)) <= slack
    difference = host64(first.weights) - host64(second.weights)
    assert np.linalg.norm(difference) <= slack * np.sqrt(case.norm)
    spectra = values_of(library, case) - values_of(library, other)
    assert np.all(np.abs(spectra) <= spectrum_slack(case))


@for_libraries(case=features(), relative=relative_ridges, seed=st.integers(0, 2**32 - 1))
def test_basis_of_the_features_does_not_matter(library, case, relative, seed):
    ridge = relative * case.norm
    turn = orthogonal(np.random.default_rng(seed), case.shape[2])
    other = changed(case, case.wide @ turn)
    _, fits = fits_of(library, case, ridge)
    _, turned = fits_of(library, other, ridge)
    assert np.linalg.norm(fits - turned) <= fit_slack(case, relative)
    spectra = values_of(library, case) - values_of(library, other)
    assert np.all(np.abs(spectra) <= spectrum_slack(case))
    scale = allowance("H1", case.dtype, case.size, 2.0)
    residuals = [Principal(1).distill(c.phi(library), c.y(library)).trace_residual for c in (case, other)]
    if case.shape[0] == 1:  # with several outputs, equal eigenvalues of K̄ may choose other directions
        assert abs(residuals[0] - residuals[1]) <= scale


@for_libraries(case=features(), relative=relative_ridges, factor=st.sampled_from([2.0**-5, 0.3, 1.0, 4.0, 1e3]))
def test_scales_of_features_and_ridge_cancel(library, case, relative, factor):
    ridge = relative * case.norm
    other = changed(case, case.wide * factor)
    first, fits = fits_of(library, case, ridge)
    second, scaled = fits_of(library, other, ridge * factor**2)
    slack = fit_slack(case, relative)
    assert np.linalg.norm(fits - scaled) <= slack
    difference = host64(first.dual) - host64(second.dual) * factor**2
    slack = dual_slack(case, relative) / ridge
    assert np.linalg.norm(difference) <= slack
    difference = host64(first.weights) - host64(second.weights) * factor
    assert np.linalg.norm(difference) <= slack * np.sqrt(case.norm)
    kappa = (1 + 1 / relative) * case.shape[1]
    change = spectrum.effective_dimension(case.phi(library), ridge)
    change -= spectrum.effective_dimension(other.phi(library), ridge * factor**2)
    assert abs(change) <= 2 * allowance("K6", case.dtype, case.size, kappa)


@for_libraries(case=features(), relative=relative_ridges, seed=st.integers(0, 2**32 - 1))
def test_fits_are_linear_in_the_targets(library, case, relative, seed):
    ridge = relative * case.norm
    more = np.random.default_rng(seed).standard_normal(case.targets.shape).astype(case.dtype)
    both = case.wide_targets - 3 * more.astype(np.float64)
    all_fits = [fits_of(library, changed(case, case.values, y), ridge)[1] for y in (case.targets, more, both)]
    slack = sum(fit_slack(changed(case, case.values, y), relative) for y in (case.targets, 3 * more, both))
    assert np.linalg.norm(all_fits[0] - 3 * all_fits[1] - all_fits[2]) <= slack


@for_libraries(case=features(), relative=relative_ridges)
def test_outputs_are_independent_problems(library, case, relative):
    ridge = relative * case.norm
    fit, fits = fits_of(library, case, ridge)
    slack = fit_slack(case, relative)
    errors = []
    for c in range(case.shape[0]):
        one = changed(case, case.values[c : c + 1], case.targets[:, c : c + 1])
        single, alone = fits_of(library, one, ridge)
        errors.append(single.loo_error)
        assert np.linalg.norm(alone[:, 0] - fits[:, c]) <= slack
    # Left-out residuals carry κ² (K7); squares of residuals of the size of ‖y‖.
    norm = np.linalg.norm(case.wide_targets)
    kappa = 1 + 1 / relative
    each = allowance("K7", case.dtype, case.size, kappa**2 * norm)
    assert abs(np.mean(errors) - fit.loo_error) <= 4 * each * (norm * kappa + each)


@for_libraries(case=features(), seed=st.integers(0, 2**32 - 1))
def test_slices_of_points_have_slices_of_the_kernel(library, case, seed):
    phi, n = case.phi(library), case.shape[1]
    chosen = np.random.default_rng(seed).integers(0, n, size=3)
    each = host64(phi.kernel(outputs="each"))
    found = host64(phi[library.array(chosen)].kernel(phi, outputs="each"))
    lengths = np.sqrt(np.sum(case.wide**2, axis=2))
    slack = 2 * gamma(case.shape[2] + 2, case.dtype) * lengths[:, chosen, None] * lengths[:, None, :]
    assert np.all(np.abs(found - each[:, chosen]) <= slack)
    assert len(phi[: n // 2 + 1]) == n // 2 + 1


@for_libraries(case=features(), relative=relative_ridges)
def test_all_directions_give_the_full_regression(library, case, relative):
    ridge = relative * case.norm
    grads = Principal(case.shape[1]).distill(case.phi(library), case.y(library))
    _, exact = fits_of(library, case, ridge)
    slack = fit_slack(case, relative)
    for fit in (solve_ridge(grads, ridge=ridge), same_span(grads, ridge=ridge)):
        assert np.linalg.norm(host64(fit.predict(case.phi(library))) - exact) <= slack


def smooth(library):
    return networks(library, ["tanh", "identity", "gelu"])


def batches(library):
    return st.sampled_from([3] if library.module == "jax" else [1, 2, 3, 100])


@for_libraries(network=smooth, batch=batches, jax_examples=4)
def test_two_sets_of_points_have_the_blocks_of_the_kernel(library, network, batch):
    assert network.library is library
    model, x = network.model, network.x
    cut = max(1, x.shape[0] // 2)
    norm, error = network.gradient_error()
    g = gamma(model.n_outputs * model.n_parameters + 8, network.dtype)
    slack = 2 * (np.outer(norm, error) + np.outer(error, norm) + g * np.outer(norm, norm))
    whole = host64(dntk.ntk(model, x, batch_size=batch))
    first, rest = x[:cut, ...], x[-cut:, ...]
    across = host64(dntk.ntk(model, first, rest))
    assert np.all(np.abs(across - whole[:cut, -cut:]) <= slack[:cut, -cut:])
    assert np.all(np.abs(host64(dntk.ntk(model, first)) - whole[:cut, :cut]) <= slack[:cut, :cut])


@for_libraries(network=smooth, batch=batches, jax_examples=4)
def test_features_of_a_set_are_those_of_its_parts(library, network, batch):
    assert network.library is library
    model, x = network.model, network.x
    cut = max(1, x.shape[0] // 2)
    sketch = dntk.sketch.SparseSign(8, nonzeros=4, seed=network.seed)
    norm, error = network.gradient_error()
    slack = 2 * np.sqrt(model.n_parameters) * (error + gamma(4 * model.n_parameters + 8, network.dtype) * norm)
    whole = host64(dntk.tangent_features(model, x, sketch=sketch).values)
    in_batches = host64(dntk.tangent_features(model, x, sketch=sketch, batch_size=batch).values)
    assert np.all(np.linalg.norm(in_batches - whole, axis=2) <= slack)
    for points in (slice(0, cut), slice(x.shape[0] - cut, x.shape[0])):
        part = host64(dntk.tangent_features(model, x[points, ...], sketch=sketch).values)
        assert np.all(np.linalg.norm(part - whole[:, points], axis=2) <= slack[points])


@for_libraries(case=features(), relative=relative_ridges)
def test_every_point_twice_with_twice_the_ridge_is_the_same_fit(library, case, relative):
    ridge = relative * case.norm
    twice = changed(case, np.tile(case.values, (1, 2, 1)), np.tile(case.targets, (2, 1)))
    first, fits = fits_of(library, case, ridge)
    second, doubled = fits_of(library, twice, 2 * ridge)
    slack = fit_slack(case, relative) + fit_slack(twice, relative)
    n = case.shape[1]
    assert np.linalg.norm(doubled[:n] - fits) <= slack
    assert np.linalg.norm(doubled[n:] - fits) <= slack
    # Each copy of a point carries half of its dual coefficient.
    shared = host64(second.dual)[:, :n] + host64(second.dual)[:, n:]
    slack = (dual_slack(case, relative) + 2 * dual_slack(twice, relative)) / ridge
    assert np.linalg.norm(shared - host64(first.dual)) <= slack


@for_libraries(case=features(), relative=relative_ridges)
def test_zero_points_and_zero_features_change_nothing(library, case, relative):
    ridge = relative * case.norm
    more = changed(case, np.pad(case.values, ((0, 0), (0, 2), (0, 3))), np.pad(case.targets, ((0, 2), (0, 0))))
    n, k = case.shape[1:]
    first, fits = fits_of(library, case, ridge)
    second, padded = fits_of(library, more, ridge)
    assert np.linalg.norm(padded[:n] - fits) <= fit_slack(case, relative) + fit_slack(more, relative)
    assert np.all(padded[n:] == 0)
    slack = (dual_slack(case, relative) + dual_slack(more, relative)) / ridge
    assert np.linalg.norm(host64(second.dual)[:, :n] - host64(first.dual)) <= slack
    assert np.linalg.norm(host64(second.dual)[:, n:]) <= slack
    assert np.linalg.norm(host64(second.weights)[:, :k] - host64(first.weights)) <= slack * np.sqrt(case.norm)
    change = values_of(library, more)[:n] - values_of(library, case)
    assert np.all(np.abs(change) <= 2 * spectrum_slack(more))


@for_libraries(case=features(), seed=st.integers(0, 2**32 - 1))
def test_kernels_of_features_side_by_side_add_up(library, case, seed):
    other = changed(case, case.wide @ orthogonal(np.random.default_rng(seed), case.shape[2]) / 2)
    joined = changed(case, np.concatenate([case.values, other.values], axis=2))
    parts = [host64(each.phi(library).kernel(outputs="each")) for each in (case, other, joined)]
    lengths = np.linalg.norm(joined.wide, axis=2)
    slack = 2 * gamma(2 * case.shape[2] + 2, case.dtype) * lengths[:, :, None] * lengths[:, None, :]
    assert np.all(np.abs(parts[0] + parts[1] - parts[2]) <= slack)
