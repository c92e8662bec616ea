"""Sums over chunks do not depend on the unit of gradients and targets; they say where they leave the range."""

import numpy as np
import pytest

from dntk.arrays import accumulation_dtype
from dntk.solve import NormalEquations, StreamedGCV, ridge_out_of_core, solve_statistics
from tests.libraries import LIBRARIES, host

NUMPY = LIBRARIES[0]
OUT = "(over|under)flow .*: scale the network's outputs (up|down)"


def chunks(library, dtype="f4", *, unit=1.0, target=1.0):
    """Two chunks of two outputs of 40 points; units are powers of two, so that entries are the same but for them."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 40, 6)), rng.normal(size=(40, 2))
    x, y = (library.array((a.astype(dtype) * u).astype(dtype)) for a, u in ((x, unit), (y, target)))
    return [(x[:, :25, :], y[:25, :]), (x[:, 25:, :], y[25:, :])]


@pytest.mark.parametrize("unit", [2.0**-84, 2.0**-66, 2.0**66, 2.0**100], ids=("tiny", "small", "large", "huge"))
@pytest.mark.parametrize("ridge", [0.5, None])
def test_a_float32_regression_out_of_core_is_that_of_gradients_in_another_unit(library, unit, ridge):
    """Sums of underflown squares gave weights 600 times too large; overflown ones an error of the eigensolver."""
    plain, scaled = (chunks(library, unit=u, target=t) for u, t in ((1.0, 1.0), (unit, 2.0**60)))
    rules = [StreamedGCV() if ridge is None else ridge * u**2 for u in (1.0, unit)]
    if accumulation_dtype(plain[0][0]) == plain[0][0].dtype:
        with pytest.raises(ValueError, match=OUT):
            ridge_out_of_core(chunks(library, unit=unit), ridge=rules[1])
        return
    one, other = (ridge_out_of_core(part, ridge=rule) for part, rule in zip((plain, scaled), rules, strict=True))
    assert other.ridge / unit / unit == pytest.approx(one.ridge, rel=1e-6)
    np.testing.assert_allclose(host(other.weights) * (unit * 2.0**-60), host(one.weights), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(host(other.train_mse) * 2.0**-120, host(one.train_mse), rtol=1e-5)
    np.testing.assert_allclose(host(other.gcv) * 2.0**-120, host(one.gcv), rtol=1e-5)


@pytest.mark.parametrize(("unit", "told"), [(1e-200, "underflow"), (1e-150, "underflow"), (1e200, "overflow")])
@pytest.mark.parametrize("ridge", [1e-310, None])
def test_float64_says_where_sums_leave_its_range(unit, told, ridge):
    rule = StreamedGCV() if ridge is None else ridge
    with pytest.raises(ValueError, match=f"{told} float64: scale the network's outputs \\w+\\.$"):
        ridge_out_of_core(chunks(NUMPY, "f8", unit=unit), ridge=rule)


def test_a_ridge_that_covers_what_underflows_is_taken():
    fit = ridge_out_of_core(chunks(NUMPY, "f8", unit=1e-200), ridge=0.5)
    expected = np.einsum("cnk,nc->ck", *(np.concatenate(parts, axis=a) for parts, a in joined("f8", 1e-200))) / 0.5
    np.testing.assert_allclose(fit.weights, expected, rtol=1e-12)


def joined(dtype, unit):
    (x, y), (more, others) = chunks(NUMPY, dtype, unit=unit)
    return ((x, more), 1), ((y, others), 0)


def test_targets_too_small_for_a_choice_of_ridge_are_refused_and_served_at_a_given_one():
    small = chunks(NUMPY, "f8", target=1e-170)
    with pytest.raises(ValueError, match="squares of the targets .* scale the targets up, or pass `ridge` as a number"):
        ridge_out_of_core(small)
    plain = ridge_out_of_core(chunks(NUMPY, "f8"), ridge=0.5).weights
    np.testing.assert_allclose(ridge_out_of_core(small, ridge=0.5).weights * 1e170, plain, rtol=1e-10)


def test_a_chunk_of_small_gradients_beside_large_ones_is_welcome(library):
    large, small = chunks(library)[0], chunks(library, unit=2.0**-100)[1]
    alone, both = ridge_out_of_core([large], ridge=0.5), ridge_out_of_core([large, small], ridge=0.5)
    np.testing.assert_allclose(host(both.weights), host(alone.weights), rtol=1e-5, atol=1e-6)


def test_a_dead_network_has_weights_of_zero(library):
    x, y = chunks(library)[0]
    assert not np.any(host(ridge_out_of_core([(0 * x, y)], ridge=0.5).weights))


@pytest.mark.parametrize("unit", [1.0, 2.0**-66, 2.0**66])
def test_16_bits_are_added_up_as_float32_adds_the_same_numbers(unit):
    torch = pytest.importorskip("torch")
    short = [(torch.asarray(x).bfloat16() * unit, torch.asarray(y).bfloat16()) for x, y in chunks(NUMPY)]
    same = [(x.float(), y.float()) for x, y in short]
    found, expected = (ridge_out_of_core(part, ridge=0.05 * unit**2) for part in (short, same))
    np.testing.assert_allclose(host(found.weights), host(expected.weights), rtol=1e-6)


def test_statistics_that_are_not_finite_are_no_regression():
    x, y = chunks(NUMPY, "f8")[0]
    found = NormalEquations.of(x, y.T[:, :, None])
    with pytest.raises(ValueError, match="`features` has NaN or infinite values"):
        found.update(x * np.nan, y.T[:, :, None])
    total = NormalEquations.of(x * 3e151, y.T[:, :, None])
    with np.errstate(over="ignore"):
        for _ in range(16):
            total = total.merge(total)
    with pytest.raises(ValueError, match="overflow float64"):
        solve_statistics(total, ridge=1.0)
