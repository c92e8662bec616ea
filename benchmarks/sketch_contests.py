"""One measured row for every way, case and number of features; and prediction by products against features."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import in_child, interleaved, reason, relative_error, summary, timed
from ntk_networks import N_OUTPUTS, Case
from sketch_ways import CHOSEN, FLOOR, WAYS, Task, Way

import dntk

LEADING = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Seeds, above how many seconds one has to do, and what one call may take: seconds and mebibytes."""

    seeds: int = 5
    once_above: float = 30.0
    seconds: float = 900.0
    mebibytes: int = 12288


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of one way, or why it was not.

    ``seconds`` are of one call each, which gives ``outputs`` of the ten outputs; ``errors`` of the kernel of output 0,
    relative Frobenius norm, and ``eigenvalue_errors`` the largest |λ̂_i − λ_i|/λ_i of its ten leading ones, one a seed.
    """

    case: str
    inputs: int
    dim: int
    name: str
    outputs: int
    seconds: list[float] = dataclasses.field(default_factory=list)
    errors: list[float] = dataclasses.field(default_factory=list)
    eigenvalue_errors: list[float] = dataclasses.field(default_factory=list)
    peak_mib: float | None = None
    why_not: str | None = None

    @property
    def per_sample_ms(self) -> float | None:
        """Milliseconds for all ten outputs of one input, of the median call."""
        if not self.seconds:
            return None
        return 1000 * summary(self.seconds)["median_s"] * N_OUTPUTS / self.outputs / self.inputs

    @property
    def error(self) -> float | None:
        """Mean over seeds."""
        return float(np.mean(self.errors)) if self.errors else None

    @property
    def eigenvalue_error(self) -> float | None:
        """Mean over seeds."""
        return float(np.mean(self.eigenvalue_errors)) if self.eigenvalue_errors else None


def chosen(words: Sequence[str] | None) -> list[Way]:
    """Ways whose name starts with one of the words, the chosen sketch and the floor always; without words all.

    Raises
    ------
    ValueError
        A word begins no name.
    """
    for word in words or ():
        if not any(way.name.startswith(word) for way in WAYS):
            msg = f"`ways`: {word!r} begins none of {', '.join(way.name for way in WAYS)}."
            raise ValueError(msg)
    starts = tuple(words) if words else ("",)
    return [way for way in WAYS if way in (CHOSEN, FLOOR) or way.name.startswith(starts)]


def way_of(name: str) -> Way:
    """The way of a name.

    Raises
    ------
    ValueError
        There is none.
    """
    for way in WAYS:
        if way.name == name:
            return way
    msg = f"`name`={name!r}: expected one of {', '.join(way.name for way in WAYS)}."
    raise ValueError(msg)


def contest(case: Case, dim: int, n: int, ways: Sequence[Way], limits: Limits, *, memory: bool = True) -> list[Row]:
    """Measure every way: peak memory in a process of its own, then paired times and errors over seeds."""
    exact = dntk.ntk(dntk.as_model(case.network()), case.points(n), outputs=0).double()
    rows: dict[str, Row] = {}
    works: dict[str, Callable[[], Any]] = {}
    found: dict[str, list[Any]] = {}
    repeats: dict[str, int] = {}
    for way in ways:
        row, work = _admitted(way, case, dim, n, limits, memory=memory)
        rows[way.name] = row
        if work is not None:
            found[way.name] = []
            works[way.name] = _by_seed(work, found[way.name])
            seconds = timed(works[way.name])
            repeats[way.name] = 0 if seconds > limits.once_above else limits.seeds
            if seconds > limits.once_above:
                rows[way.name] = dataclasses.replace(row, seconds=[seconds])
            else:
                found[way.name].clear()
            print(f"  {way.name}: {seconds:.2f} s", file=sys.stderr, flush=True)
    for name, seconds in interleaved(works, repeats).items():
        rows[name] = dataclasses.replace(rows[name], seconds=seconds or rows[name].seconds)
        if name != FLOOR.name:
            rows[name] = dataclasses.replace(rows[name], **errors(exact, found[name]))
    return list(rows.values())


def _by_seed(work: Callable[[int], Any], found: list[Any]) -> Callable[[], None]:
    """A call with the next seed, whose kernel of output 0 is kept."""

    def call() -> None:
        values = work(1 + len(found))
        found.append(None if values is None else values[0] @ values[0].T)

    return call


def errors(exact: torch.Tensor, kernels: Sequence[torch.Tensor]) -> dict[str, list[float]]:
    """Errors of sketched kernels."""
    leading = torch.linalg.eigvalsh(exact).flip(0)[:LEADING]
    tops = [torch.linalg.eigvalsh(k.double()).flip(0)[:LEADING] for k in kernels]
    return {
        "errors": [relative_error(k, exact) for k in kernels],
        "eigenvalue_errors": [float(((top - leading).abs() / leading).max()) for top in tops],
    }


def _admitted(
    way: Way, case: Case, dim: int, n: int, limits: Limits, *, memory: bool
) -> tuple[Row, Callable[[int], Any] | None]:
    """A row with the peak memory, and the work to time, if the limits allow it."""
    row = Row(case=case.name, inputs=n, dim=dim, name=way.name, outputs=way.outputs, why_not=way.why_not())
    if row.why_not:
        return row, None
    if memory:
        child = Path(__file__).with_name("sketch_child.py")
        command = [sys.executable, str(child), case.name, str(dim), way.name, str(n), str(limits.mebibytes)]
        peak = in_child(command, time_limit=limits.seconds)
        if "why_not" in peak:
            return dataclasses.replace(row, why_not=peak["why_not"]), None
        row = dataclasses.replace(row, peak_mib=peak["peak_mib"])
    try:
        return row, way.prepare(Task.of(case, dim, n))
    except Exception as error:  # whatever a peer raises is what there is to report
        return dataclasses.replace(row, why_not=reason(error)), None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prediction:
    """Seconds of predicting ten outputs by one Jacobian-vector product each, by features, and their disagreement."""

    case: str
    inputs: int
    sketch: str
    by_products: list[float]
    by_features: list[float]
    disagreement: float


def prediction(case: Case, family: Any, n: int, repeats: int) -> Prediction:
    """Time both ways to ⟨w_c, Sφ_c(x)⟩, paired, for random weights; Sᵀw is made once, as in ``DistilledNTK``."""
    task = Task.of(case, family.dim, n)
    model = dntk.as_model(task.net)
    sketch, dim = dntk.tangent_features(model, task.x[:1], sketch=family).sketch, family.dim
    weights = torch.randn(N_OUTPUTS, dim, generator=torch.Generator().manual_seed(0))
    tangents = sketch.adjoint(weights)

    def products() -> torch.Tensor:
        found = model.jvp(task.x, tangents)
        return torch.stack([found[c, :, c] for c in range(N_OUTPUTS)], dim=1)

    def features() -> torch.Tensor:
        return torch.einsum("cnk,ck->nc", dntk.tangent_features(model, task.x, sketch=sketch).values, weights)

    disagreement = relative_error(products(), features().double())
    found = interleaved({"products": products, "features": features}, {"products": repeats, "features": repeats})
    return Prediction(
        case=case.name,
        inputs=n,
        sketch=repr(family),
        by_products=found["products"],
        by_features=found["features"],
        disagreement=disagreement,
    )
