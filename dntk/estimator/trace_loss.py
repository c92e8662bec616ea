"""The share of the trace of K̄ over all training points that is lost outside a span: read in full, or from a sample.

    L = Σ_i Σ_c ‖(I − Π_c)ψ_c(x_i)‖² / Σ_i Σ_c ‖ψ_c(x_i)‖²,

of the features as they are sketched, over all n training points and all C outputs. Kept points are known exactly. Of
the others all are read where they are few. Else points are drawn without replacement, each with probability
proportional to its exact squared length g_i = Σ_c‖φ_c(x_i)‖², which is known of all after one forward and C backward
passes without sketch; with r_i the residual and ĝ_i the sketched length of a point, L < τ where Σ g_i (r_i − τĝ_i)/g_i
< 0, which :mod:`dntk.certificates.betting` decides. It needs a limit of ĝ_i/g_i: 1 without sketch, and what the theorem
of its family says of n·C vectors with one. Where there is no such theorem all points are read.

Without the lengths no sample says anything of a trace: one point that was not drawn may hold most of it.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from dntk import arrays
from dntk._progress import task
from dntk.arrays import itemsize
from dntk.bounds import Bound, Kind
from dntk.certificates.betting import Draws, upper_end
from dntk.estimator.frame import Energies, Frame, energies_of, squared_lengths
from dntk.features import TangentFeatures, tangent_features
from dntk.models import batches
from dntk.models.base import Model
from dntk.random import uniforms
from dntk.sketch.error import SUBSPACE, StatesError
from dntk.stores.rows import PointRows
from dntk.stores.spread import each_part
from dntk.types import Array

CONFIDENCE = 0.99
"""With which the upper end of a loss holds."""
PILOT = 128
"""Points that are read first, to choose how many points to keep; the bets on a loss begin after them."""
FEW = 4
"""All points are read where this multiple of the first sample is more: lengths of all points cost, too."""
_BATCH = 128
_HELD = 2**30
"""Bytes of features of read points that are held, so that another span does not need another pass over them."""
_PROVED: Kind = "probabilistic"
_LENGTHS = 1e-3
"""What two ways of computing one length may differ by: far above the rounding of either."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
    """What was found of L: its upper end and an estimate."""

    upper: Bound
    mean: float


LossOf: TypeAlias = Callable[[Float[Array, "c s k"] | None], Loss]
"""What tells the loss of a basis; None: of all coordinates of the frame."""


