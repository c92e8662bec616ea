"""Algorithms that read stored features chunk by chunk: the results of features in memory, without all at once."""

import functools
import importlib

import numpy as np
import pytest

import dntk
from dntk.distill.data import LCMD, FarthestPoint, KMeans, Leverage, MaxDet, RPCholesky
from dntk.distill.gradients import Krylov, LocalGlobal, Principal, Solution, StreamedGradients, Streaming
from dntk.features import PairedFeatures
from dntk.solve import GeneralisedCrossValidation, KFold, LargestWithin, Relative, ridge
from dntk.stores import FAN, merged_in_tree
from tests.libraries import LIBRARIES, host, interpreted

k_means = importlib.import_module("dntk.distill.data.k_means")
N, C, K = 90, 2, 12


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.id)
def library(request):
    if request.param.why_not():
        pytest.skip(request.param.why_not())
    return request.param


def scene(library, tmp_path, limit=1, n=N):
    """Features in memory, the same on the disk where nothing may be read at once, and targets."""
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(C, n, K)) * 2.0 ** -np.arange(K)).astype("f4")
    np.save(tmp_path / "values.npy", values)
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
    like = library.array(np.zeros(1, "f4"))
    stored = Chunks(mapped, like=like, memory_limit=limit)
    targets = library.array((values[:, :, 0].T + 0.1 * rng.normal(size=(n, C))).astype("f4"))
    return dntk.TangentFeatures(library.array(values)), stored, targets


class Chunks(dntk.StoredFeatures):
    """Stored features in chunks of 32 points."""

    def _chunk_rows(self):
        return 32


RULES = (
    0.05,
    "loo",
    GeneralisedCrossValidation(),
    LargestWithin(share=0.5),
    LargestWithin(GeneralisedCrossValidation(), 0.5),
    Relative(0.1),
    [0.01, 0.1, 1.0],
)


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_regression_by_chunks_is_that_of_all(rule, library, tmp_path):
    if rule != "loo":
        interpreted(library)
    phi, stored, y = scene(library, tmp_path)
    expected, found = ridge(phi, y, ridge=rule), ridge(stored, y, ridge=rule)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if library.has_float64 else {"rtol": 5e-3, "atol": 1e-3}
    np.testing.assert_allclose(found.ridge, expected.ridge, rtol=1e-5)
    np.testing.assert_allclose(host(found.weights), host(expected.weights), **tolerance)
    np.testing.assert_allclose(host(found.dual), host(expected.dual), rtol=1e-3, atol=1e-2)
    np.testing.assert_allclose(found.loo_error, expected.loo_error, rtol=1e-3)
    np.testing.assert_allclose(host(found.predict(stored[:5])), host(expected.predict(phi[:5])), rtol=1e-2, atol=1e-3)


def test_weights_of_points_and_shared_features_go_by_chunks(tmp_path):
    phi, stored, y = scene(LIBRARIES[0], tmp_path)
    weights = np.arange(N, dtype="f4") % 3
    expected, found = (ridge(one, y, ridge="loo", sample_weights=weights) for one in (phi, stored))
    np.testing.assert_allclose(found.ridge, expected.ridge)
    for name in ("weights", "dual"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.loo_error, expected.loo_error, rtol=1e-4)
    many = np.stack([y[:, 0], y[:, 1], y[:, 0] - y[:, 1]], axis=1)
    single = Chunks(np.asarray(phi.values)[0], memory_limit=1)
    expected, found = ridge(dntk.TangentFeatures(phi.values[0]), many), ridge(single, many)
    assert found.shared
    np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.dual, expected.dual, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("given", [None, [3, 17, 40]], ids=["afresh", "beside others"])
@pytest.mark.parametrize(
    "selector",
    [
        RPCholesky(9, seed=3, block=4),
        *(FarthestPoint(6), Leverage(9, seed=1), LCMD(7), MaxDet(6), MaxDet(7, ridge=0.3)),
    ],
    ids=str,
)
def test_points_chosen_by_chunks_are_those_chosen_of_all(selector, given, library, tmp_path):
    phi, stored, _ = scene(library, tmp_path)
    expected, found = selector.select(phi, given=given), selector.select(stored, given=given)
    np.testing.assert_array_equal(host(found.indices), host(expected.indices))
    rounding = 1e-5 if library.has_float64 else 1e-3
    np.testing.assert_allclose(host(found.residual_trace), host(expected.residual_trace), rtol=rounding, atol=rounding)
    np.testing.assert_allclose(host(found.weights), host(expected.weights), rtol=1e-3)
    assert found.trace == pytest.approx(expected.trace, rel=1e-6)


@pytest.mark.parametrize("given", [None, [3, 17, 40]], ids=["afresh", "beside others"])
@pytest.mark.parametrize("size", [4, 20, 85], ids=["of a sample", "of all", "with empty ones"])
def test_clusters_by_chunks_are_those_of_all(size, given, library, tmp_path):
    phi, stored, _ = scene(library, tmp_path)
    selector = KMeans(size, seed=1)
    expected, found = selector.select(phi, given=given), selector.select(stored, given=given)
    np.testing.assert_array_equal(host(found.indices), host(expected.indices))
    np.testing.assert_allclose(host(found.weights), host(expected.weights), rtol=1e-5)


