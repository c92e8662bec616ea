"""First and second moments of every family, from their exact variances.

For x, y fixed and the sketch random, E⟨Sx, Sy⟩ = ⟨x, y⟩ and, with parts x_l in independent layers or blocks,

    Var⟨Sx, Sy⟩ = Σ_l V(x_l, y_l) + (1/k) Σ_{l≠l'} (‖x_l‖²‖y_l'‖² + ⟨x_l, y_l⟩⟨x_l', y_l'⟩).

Within a part, X and Y its matrices, A = XYᵀ, B = XᵀY, D = YᵀX:

    Rademacher    (‖x‖²‖y‖² + ⟨x, y⟩² − 2Σxᵢ²yᵢ²)/k
    SRHT          the same times (B − k)/(B − 1), with B coordinates to a block
    TensorSketch  (1/k)[Σ_{r≠r'} (A_rr'² + A_rr'A_r'r) + Σ_{c≠c'} (B_cc'² + B_cc'B_c'c)
                  + Σ_{r<r', c<c'} (u² + v² + 2κuv)], u = X_rcY_r'c' + X_r'c'Y_rc, v = X_r'cY_rc' + X_rc'Y_r'c,
                  κ = 1/k for odd k and 2/k for even k (h₁ − h₁' = ±(h₂' − h₂) at once)
    Kronecker     (‖D‖² + tr D²)/k₂ + (1/k₁)[‖XYᵀ‖²(1 + 1/k₂) + ‖X‖²‖Y‖²/k₂ + tr D² + ((tr D)² + ‖D‖²)/k₂], the terms
                  in 1/k₂ (or 1/k₁) absent where columns (or rows) fit
    Mixed         reduced to width m, B = ⌊k/m⌋: (1/m) Σ_{c<c'} (D_cc' + D_c'c)² + (p/m) Σ_{r<r'} E_rr', p the share of
                  pairs of rows that meet, E_rr' = F(x_r, x_r, y_r', y_r') + F(x_r', x_r', y_r, y_r) +
                  2F(x_r, y_r, x_r', y_r'), F(a, b, c, d) = ⟨a,b⟩⟨c,d⟩ + ⟨a,c⟩⟨b,d⟩ + ⟨a,d⟩⟨b,c⟩ − 2Σaᵢbᵢcᵢdᵢ;
                  otherwise as Rademacher; pairs of reduced parts 1/(mB) in place of 1/k
    Mask          Σ_ranges (w Σ xᵢ²yᵢ² − (Σ xᵢyᵢ)²)

Every draw of a seed and every copy of the layers has its own map. Averages over 40 seeds of 250 copies are compared at
7 standard errors, at fixed seeds; those of the seeds' own averages, because the copies of one SRHT share its rows.
"""

import dataclasses
import functools
import itertools

import numpy as np
import pytest

import dntk
from dntk.sketch import SRHT, Kronecker, Mask, Mixed, Rademacher, TensorSketch
from dntk.sketch.layout import layout_of_shapes

LAYOUT = layout_of_shapes({"w": (3, 4), "b": (4,)})
SIZE = 16
SEEDS, COPIES = 40, 250
COPIED = layout_of_shapes({f"{name}{i}": shape for i in range(COPIES) for name, shape in (("w", (3, 4)), ("b", (4,)))})


def vectors(seed, kind):
    rng = np.random.default_rng(seed)
    if kind == "one position":  # ρ = 1, in the first layer
        x, y = (np.concatenate([np.outer(rng.normal(size=3), rng.normal(size=4)).ravel(), np.zeros(4)]) for _ in "xy")
    elif kind == "opposite":  # products that cancel
        x = rng.normal(size=SIZE)
        y = x[::-1] * np.sign(rng.normal(size=SIZE))
    else:
        x, y = rng.normal(size=(2, SIZE))
        y = y + x
    return x / np.linalg.norm(x), y / np.linalg.norm(y)


def fourth(x, y):
    return np.sum(x**2) * np.sum(y**2) + (x @ y) ** 2


def across(parts, k):
    """Terms between different parts."""
    total = 0.0
    for i, (x, y) in enumerate(parts):
        for j, (u, v) in enumerate(parts):
            if i != j:
                total += (np.sum(x**2) * np.sum(v**2) + (x @ y) * (u @ v)) / k
    return total


def layers(x, y):
    return [(x[m.offset : m.stop], y[m.offset : m.stop]) for m in LAYOUT]


def rademacher(sketch, x, y):
    return (fourth(x, y) - 2 * np.sum(x**2 * y**2)) / sketch.dim


def srht(sketch, x, y):
    k, width = sketch.dim, sketch.width
    parts = [(x[i : i + width], y[i : i + width]) for i in range(0, SIZE, width)]
    inside = sum((fourth(u, v) - 2 * np.sum(u**2 * v**2)) / k * (width - k) / (width - 1) for u, v in parts)
    return inside + across(parts, k)