class TraceLoss:
    """L of spans, from points that are read once, in an order that is fixed beforehand.

    Parameters
    ----------
    model, x, seed
        The network, all training points, and the seed of the order.
    sketch
        Sketch of the features, bound to the network.
    spans
        How many spans may be asked about: they share the probability of failing with the sketch.
    resolution
        How much of the trace bets must tell apart: ln(1/failure)/resolution draws are made at first.
    all_kept
        Whether all points are kept: none is read then.
    client
        Of a cluster whose workers make lengths, and those features that are held.
    """

    def __init__(
        self,
        model: Model,
        x: Array,
        sketch: Any,
        *,
        spans: int,
        resolution: float,
        seed: int,
        all_kept: bool,
        client: Any = None,
    ) -> None:
        self.client = client
        self.model, self.x, self.points, self.sketch = model, x, batches.count(x), sketch
        self._held: dict[int, TangentFeatures] = {}
        self._failure, self._stretch, self._kind = 0.0, math.inf, _PROVED
        self.under(sketch, spans=spans)
        first = PILOT + math.ceil(math.log(1 / self._failure) / resolution)
        sampled = math.isfinite(self._stretch) and FEW * first < self.points and not all_kept
        self._lengths = squared_lengths(model, x, client) if sampled else None
        self._order = (
            np.arange(0 if all_kept else self.points) if self._lengths is None else _drawn(self._lengths, seed)
        )
        self._read = len(self._order) if self._lengths is None else min(first, len(self._order))

    def under(self, sketch: Any, *, spans: int) -> None:
        """Read the same points under this sketch from now on, for so many spans."""
        if sketch != self.sketch:
            self._held = {}
        self.sketch, self._failure = sketch, (1 - CONFIDENCE) / (spans + 1)
        self._stretch, self._kind = _stretch(sketch, self.points * self.model.n_outputs, self._failure)

    @property
    def complete(self) -> bool:
        """Whether all points are read that can add to the loss."""
        return self._read >= len(self._order)

    def grow(self) -> None:
        """Read twice as many points from now on."""
        self._read = min(2 * self._read, len(self._order))

    def by_size(self, kept: TangentFeatures) -> Float[np.ndarray, " r"]:
        """Estimates of L where the first 1, …, r kept points are kept, with all their directions."""
        few = len(self._order) if self._lengths is None else min(PILOT, len(self._order))
        first = self._energies(Frame.in_order(kept), few)
        if first is None:
            return np.zeros(1)
        left = first.outside_first()
        if self._lengths is None:
            total = float(np.sum(first.lengths))
            return np.sum(left, axis=0) / total if total > 0 else np.zeros(left.shape[1])
        return np.asarray(np.mean(left / np.where(first.lengths > 0, first.lengths, 1)[:, None], axis=0))

    def of(self, frame: Frame, kept: Int[np.ndarray, " m"] | None) -> LossOf:
        """What tells L of bases in the span of the frame; ``kept``: positions of its points, None if they are made."""
        read = self._energies(frame, self._read)
        own = None if kept is None else energies_of(frame, frame.kept, kept)
        return lambda basis: self._loss(own, read, None if basis is None else frame.of_basis(basis))

    def _loss(self, own: Energies | None, read: Energies | None, basis: Float[Array, "c s r"] | None) -> Loss:
        known = np.zeros(self.points, dtype=bool)
        part, whole = np.zeros(self.points), np.zeros(self.points)
        for energies in (read, own):
            if energies is not None:
                part[energies.positions], whole[energies.positions] = energies.outside(basis), energies.lengths
                known[energies.positions] = True
        if self._lengths is None or self.complete:
            total = float(np.sum(whole))
            share = float(np.sum(part)) / total if total > 0 else 0.0
            theorem = f"all {self.points} training points read"
            return Loss(upper=Bound(value=share, theorem=theorem), mean=share)
        drawn = np.zeros(self.points, dtype=bool)
        drawn[self._order[PILOT : self._read]] = True
        if own is not None:
            drawn[own.positions] = False
        later = self._order[PILOT : self._read]
        return self._sampled(part, whole, known, later[drawn[later]])

    def _sampled(self, part: np.ndarray, whole: np.ndarray, known: np.ndarray, where: np.ndarray) -> Loss:
        """The kept points and those read first are known, the others that were read are draws."""
        assert self._lengths is not None
        before = known.copy()
        before[where] = False
        total = float(np.sum(self._lengths))
        found = Draws(
            part=part[where] / self._lengths[where],
            whole=whole[where] / self._lengths[where],
            shares=self._lengths[where] / total,
            known_part=float(np.sum(part[before])) / total,
            known_whole=float(np.sum(whole[before])) / total,
            left=float(np.sum(self._lengths[~before])) / total,
            reach=self._stretch,
        )
        bound = Bound(
            value=upper_end(found, self._failure) if math.isfinite(self._stretch) else 1.0,
            theorem=f"{int(np.sum(known))} of {self.points} training points read; Waudby-Smith and Ramdas 2024",
            kind=self._kind,
            confidence=CONFIDENCE,
        )
        return Loss(upper=bound, mean=found.mean)

    def _energies(self, frame: Frame, number: int) -> Energies | None:
        """Of the first points of the order; None of no points."""
        pieces = []
        self._fetch(number)
        for batch, (start, stop) in enumerate(arrays.spans(number, _BATCH)):
            positions = self._order[start:stop]
            pieces.append(energies_of(frame, self._features(batch, positions), positions))
        if not pieces:
            return None
        return Energies(
            positions=np.concatenate([piece.positions for piece in pieces]),
            lengths=np.concatenate([piece.lengths for piece in pieces]),
            inside=self.model.namespace.concat([piece.inside for piece in pieces], axis=1),
        )

    def _fetch(self, number: int) -> None:
        """Have workers make the features of batches that are to be held and are not yet."""
        if self.client is None or not number:
            return
        row = self.model.n_outputs * (self.model.n_parameters if self.sketch is None else self.sketch.dim)
        row *= itemsize(next(iter(self.model.parameters.values())))
        room = _HELD // (_BATCH * row) - len(self._held)
        ends = enumerate(arrays.spans(number, _BATCH))
        lacking = [(i, span) for i, span in ends if len(self._held.get(i, ())) != span[1] - span[0]][: max(0, room)]
        if len(lacking) < 2:
            return
        x = batches.take(self.x, np.concatenate([self._order[start:stop] for _, (start, stop) in lacking]))
        rows, n = PointRows(functools.partial(_made, self.model, self.sketch), _BATCH, axis=1), batches.count(x)
        with task("features of read points", total=n, unit="points") as bar:
            for (first, _), make in each_part(rows, x, list(arrays.spans(n, _BATCH)), self.client, bar):
                self._held[lacking[first // _BATCH][0]] = TangentFeatures(make(), self.sketch)

    def _features(self, batch: int, positions: Int[np.ndarray, " q"]) -> TangentFeatures:
        found = self._held.get(batch)
        if found is None or len(found) != len(positions):
            found = tangent_features(self.model, batches.take(self.x, positions), sketch=self.sketch)
            held = sum(math.prod(phi.values.shape) * itemsize(phi.values) for phi in self._held.values())
            if held + math.prod(found.values.shape) * itemsize(found.values) <= _HELD:
                self._held[batch] = found
        return found


def _made(model: Model, sketch: Any, x: Array) -> Float[Array, "c n k"]:
    return tangent_features(model, x, sketch=sketch).values


def _drawn(lengths: Float[np.ndarray, " n"], seed: int) -> Int[np.ndarray, " alive"]:
    """Points drawn without replacement in proportion to their lengths; those of no length add nothing.

    The order of E_i/g_i with independent exponential E_i (Efraimidis and Spirakis 2006).
    """
    times = -np.log1p(-uniforms(seed=seed, stream="trace-loss", count=len(lengths)))
    alive = np.flatnonzero(lengths > 0)
    return alive[np.argsort(times[alive] / lengths[alive], kind="stable")]


def _stretch(sketch: Any, vectors: int, failure: float) -> tuple[float, Kind]:
    """The u of ‖Sφ‖² ≤ u‖φ‖² for so many vectors, and how it is known; infinite for families without theorem."""
    if sketch is None:
        return 1 + _LENGTHS, _PROVED
    known = sketch.error(1, confidence=1 - failure / vectors) if isinstance(sketch, StatesError) else None
    if known is None or known.measure != SUBSPACE:
        return math.inf, _PROVED
    return (1 + known.value) * (1 + _LENGTHS), known.kind
