"""Paired timing, peak memory and errors of several ways to compute one thing.

Times are compared within one process: repetitions alternate between the contestants in an order that rotates, so that
a machine that drifts slows all of them. Memory is measured in a process of its own for each, because what one
contestant leaves behind would hide what the next one takes.
"""

import ctypes
import gc
import json
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

_STATUS = Path("/proc/self/status")
MIB = 2**20


def timed(work: Callable[[], Any]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def interleaved(works: Mapping[str, Callable[[], Any]], repeats: Mapping[str, int]) -> dict[str, list[float]]:
    """Seconds of ``repeats`` calls of each, one after the other in an order that rotates."""
    names = list(works)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(max(repeats.values(), default=0)):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            if turn < repeats[name]:
                seconds[name].append(timed(works[name]))
    return seconds


def relative_error(found: torch.Tensor, reference: torch.Tensor) -> float:
    """Frobenius norm of the difference over that of the reference, in float64.

    Raises
    ------
    ValueError
        Their shapes differ.
    """
    if found.shape != reference.shape:
        msg = f"`found` has shape {tuple(found.shape)}, expected the reference's {tuple(reference.shape)}."
        raise ValueError(msg)
    return float((found.double() - reference).norm() / reference.norm())


def summary(seconds: Sequence[float]) -> dict[str, float]:
    """Median and best of some times."""
    return {"median_s": statistics.median(seconds), "best_s": min(seconds)}


def limit_memory(mebibytes: int) -> None:
    """Let this process allocate so much more than it has now; beyond it, allocations fail."""
    limit = _status_kib("VmSize") * 1024 + mebibytes * MIB
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def peak_of(work: Callable[[], Any]) -> dict[str, float]:
    """Peak resident memory of one call above what the process held before it, and its seconds.

    Linux only: the kernel's high-water mark is set back before the call.
    """
    gc.collect()
    _return_free_memory()
    Path("/proc/self/clear_refs").write_text("5")
    start = _status_kib("VmRSS")
    seconds = timed(work)
    return {"peak_mib": (_status_kib("VmHWM") - start) / 1024, "seconds": seconds}


def in_child(command: Sequence[str], *, time_limit: float) -> dict[str, Any]:
    """What a process printed as its last line, in JSON, or ``why_not`` it printed none."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=time_limit, check=False)
    except subprocess.TimeoutExpired:
        return {"why_not": f"not done after {time_limit:.0f} s"}
    lines = done.stdout.splitlines()
    if done.returncode == 0 and lines:
        found: dict[str, Any] = json.loads(lines[-1])
        return found
    if done.returncode < 0:
        return {"why_not": f"killed by signal {-done.returncode}: {_last(done.stderr) or 'no message'}"}
    return {"why_not": _last(done.stderr) or f"exit status {done.returncode}"}


def reason(error: BaseException) -> str:
    """An exception in one short line."""
    text = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {text}"[:160]


def _last(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1][:160]


def _return_free_memory() -> None:
    """Give the allocator's free pages back, so that later use of them shows."""
    ctypes.CDLL(None).malloc_trim(0)


def _status_kib(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    msg = f"{_STATUS} has no field `{field}`: peak memory is measured on Linux only."
    raise OSError(msg)
