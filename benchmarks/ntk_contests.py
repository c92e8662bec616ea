"""Who takes part for a case and a mode, and one measured row for each."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from measure import in_child, interleaved, reason, relative_error, summary, timed
from ntk_jax import NEURAL_TANGENTS
from ntk_networks import Case
from ntk_peers import DNTK, FLOOR, PEERS, Peer, Problem
from ntk_torch_func import TORCH_FUNC, independent_kernel

import dntk

ALL = (DNTK, FLOOR, *TORCH_FUNC, *PEERS, *NEURAL_TANGENTS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """How often each is timed, and what it may take: seconds and mebibytes of one call."""

    repeats: int = 5
    once_above: float = 60.0
    seconds: float = 600.0
    mebibytes: int = 8192


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of one contestant, or why it was not.

    ``error``: relative Frobenius error against dntk in float64. ``error_independent``: against torch.func in float64,
    on the leading points that this reference covers.
    """

    case: str
    inputs: int
    mode: str
    name: str
    seconds: list[float] = dataclasses.field(default_factory=list)
    peak_mib: float | None = None
    error: float | None = None
    error_independent: float | None = None
    why_not: str | None = None

    @property
    def median_s(self) -> float | None:
        """Median of the times."""
        return summary(self.seconds)["median_s"] if self.seconds else None

    @property
    def best_s(self) -> float | None:
        """Smallest of the times."""
        return summary(self.seconds)["best_s"] if self.seconds else None


def contestant(name: str) -> Peer:
    """The contestant of a name.

    Raises
    ------
    ValueError
        There is none.
    """
    for peer in ALL:
        if peer.name == name:
            return peer
    msg = f"`name`={name!r}: expected one of {', '.join(peer.name for peer in ALL)}."
    raise ValueError(msg)


def chosen(words: Sequence[str] | None) -> list[Peer]:
    """Contestants whose name starts with one of the words, dntk and the floor always; without words all.

    Raises
    ------
    ValueError
        A word begins no name.
    """
    for word in words or ():
        if not any(peer.name.startswith(word) for peer in ALL):
            msg = f"`peers`: {word!r} begins none of {', '.join(peer.name for peer in ALL)}."
            raise ValueError(msg)
    starts = tuple(words) if words else ("",)
    return [peer for peer in ALL if peer in (DNTK, FLOOR) or peer.name.startswith(starts)]


def contest(case: Case, mode: str, n: int, peers: Sequence[Peer], limits: Limits) -> list[Row]:
    """Measure every contestant that takes the case and the mode: memory, errors, then paired times."""
    rows: dict[str, Row] = {}
    works: dict[str, Callable[[], Any]] = {}
    repeats: dict[str, int] = {}
    references = _references(case, mode, n)
    for peer in (p for p in peers if p.takes(case.name, mode)):
        row, work = _admitted(peer, case, mode, n, limits, references)
        rows[peer.name] = row
        if work is not None:
            works[peer.name] = work
            slow = row.seconds[0] > limits.once_above
            repeats[peer.name] = 0 if slow else limits.repeats
    for name, seconds in interleaved(works, repeats).items():
        # One slow call is all there is of a slow contestant.
        rows[name] = dataclasses.replace(rows[name], seconds=seconds or rows[name].seconds)
    return list(rows.values())


def _references(case: Case, mode: str, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Kernels in float64: all points by dntk, the leading ones by torch.func."""
    problem = Problem.of(case, mode, n)
    x = problem.x.double() if problem.x.is_floating_point() else problem.x
    exact = dataclasses.replace(problem, net=problem.net.double(), x=x)
    return dntk.ntk(dntk.as_model(exact.net), exact.x, outputs=exact.outputs), independent_kernel(exact)


def _admitted(
    peer: Peer, case: Case, mode: str, n: int, limits: Limits, references: tuple[torch.Tensor, torch.Tensor]
) -> tuple[Row, Callable[[], Any] | None]:
    """A row with memory, errors and the time of the first call, and the work to time, if the limits allow it."""
    row = Row(case=case.name, inputs=n, mode=mode, name=peer.name, why_not=peer.why_not())
    if row.why_not:
        return row, None
    child = Path(__file__).with_name("ntk_child.py")
    command = [sys.executable, str(child), case.name, mode, peer.name, str(n), str(limits.mebibytes)]
    memory = in_child(command, time_limit=limits.seconds)
    if "why_not" in memory:
        return dataclasses.replace(row, why_not=memory["why_not"]), None
    found: list[Any] = []
    try:
        work = peer.prepare(Problem.of(case, mode, n))
        seconds = timed(lambda: found.append(work()))
        errors = {} if peer is FLOOR else _errors(found[0], mode, *references)
    except Exception as error:  # whatever a peer raises is what there is to report
        return dataclasses.replace(row, why_not=reason(error)), None
    return dataclasses.replace(row, peak_mib=memory["peak_mib"], seconds=[seconds], **errors), work


def _errors(found: torch.Tensor, mode: str, ours: torch.Tensor, independent: torch.Tensor) -> dict[str, float]:
    found = found.detach()
    r = independent.shape[1]
    leading = found[:, :r, :r] if mode == "each" else found[:r, :r]
    return {"error": relative_error(found, ours), "error_independent": relative_error(leading, independent)}
