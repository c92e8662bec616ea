"""Statements of a certificate in words, a line each."""

from typing import Any

from dntk import arrays
from dntk.backend import backend_of
from dntk.bounds import Bound, Intervals, trust_in


def kernel_line(trace_error: Bound, trace: float, spectral_error: Bound, largest: float) -> str:
    """Errors of the kernel, as shares of its trace and of its largest eigenvalue."""
    return (
        f"kernel       trace error at most {_share(trace_error, trace)} of the trace; spectral error at most "
        f"{_share(spectral_error, largest)} of the largest eigenvalue"
    )


def tail_lines(tail: Intervals | None, gap: Bound | None, trace: float) -> list[str]:
    """What no span could keep, and what this one misses; none for approximations that are no projections."""
    if tail is None or gap is None:
        return []
    least = float(arrays.namespace(tail.upper).max(tail.upper))
    return [
        f"             {_ratio(least, trace)} of the trace no span of this size could keep; misaligned at most "
        f"{_share(gap, trace)}"
    ]


def eigenvalues_line(intervals: Intervals) -> str:
    """How narrow the intervals of the first ten eigenvalues are."""
    lower, upper = _ends(intervals)
    widths = [
        (up - low) / low if 0 < low < float("inf") else float("inf")
        for low, up in zip(lower, upper, strict=True)
        if up > 0
    ]
    widest = max(widths, default=0.0)
    return f"eigenvalues  the leading {len(lower)} are known within {widest:.2%}"


def prediction_lines(error: Bound | None, target_norm: float) -> list[str]:
    """How far predictions are from the exact regression's; none without targets."""
    if error is None:
        return []
    return [
        f"predictor    root mean square distance to the exact regression at most {float(error):.3g}, "
        f"{_share(error, target_norm)} of the targets' ({error.theorem})"
    ]


def unsketched_lines(intervals: Intervals | None, error: Bound | None, trace: float) -> list[str]:
    """What is known of the kernel without sketch."""
    lines = []
    if intervals is not None:
        lower, upper = _ends(intervals)
        lines.append(
            f"unsketched   largest eigenvalue between {lower[0]:.3g} and {upper[0]:.3g}, {trust_in(intervals)} "
            f"({intervals.theorem})"
        )
    if error is not None:
        lines.append(
            f"             trace error at most {_share(error, trace)} of the sketched trace, {trust_in(error)} "
            f"({error.theorem})"
        )
    return lines


def dropped_lines(residual: Intervals | None) -> list[str]:
    """What is known of the points that were not kept."""
    if residual is None:
        return []
    lower, upper = _ends(residual)
    return [
        f"dropped      mean tangent residual between {lower[0]:.2%} and {upper[0]:.2%}, {trust_in(residual)} "
        f"({residual.theorem})"
    ]


def _ends(intervals: Intervals) -> tuple[Any, Any]:
    """Both ends of the first ten, on the host."""
    host = backend_of(intervals.lower).to_numpy
    return host(intervals.lower)[:10], host(intervals.upper)[:10]


def _share(bound: Bound, whole: float) -> str:
    return _ratio(float(bound), whole)


def _ratio(value: float, whole: float) -> str:
    return f"{value / whole:.2%}" if whole > 0 else f"{value:.3g}"