def test_clusters_by_chunks_of_long_features_are_of_their_sketch(tmp_path, monkeypatch):
    phi, stored, _ = scene(LIBRARIES[0], tmp_path)
    monkeypatch.setattr(k_means, "DIMENSIONS", 9)
    expected, found = KMeans(5).select(phi), KMeans(5).select(stored)
    np.testing.assert_array_equal(found.indices, expected.indices)
    monkeypatch.undo()
    assert set(found.indices.tolist()) != set(KMeans(5).select(phi).indices.tolist())


def test_features_of_chosen_points_are_read_from_their_chunks_alone(tmp_path, monkeypatch):
    phi, stored, _ = scene(LIBRARIES[0], tmp_path)
    read, host_of = [], Chunks._host
    monkeypatch.setattr(Chunks, "_host", lambda self, *span: read.append(span) or host_of(self, *span))
    found = stored[[70, 3, 65]]
    np.testing.assert_array_equal(found.values, phi.values[:, [70, 3, 65], :])
    assert set(read) == {(0, 1), (0, 32), (64, N)}


def test_points_beyond_the_rank_leave_nothing(tmp_path):
    phi, stored, _ = scene(LIBRARIES[0], tmp_path)
    found = RPCholesky(40).select(stored)
    assert len(set(host(found.indices).tolist())) == 40
    np.testing.assert_allclose(found.residual_trace, RPCholesky(40).select(phi).residual_trace, atol=1e-6)


