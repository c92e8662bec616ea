"""How far a sketched mean kernel is from the kernel, in expectation, known from the sketched features alone.

With G^{cd} = Φ^c Φ^dᵀ the Gram matrix across outputs and S a Gaussian sketch of k rows that all outputs share,
Isserlis' theorem gives Cov(⟨Su, Sv⟩, ⟨Su', Sv'⟩) = (⟨u, u'⟩⟨v, v'⟩ + ⟨u, v'⟩⟨v, u'⟩)/k, summed over points and outputs

    C² E‖K̂ − K̄‖_F² = (a + b)/k,   a = Σ_{cd} (tr G^{cd})²,   b = Σ_{cd} tr (G^{cd})².

By Cauchy and Schwarz a ≤ C²(tr K̄)² and b ≤ d = C²‖K̄‖_F², so that the relative error is at most √((sr² + 1)/k), with
sr = tr K̄/‖K̄‖_F; for one output that is an equality. Outputs whose gradients differ average their errors: a may be as
little as 1/C of its bound. Of sparse and of random signs 2Σ_p‖K_p‖_F² is taken off a + b, K_p = Σ_c φ^c_p φ^c_pᵀ the
share of coordinate p, which sketched features do not show: for them (a + b)/k is an upper bound.

The same three pairings return in the sketched features: E â = a + (b + d)/k, and so for b̂ and d̂. Solved for a, b and d
these are unbiased.
"""

from jaxtyping import Float

from dntk import arrays
from dntk.types import Array

ENTRIES = 2**22
"""Entries of features widened at once."""
ROWS = 2048
"""Points times outputs in the Gram matrix across outputs; of more points evenly spaced ones are taken."""


def mean_kernel_error(values: Float[Array, "c n k"], spectrum: Float[Array, " n"]) -> float:
    """Root mean square over seeds of ‖K̂ − K̄‖_F/‖K̄‖_F, from sketched features and the spectrum of their mean kernel.

    Exact in expectation (each of a, b, d) for Gaussian sketches where all points fit into ``ROWS``; an upper bound for
    sparse and random signs. Zero features have no error. Cost O(C²·n·k).
    """
    xp = arrays.namespace(values)
    outputs, points, dim = values.shape
    scale = float(xp.max(xp.abs(values)))
    if scale == 0:
        return 0.0
    traces = _across(values, scale)
    unit = float(xp.linalg.trace(traces)) ** 2
    scaled = spectrum / xp.max(spectrum)
    a = float(xp.sum(traces**2)) / unit
    b = _crossed(values, scale) / unit
    d = float(xp.sum(scaled**2) / xp.sum(scaled) ** 2)
    a, b, d = _without_sketch(a, b, d, dim)
    # What holds of every kernel, and estimates of few features may leave.
    a, d = min(max(a, 1 / outputs), 1.0), min(max(d, 1 / points), 1.0)
    return float(((a + min(max(b, -d), d)) / (dim * d)) ** 0.5)


def _without_sketch(a: float, b: float, d: float, dim: int) -> tuple[float, float, float]:
    """a, b and d of the features before the sketch: x̂ = (1 − 1/k)x + (a + b + d)/k in expectation."""
    if dim == 1:
        return a, b, d
    share = (a + b + d) / (1 + 2 / dim) / dim
    return (a - share) / (1 - 1 / dim), (b - share) / (1 - 1 / dim), (d - share) / (1 - 1 / dim)


def _across(values: Float[Array, "c n k"], scale: float) -> Float[Array, "c c"]:
    """Traces of the G^{cd}, of features divided by ``scale``."""
    xp = arrays.namespace(values)
    c, n, k = values.shape
    total = xp.zeros((c, c), dtype=arrays.accumulation_dtype(values), device=arrays.device_of(values))
    for start, stop in arrays.spans(n, max(1, ENTRIES // (c * k))):
        rows = xp.reshape(arrays.in_float64(values[:, start:stop, :]) / scale, (c, -1))
        total = total + rows @ rows.T
    return total


def _crossed(values: Float[Array, "c n k"], scale: float) -> float:
    """The b of features divided by ``scale``: from all points, or from evenly spaced ones and their pairs."""
    xp = arrays.namespace(values)
    c, n, k = values.shape
    p = min(n, max(4, ROWS // c))
    places = xp.asarray([i * n // p for i in range(p)], device=arrays.device_of(values))
    rows = xp.reshape(arrays.in_float64(xp.take(values, places, axis=1)) / scale, (c * p, k))
    gram = xp.reshape(rows @ rows.T, (c, p, c, p))
    pairs = xp.sum(gram * xp.permute_dims(gram, (0, 3, 2, 1)), axis=(0, 2))
    equal = float(xp.linalg.trace(pairs)) / p
    different = (float(xp.sum(pairs)) - p * equal) / (p * (p - 1)) if p > 1 else 0.0
    return n * equal + n * (n - 1) * different