def tensor(sketch, x, y):
    k = sketch.dim
    kappa = (2 if k % 2 == 0 else 1) / k
    total = across(layers(x, y), k)
    for m, (u, v) in zip(LAYOUT, layers(x, y), strict=True):
        one, two = u.reshape(m.rows, m.columns), v.reshape(m.rows, m.columns)
        for gram in (one @ two.T, one.T @ two):
            off = gram - np.diag(np.diag(gram))
            total += (np.sum(off**2) + np.sum(off * off.T)) / k
        for r, s in itertools.combinations(range(m.rows), 2):
            for c, d in itertools.combinations(range(m.columns), 2):
                p = one[r, c] * two[s, d] + one[s, d] * two[r, c]
                q = one[s, c] * two[r, d] + one[r, d] * two[s, c]
                total += (p**2 + q**2 + 2 * kappa * p * q) / k
    return total


def kronecker(sketch, x, y):
    total = across(layers(x, y), sketch.dim)
    for m, (u, v) in zip(LAYOUT, layers(x, y), strict=True):
        one, two = u.reshape(m.rows, m.columns), v.reshape(m.rows, m.columns)
        rows = 1 / sketch.row_dim if m.rows > sketch.row_dim else 0.0
        columns = 1 / sketch.column_dim if m.columns > sketch.column_dim else 0.0
        d, e = two.T @ one, np.sum((one @ two.T) ** 2)
        total += (np.sum(d**2) + np.trace(d @ d)) * columns
        mixed = np.sum(one**2) * np.sum(two**2) + np.trace(d) ** 2 + np.sum(d**2)
        total += rows * (e * (1 + columns) + np.trace(d @ d) + mixed * columns)
    return total


def signed(a, b, c, d):
    """E⟨a, s⟩⟨b, s⟩⟨c, s⟩⟨d, s⟩ for independent signs s."""
    return (a @ b) * (c @ d) + (a @ c) * (b @ d) + (a @ d) * (b @ c) - 2 * np.sum(a * b * c * d)


def mixed(sketch, x, y):
    total = across(layers(x, y), sketch.dim)  # the second layer is hashed: reduced parts meet no other reduced one
    for m, (u, v) in zip(LAYOUT, layers(x, y), strict=True):
        width = sketch.width_of(m)
        if width is None:
            total += (fourth(u, v) - 2 * np.sum(u**2 * v**2)) / sketch.dim
            continue
        one, two = u.reshape(m.rows, m.columns), v.reshape(m.rows, m.columns)
        d = one.T @ two
        total += np.sum(np.triu(d + d.T, 1) ** 2) / width
        blocks = sketch.dim // width
        sizes = np.bincount(np.arange(m.rows) % blocks)
        meet = np.sum(sizes * (sizes - 1)) / (m.rows * (m.rows - 1))
        for r, s in itertools.combinations(range(m.rows), 2):
            a, b, c, e = one[r], two[r], one[s], two[s]
            pair = signed(a, a, e, e) + signed(c, c, b, b) + 2 * signed(a, b, c, e)
            total += meet * pair / width
    return total


def mask(sketch, x, y):
    edges = np.arange(sketch.dim + 1) * SIZE // sketch.dim
    products = [(x * y)[a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)]
    return sum(len(p) * np.sum(p**2) - np.sum(p) ** 2 for p in products)


FAMILIES = [
    (Rademacher(5), rademacher),
    (Rademacher(40), rademacher),
    (SRHT(5, width=8), srht),
    (SRHT(5, width=16), srht),
    (SRHT(8, width=8), srht),
    (SRHT(3, width=4), srht),
    (TensorSketch(6), tensor),
    (TensorSketch(7), tensor),
    (TensorSketch(2), tensor),
    (TensorSketch(1), tensor),
    (Mixed(6, 3), mixed),
    (Mixed(6, 2), mixed),
    (Mixed(3, 3), mixed),
    (Mixed(5, 1), mixed),
    (Mixed(5, 4), mixed),
    (Mask(5), mask),
    (Mask(16), mask),
    (Kronecker(2, 3), kronecker),
    (Kronecker(1, 1), kronecker),
    (Kronecker(2, 4), kronecker),
    (Kronecker(4, 2), kronecker),
    (Kronecker(4, 4), kronecker),
]


NAMES = [repr(sketch) for sketch, _ in FAMILIES]