def test_streaming_takes_stored_features_with_their_targets(library, tmp_path):
    phi, stored, y = scene(library, tmp_path)
    spans = ((0, 32), (32, 64), (64, N))
    found = Streaming(5).stream(stored.paired(y))
    parts = [Streaming(5).stream([(phi[a:b], y[a:b, :])]) for a, b in spans]
    expected = merged_in_tree(parts, StreamedGradients.merged)
    np.testing.assert_array_equal(host(found.rows), host(expected.rows))
    np.testing.assert_array_equal(host(found.products), host(expected.products))
    assert isinstance(stored.paired(y), PairedFeatures)
    np.testing.assert_allclose(  # any other pass over the same chunks
        host(found.products), host(Streaming(5).stream(iter(stored.paired(y))).products), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("parts", [1, 2, 7, 8, 9, 16, 63, 64, 65, 71, 513])
def test_results_of_parts_meet_in_the_order_that_their_number_gives(parts):
    def met(left, right):
        return f"({left} {right})"

    level = [str(i) for i in range(parts)]
    while len(level) > 1:  # level by level, as a cluster does it
        level = [functools.reduce(met, level[i : i + FAN]) for i in range(0, len(level), FAN)]
    assert merged_in_tree(map(str, range(parts)), met) == level[0]


DISTILLERS = [
    *(Principal(4), Principal(4, per_output=True), Krylov(4), Krylov(4, per_output=False)),
    *(Solution(4), Solution(5, ridge=0.1, multiples=(0.1, 1.0)), Solution(4, ridge=[0.1, 1.0], per_output=False)),
]


def projections(directions):
    """UUᵀ of every output: directions themselves have no sign."""
    return directions @ np.swapaxes(directions, -1, -2)


@pytest.mark.parametrize("distiller", DISTILLERS, ids=str)
def test_gradients_distilled_by_chunks_are_those_of_all(distiller, library, tmp_path):
    phi, stored, y = scene(library, tmp_path)
    expected, found = distiller.distill(phi, y), distiller.distill(stored, y)
    rounding = 2e-5 if library.has_float64 else 5e-3
    np.testing.assert_allclose(
        projections(host(found.directions)), projections(host(expected.directions)), atol=10 * rounding
    )
    assert host(found.directions).shape == host(expected.directions).shape
    own = host(found.directions)
    turned = np.swapaxes(own, -1, -2)
    np.testing.assert_allclose(turned @ own, np.broadcast_to(np.eye(own.shape[-1]), (turned @ own).shape), atol=1e-5)
    np.testing.assert_allclose(host(found.values), turned @ host(phi.values), atol=1e-4)
    np.testing.assert_allclose(
        host(found.projected), host(phi.values) @ np.swapaxes(host(found.basis), 1, 2), atol=1e-4
    )
    np.testing.assert_allclose(host(found.reference_targets), host(y))
    for name in ("coverage", "gap", "trace_residual"):
        np.testing.assert_allclose(host_or_number(found, name), host_or_number(expected, name), atol=10 * rounding)
    assert found.ridge == (expected.ridge and pytest.approx(expected.ridge, rel=1e-5))
    fits = [ridge(grads, ridge=0.1).predict(phi) for grads in (found, expected)]
    np.testing.assert_allclose(host(fits[0]), host(fits[1]), atol=50 * rounding)


def host_or_number(grads, name):
    value = getattr(grads, name)
    return value if isinstance(value, float) else host(value)


@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_targets_of_another_size_than_features_keep_their_directions(scale, tmp_path):
    _, stored, y = scene(LIBRARIES[0], tmp_path)
    one, other = (Krylov(3).distill(stored, factor * y) for factor in (1.0, scale))
    np.testing.assert_allclose(projections(one.directions), projections(other.directions), atol=1e-4)
    np.testing.assert_allclose(other.targets, scale * one.targets, rtol=1e-3, atol=1e-5 * scale)


def test_few_shared_directions_are_those_of_the_largest_solutions(tmp_path):
    phi, stored, y = scene(LIBRARIES[0], tmp_path)
    y = np.stack([y[:, 0], 1e-3 * y[::-1, 0]], axis=1)
    expected, found = (Solution(1, ridge=0.1, per_output=False).distill(one, 1e4 * y) for one in (phi, stored))
    np.testing.assert_allclose(projections(found.directions), projections(expected.directions), atol=1e-4)


@pytest.mark.parametrize("share", [1e-20, 1e20])
def test_targets_of_different_sizes_all_keep_their_solutions(share, tmp_path):
    phi, stored, y = scene(LIBRARIES[0], tmp_path)
    y = y * np.asarray([1, share], "f4")
    solution = Solution(4, ridge=0.1, per_output=False)
    expected, found = ridge(phi, y, ridge=0.1).predict(phi), ridge(solution.distill(stored, y), ridge=0.1).predict(phi)
    for c in range(C):
        np.testing.assert_allclose(found[:, c], expected[:, c], atol=1e-3 * np.abs(expected[:, c]).max())


@pytest.mark.parametrize("size", [2, 3, 6])
def test_gradients_by_chunks_beyond_the_rank_are_orthonormal_and_lose_nothing(size, tmp_path):
    rng = np.random.default_rng(3)
    values = (rng.integers(-4, 5, (1, N, 2)) @ rng.integers(-4, 5, (1, 2, 8))).astype("f4")  # of rank 2, not rounded
    np.save(tmp_path / "thin.npy", values)
    stored = Chunks(np.load(tmp_path / "thin.npy", mmap_mode="r"), memory_limit=1)
    for distiller in (Principal(size), Krylov(size), Solution(size, ridge=0.1)):
        found = distiller.distill(stored, rng.normal(size=(N, 1)).astype("f4"))
        turned = np.swapaxes(found.directions, -1, -2)
        gram = turned @ found.directions
        np.testing.assert_allclose(gram, np.broadcast_to(np.eye(size), gram.shape), atol=1e-5)
        assert found.trace_residual < 1e-6 or not isinstance(distiller, Principal)


def test_dead_features_have_no_directions_by_chunks_either(tmp_path):
    np.save(tmp_path / "zero.npy", np.zeros((1, N, 3), "f4"))
    stored = Chunks(np.load(tmp_path / "zero.npy", mmap_mode="r"), memory_limit=1)
    with pytest.raises(ValueError, match="all tangent features are zero"):
        Principal(2).distill(stored, np.ones((N, 1), "f4"))


def test_no_parts_are_refused():
    with pytest.raises(ValueError, match="no parts to merge"):
        merged_in_tree([], max)


def test_a_certificate_of_a_stored_reference_is_that_of_one_in_memory(tmp_path):
    phi, stored, y = scene(LIBRARIES[0], tmp_path)
    selection = RPCholesky(8).select(phi)
    for approximation in (selection, Principal(4).distill(phi, y)):
        expected = dntk.certify(reference=phi, approximation=approximation, targets=y)
        found = dntk.certify(reference=stored, approximation=approximation, targets=y)
        bounds = [host(one.prediction_bound(phi).value) for one in (found, expected)]
        assert np.all(bounds[0] >= bounds[1] * (1 - 1e-6))
        for name in ("spectral_error", "frobenius_error", "trace_error", "prediction_error", "energy_error"):
            np.testing.assert_allclose(getattr(found, name).value, getattr(expected, name).value, rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(found.eigenvalue_intervals.lower, expected.eigenvalue_intervals.lower, rtol=1e-6)
        assert np.all(
            host(found.prediction_bound(phi).value) >= host(expected.prediction_bound(phi).value) * (1 - 1e-6)
        )


def test_what_needs_all_at_once_says_so_and_what_does_not(tmp_path):
    _, stored, y = scene(LIBRARIES[0], tmp_path)
    calls = [
        lambda: ridge(stored, y, ridge=KFold()),
        lambda: LocalGlobal(clusters=2).distill(stored, y),
        lambda: Principal(27).distill(stored, y),  # more than there are columns
        lambda: dntk.spectrum.eigenvalues(stored),
        lambda: stored.kernel(),
    ]
    for call in calls:
        with pytest.raises(MemoryError, match=r"take 8,640 bytes at once, 1 are allowed.*What reads them in chunks"):
            call()


def test_what_needs_all_at_once_is_done_where_they_fit(tmp_path):
    phi, stored, _ = scene(LIBRARIES[0], tmp_path, limit=10**6)
    np.testing.assert_array_equal(KMeans(4).select(stored).indices, KMeans(4).select(phi).indices)
    np.testing.assert_array_equal(stored.kernel(), phi.kernel())
