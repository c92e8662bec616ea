"""Additions at repeated indices in a fixed order, which CUDA's atomic ones have not."""

from typing import Any

import cupy

_ROW_SUMS = cupy.ElementwiseKernel(
    "raw int64 starts, raw int64 nonzeros, int64 per_update, raw T weights, raw T updates, int64 columns",
    "T total",
    """
    const long long row = i / columns, column = i % columns;
    T sum = 0;
    for (long long p = starts[row]; p < starts[row + 1]; ++p) {
        const long long nonzero = nonzeros[p];
        sum += weights[nonzero] * updates[nonzero / per_update * columns + column];
    }
    total = sum;
    """,
    "dntk_row_sums",
)
"""One thread for every number of the result; neighbours read neighbouring numbers of the same update."""


def added_in_order(updates: Any, index: Any, weights: Any, size: int) -> Any:
    """Rows out[index[j, z]] += weights[j, z] · updates[j], in the order of j, then z.

    The nonzeros are sorted by row, stably, so that each row's lie side by side.
    """
    rows = cupy.ravel(index).astype(cupy.int64, copy=False)
    nonzeros = cupy.argsort(rows, kind="stable").astype(cupy.int64, copy=False)
    starts = cupy.searchsorted(rows[nonzeros], cupy.arange(size + 1)).astype(cupy.int64, copy=False)
    out = cupy.empty((size, updates.shape[1]), dtype=updates.dtype)
    values, numbers = cupy.ascontiguousarray(updates), cupy.ascontiguousarray(weights, dtype=updates.dtype)
    if out.size:
        _ROW_SUMS(starts, nonzeros, index.shape[1], numbers, values, max(1, updates.shape[1]), out)
    return out