@functools.cache
def maps(sketch):
    """S (seeds, copies, k, 16) of many copies of the layers, sketched on their own."""
    found = []
    for seed in range(SEEDS):
        drawn = dataclasses.replace(sketch, seed=seed)
        if isinstance(sketch, Mask):  # a mask of all copies is a mask of each
            drawn = dataclasses.replace(drawn, dim=sketch.dim * COPIES, n_parameters=SIZE * COPIES)
            rows = drawn.apply(np.tile(np.eye(SIZE), COPIES)).T.reshape(COPIES, sketch.dim, SIZE)
            found.append(rows)
            continue
        if hasattr(sketch, "layout"):
            drawn = drawn.bound(COPIED)
        whole = drawn.adjoint(np.eye(sketch.dim), n_parameters=SIZE * COPIES)
        found.append(whole.reshape(sketch.dim, COPIES, SIZE).transpose(1, 0, 2))
    return np.stack(found)


FEW = 50
TWICE = layout_of_shapes({f"{name}{i}": (rows, 4) for i in range(FEW) for name, rows in (("w", 3), ("v", 4))})


def within_seven_standard_errors(values, exact):
    """Whether the mean of the rows' means is the exact one."""
    means = np.mean(values, axis=1)
    return abs(np.mean(means) - exact) <= 7 * np.std(means, ddof=1) / SEEDS**0.5 + 1e-13


@pytest.mark.parametrize("kind", ["dense", "one position", "opposite"])
@pytest.mark.parametrize(("sketch", "variance"), FAMILIES, ids=NAMES)
def test_inner_products_have_the_stated_mean_and_variance(sketch, variance, kind):
    x, y = vectors(1, kind)
    with dntk.checking(False):
        matrices = maps(sketch)
    errors = np.sum((matrices @ x) * (matrices @ y), axis=2) - x @ y
    assert within_seven_standard_errors(errors, 0)
    assert within_seven_standard_errors(errors**2, variance(sketch, x, y))


@pytest.mark.parametrize(
    ("sketch", "variance"),
    [*FAMILIES, (Mixed(60, 2), mixed)],  # many blocks, where the reduction is nearly all of the error
    ids=[*NAMES, "Mixed(60, 2)"],
)
def test_stated_errors_bound_the_variance(sketch, variance):
    """V of the Chebyshev bounds: Var⟨Sx, Sy⟩ ≤ V‖x‖²‖y‖², for dense vectors and for the hard ones."""
    if isinstance(sketch, Mask):
        stated = float(dataclasses.replace(sketch, n_parameters=SIZE).error(1, confidence=0.5)) ** 2 * 0.5
    elif isinstance(sketch, Mixed):
        stated = float(sketch.bound(LAYOUT).error(1, confidence=0.5)) ** 2 * 0.5
    elif isinstance(sketch, Kronecker | TensorSketch):
        stated = float(sketch.error(1, confidence=0.5)) ** 2 * 0.5
    else:
        stated = 2 / sketch.dim
    ones = np.full(SIZE, SIZE**-0.5)
    cases = [vectors(seed, kind) for seed in range(100) for kind in ("dense", "one position", "opposite")]
    for x, y in [*cases, (ones, ones), *((unit, unit) for unit in np.eye(SIZE))]:
        assert variance(sketch, x, y) <= stated * (1 + 1e-12) + 1e-15


@pytest.mark.parametrize("sketch", [Mixed(7, 3), Mixed(3, 3), Mixed(5, 1)], ids=repr)
def test_reduced_matrices_are_signed_and_placed_independently_of_each_other(sketch):
    """Products ⟨Se, Sf⟩ of coordinates of two matrices are uncorrelated, of mean 0 and variance 1/(mB).

    Signs that two matrices share, of their rows or of R, leave every mean and variance alone, but correlate the
    products of two pairs of rows or of columns. Seven standard errors of 40 seeds: 2e-8 for each of the 192² moments.
    """
    moments = []
    with dntk.checking(False):
        for seed in range(SEEDS):
            drawn = dataclasses.replace(sketch, seed=seed).bound(TWICE)
            assert all(drawn.width_of(matrix) == sketch.inner for matrix in TWICE)
            maps_of_copies = drawn.adjoint(np.eye(sketch.dim)).reshape(sketch.dim, FEW, 28)
            products = np.einsum("knp,knq->npq", maps_of_copies[..., :12], maps_of_copies[..., 12:]).reshape(FEW, -1)
            moments.append(products.T @ products / FEW)
    variance = 1 / (sketch.inner * (sketch.dim // sketch.inner))
    excess = np.mean(moments, axis=0) - variance * np.eye(12 * 16)
    assert np.all(np.abs(excess) <= 7 * np.std(moments, axis=0, ddof=1) / SEEDS**0.5 + 1e-13)
    # Rows that meet more often than once in B do so for all pairs: their mean shows what single moments do not.
    means = [np.trace(moment) / len(moment) for moment in moments]
    assert abs(np.mean(means) - variance) <= 7 * np.std(means, ddof=1) / SEEDS**0.5 + 1e-13
