"""A kernel along training from a few points: the loop over checkpoints."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk._checks import integer, positive_finite, positive_integer
from dntk._progress import task
from dntk.bounds import check_confidence
from dntk.distill.data import DataSelector, Selection
from dntk.features import TangentFeatures
from dntk.models import batches
from dntk.sketch.resolution import AnySketch
from dntk.trajectories._from_last_layer import from_last_layer
from dntk.trajectories._run import Checkpoint, Run
from dntk.trajectories.few import Few, Interpolated, Weighed, ends
from dntk.trajectories.held_out import LEAST, Jackknife, held_out_points, outside, require_enough
from dntk.trajectories.measures import ALIGNMENT, Measures
from dntk.trajectories.probes import Drawn, Ends, Probes
from dntk.trajectories.value import Trajectory, assembled
from dntk.types import Array, Inputs

MOST = 256
"""Probes unless more are asked for."""


def trajectory(
    models: Sequence[Checkpoint],
    x: Inputs,
    y: Float[Array, "n c"] | None = None,
    *,
    distilled: DataSelector | Selection | None,
    reference: int | Literal["auto"] | None = "auto",
    held_out: int = 64,
    probes: int | None = None,
    size: int = 10,
    ridge: float = 0.01,
    sketch: AnySketch = "auto",
    confidence: float = 0.95,
    seed: int = 0,
    memory_limit: int | None = None,
) -> Trajectory:
    """Spectrum, effective dimension, alignment and drift of the kernel at many checkpoints, from a few points.

    Only the few are differentiated. What enters the last layer, which a forward pass tells of every point, says how
    gradients of all others are made of theirs, by a Gaussian process that is fitted at every checkpoint
    (:mod:`dntk.trajectories.gaussian_process`). With a ``reference`` all points are differentiated at that checkpoint,
    combinations are fitted there and kept (:mod:`dntk.trajectories.interpolation`), and what they miss there corrects
    what they miss elsewhere (:mod:`dntk.trajectories.measures`).

    Parameters
    ----------
    models
        Checkpoints in order, from :func:`dntk.as_model`, or functions without arguments that load one: then one is
        held at a time.
    x
        Inputs, n points.
    y
        Targets (n, C) for the alignment, as of :func:`dntk.targets.one_hot`.
    distilled
        A selector, for example ``dntk.distill.data.KMeans(64)``; a selection that was made before; or None: all points
        everywhere, exactly. Without a reference a selector sees what enters the last layer at the first checkpoint.
    reference
        ``"auto"``: none where what enters the last layer is seen, of PyTorch's networks that call a ``Linear``, of
        scikit-learn's and :class:`dntk.MLP`; else the last. A number: the checkpoint at which all points are
        differentiated; one in the middle serves best. None: none, and where the last layer is not seen, a selection
        stands for all by its weights, and what it misses stays.
    held_out
        Points, drawn from those that were not chosen, that intervals come from: 32 or more. After they have judged what
        the chosen ones say they join them; where a selection stands by its weights the alignment comes from them alone,
        a mean over pairs of points, which only a uniform draw estimates.
    probes
        With a reference: further points, drawn from the rest, of which one output each is differentiated: they put the
        alignment right (:mod:`dntk.trajectories.probes`), a small sum of large gradients, which kept combinations tell
        badly. None: half as many rows as those of held-out points, from 32 to 256. As many as are left where there are
        fewer; none without targets, or where fewer than 32 are left. 0: none.
    size
        Number of leading eigenvalues.
    ridge
        λ of the effective dimension, in units of the trace of each checkpoint's kernel.
    sketch
        As for :func:`dntk.tangent_features`, one for all checkpoints; ``"auto"`` is chosen at the reference, or the
        last.
    confidence
        Of the intervals.
    seed
        Of the held-out points.
    memory_limit
        As for :func:`dntk.tangent_features`.

    Raises
    ------
    TypeError, ValueError
        No checkpoints, or of other numbers of parameters; inputs that they do not take; a selector without a
        reference where the last layer is not seen; too few points to hold some out; from 1 to 31 ``probes``, whose
        spread says too little, or any without a reference.

    Notes
    -----
    C·t·(m + h) Jacobian rows for t checkpoints, against C·n·t, and n·t forward passes; with a reference C·(n + (t −
    1)·(m + h)) + (t − 1)·p rows. Held are (n, m + h) coefficients in float64 and what enters the last layer of all
    points, at two checkpoints. Intervals of quantities are empirical: a jackknife of by how much held-out points differ
    from what the chosen ones say of them; of the alignment, the mean and spread of that in its sum, and of what is
    missed in square from nothing to twice what the process expects (with a reference, the spread of the probes). Those
    of :attr:`Trajectory.outside` are theorems on the drawn points.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(80, 3))
    >>> def checkpoint(t):
    ...     weights = rng.normal(size=(16, 3)), t * np.ones((2, 16)) / 4
    ...     return dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> models = [checkpoint(t) for t in range(1, 4)]
    >>> path = dntk.trajectory(models, x, distilled=None, size=5)
    >>> path.eigenvalues.values.shape, path.drift.values.shape
    ((3, 5), (3,))
    >>> path.rows == path.all_rows  # all points everywhere
    True
    >>> selector = dntk.distill.data.KMeans(4)
    >>> few = dntk.trajectory(models, x, distilled=selector, held_out=32, size=4)
    >>> few.rows < path.rows
    True
    """
    run = Run.of(models, x, y, distilled, reference, sketch, memory_limit)
    measures = Measures(size=positive_integer("size", size), ridge=positive_finite("ridge", ridge))
    check_confidence(confidence)
    if run.distilled is None:
        return _exactly(run, measures, confidence)
    integer("held_out", held_out, least=LEAST)
    if probes is not None and 0 < integer("probes", probes, least=0) < LEAST:
        msg = f"`probes`={probes}: too few to tell their spread, pass {LEAST} or more, or 0 for none."
        raise ValueError(msg)
    if probes and run.reference is None:
        msg = f"`probes`={probes} put the alignment right from a checkpoint at which all points are differentiated, and"
        raise ValueError(msg + " there is none: pass `reference`, -1 for the last, or leave `probes` out.")
    if run.from_last_layer:
        return from_last_layer(run, measures, held_out, confidence, seed)
    return _from_few(run, measures, (held_out, probes), confidence, seed)


def _exactly(run: Run, measures: Measures, confidence: float) -> Trajectory:
    """All points everywhere."""
    first = run.features(run.opened(0), run.x)
    xp, n = arrays.namespace(first.values), len(first)
    weights = xp.ones(n, dtype=first.values.dtype, device=arrays.device_of(first.values))
    found = []
    with task("trajectory", total=len(run.models), unit="checkpoints") as bar:
        for t in bar.over(range(len(run.models))):
            phi = first if t == 0 else run.features(run.opened(t), run.x)
            found.append(measures.of(phi, first, weights, run.targets))
    rows, aligned = first.n_outputs * n * len(run.models), run.targets is not None
    return assembled([(each, each, each) for each in found], confidence, aligned=aligned, rows=rows, all_rows=rows)


def _from_few(run: Run, measures: Measures, sizes: tuple[int, int | None], confidence: float, seed: int) -> Trajectory:
    everything = None if run.reference is None else run.features(run.opened(run.reference), run.x)
    selection = run.distilled if isinstance(run.distilled, Selection) else _selected(run.distilled, everything)
    n, size = batches.count(run.x), len(selection)
    others, rest = _drawn(selection, everything, sizes, n, seed)
    chosen = [int(selection.indices[i]) for i in range(size)]
    where, x, y = run.at([*chosen, *others], selection.indices)
    phis = _Features(run, where, x, everything, _sample(run, rest, everything))
    few, jackknife = _judged(run, measures, selection, phis, y, confidence)
    probes = _probes(run, phis, jackknife)
    first, sample = phis.at(0)
    then = None if run.reference is None else few.measured(phis.at(run.reference)[0], first)
    found, beside = [], []
    with task("trajectory", total=len(run.models), unit="checkpoints") as bar:
        for t in bar.over(range(len(run.models))):
            phi, rows = (first, sample) if t == 0 else phis.at(t)
            found.append(ends(jackknife, few.measured(phi, first), then))
            if probes is not None and rows is not None and t != run.reference:
                _put_right(found[-1], probes.alignment(phi, rows))
            beside.append(outside(phi, size, n, confidence, seed))
    made, outputs = phis.made(len(run.models)), first.n_outputs
    each = outputs * (size + len(others)) + (0 if phis.drawn is None else phis.drawn.where.shape[0])
    return assembled(
        found,
        confidence,
        aligned=run.targets is not None,
        rows=(0 if everything is None else outputs * n) + made * each,
        all_rows=outputs * n * len(run.models),
        outside=tuple(beside),
        selection=selection,
        reference=run.reference,
    )


def _judged(
    run: Run, measures: Measures, selection: Selection, phis: "_Features", targets: Array | None, confidence: float
) -> tuple[Few, Jackknife]:
    """How the few stand for all, and what the held-out points make of it; ``targets`` are those of both."""
    size, total = len(selection), None
    if phis.everything is not None:
        ones = arrays.namespace(selection.weights).ones_like(phis.everything.values[0, :, 0])
        total = measures.of(phis.everything, phis.everything, ones, run.targets)
    jackknife = Jackknife(
        measures=measures,
        points=batches.count(run.x),
        size=phis.where.shape[0] - size,
        targets=None if targets is None else targets[size:, :],
        everywhere=total,
        confidence=confidence,
    )
    if phis.everything is None:
        return Weighed.of(measures, selection, None if targets is None else targets[:size, :], jackknife), jackknife
    return Interpolated.of(measures, phis.everything, phis.where, run.targets, jackknife), jackknife


def _drawn(
    selection: Selection, everything: TangentFeatures | None, sizes: tuple[int, int | None], n: int, seed: int
) -> tuple[list[int], list[int]]:
    """Held-out points, and those for the alignment."""
    held_out, probes = sizes
    if probes is None:
        probes = 0 if everything is None else min(max(held_out * everything.n_outputs // 2, LEAST), MOST)
    drawn = held_out_points(selection.indices, n, held_out + probes, seed)
    others, rest = drawn[:held_out], drawn[held_out:]
    require_enough(others, len(selection), n)
    return others, rest


def _sample(run: Run, rest: list[int], everything: TangentFeatures | None) -> Drawn | None:
    """Points for the alignment with their outputs, where it is asked for and can be put right."""
    if run.targets is None or everything is None or len(rest) < LEAST:
        return None
    where, _, _ = run.at(rest, everything.values)
    return Drawn.of(where, run.x, everything)


def _probes(run: Run, phis: "_Features", jackknife: Jackknife) -> Probes | None:
    everything = phis.everything
    if phis.drawn is None or everything is None or run.targets is None or jackknife.everywhere is None:
        return None
    known = float(jackknife.everywhere[ALIGNMENT])
    return Probes.of(phis.drawn, everything, phis.where, run.targets, known, jackknife.confidence)


def _put_right(found: tuple[np.ndarray, np.ndarray, np.ndarray], alignment: Ends | None) -> None:
    """In place."""
    if alignment is not None:
        for array, end in zip(found, alignment, strict=True):
            array[ALIGNMENT] = end


@dataclasses.dataclass(frozen=True)
class _Features:
    """Features of the chosen and the held-out points, and rows of probes; at the reference all points have them."""

    run: Run
    where: Array
    x: Inputs
    everything: TangentFeatures | None
    drawn: Drawn | None

    def at(self, number: int) -> tuple[TangentFeatures, Array | None]:
        if self.everything is not None and number == self.run.reference:
            return self.everything[self.where], None
        model = self.run.opened(number)
        phi = self.run.features(model, self.x)
        if self.drawn is None:
            return phi, None
        return phi, self.run.features(self.drawn.model(model), self.drawn.inputs).values[0, :, :]

    def made(self, checkpoints: int) -> int:
        """Checkpoints at which only they are differentiated."""
        return checkpoints - (self.everything is not None)


def _selected(selector: Any, everything: TangentFeatures | None) -> Selection:
    assert everything is not None
    found: Selection = selector.select(everything)
    return found
