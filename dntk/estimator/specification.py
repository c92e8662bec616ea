"""The whole method behind one specification: points, sketched features, synthetic gradients, ridge regression."""

import dataclasses
import inspect
from pathlib import Path
from typing import Any, Literal

from dntk._checks import check_seed, keep, kind_of, require_kind
from dntk.distill.data import DataDistiller, DataSelector, DistilledData, InputSelector
from dntk.distill.gradients import GradientDistiller
from dntk.estimator._fitting import fitted
from dntk.estimator._planning import planned
from dntk.estimator.defaults import settled, settled_for_search
from dntk.estimator.fit import Fit
from dntk.estimator.points import checked_targets
from dntk.estimator.resumption import Keep
from dntk.estimator.stages import AsGiven, Parts, Stages
from dntk.estimator.tolerance import WithinTolerance, check_tolerance
from dntk.ledger import LedgerRecorder
from dntk.models.base import Model, checked_inputs, require_model
from dntk.plan import Plan
from dntk.sketch import Sketch, SketchPlan
from dntk.sketch.resolution import check_sketch
from dntk.solve.regressions import SEPARATE, Regression, Separate
from dntk.solve.rules import Ridge, rule_of
from dntk.types import Array

_KINDS: dict[str, Any] = {
    "data": DataSelector | InputSelector | DataDistiller | DistilledData,
    "gradients": GradientDistiller,
}
_EXAMPLES = {"data": "dntk.distill.data.KMeans(500)", "gradients": "dntk.distill.gradients.Solution(5)"}


@dataclasses.dataclass(frozen=True)
class DistilledNTK:
    """What to do: a kernel to distil and its predictor. :meth:`fit` does it and returns a :class:`dntk.Fit`.

    Parameters
    ----------
    model
        From :func:`dntk.as_model`.
    data
        Selector of points such as ``dntk.distill.data.RPCholesky(500)``; it sees features of one functional, one
        backward pass per point. Or an objective that makes inputs, such as ``dntk.distill.data.Wasserstein(50)``, or
        the ``DistilledData`` that one has made. ``"auto"``: all of up to 750 points, else 500 that are chosen by the
        inputs of the last layer, at one forward pass a point; what they leave of the kernel is then measured on a
        sample of the others. With a tolerance: what meets it at the fewest operations on a trial of a few points, all
        points, random ones, those by the last layer or ``RPCholesky``; :attr:`dntk.Fit.choices` says why. ``None``: all
        points, whatever that costs, which is said first where it is much.
    sketch
        A sketch, or a plan of :func:`dntk.sketch.choose`; ``None``: all P coordinates; ``"auto"``: none up to 4,096
        parameters, else the cheapest to sixteen times as many features as points are kept, at most 8,192 and no more
        than memory has room for, see :func:`dntk.sketch.automatic`. A selector sees at most 2,048 of them.
    gradients
        Distiller of gradients such as ``dntk.distill.gradients.Solution(5)``; the regression is then solved in the
        span of its synthetic gradients. ``"auto"``: ``Solution`` with 40, or as many as points are kept. ``None``: no
        distillation of gradients.
    ridge
        λ as for :func:`dntk.solve.ridge`, one for all outputs; but ``"loo"`` is here the largest whose leave-one-out
        error is within 1% of the least, :class:`dntk.solve.LargestWithin`: targets that the network made have errors
        that hardly change over decades of λ, and bounds that grow like 1/λ. Chosen once, on the features of the kept
        points, handed to the distiller of gradients (unless that was given its own), and solved at.
    seed
        Of the automatic sketch, and of the samples and random starts of the certificate.
    tolerance
        Relative loss of the kernel, between 0 and 1, that few points and gradients are to be found for; ``None``: parts
        as they are given. No more than this share of the trace of K̄, the mean kernel of all outputs as sketched, over
        all points of ``x`` may lie outside the span that is kept: read in full, or from a sample of many points with
        99% confidence. Apart from that a sketch may change the kernel by this much in relative Frobenius norm,
        expected with 95% confidence. Nothing is said of unseen points: see :meth:`dntk.Fit.held_out_residual`.

        Sizes of ``data``, ``sketch`` and ``gradients`` are then where the search begins, by doubling and bisection;
        ``sketch="auto"`` is chosen for the tolerance, ``gradients=None`` stands for ``Solution`` of the size found.
        What has no size, as distilled inputs and ``data=None``, is used as it is. Where the tolerance is not met
        :meth:`fit` warns, and ``tolerance`` of the fit names the stage that stops it, its loss and the remedy.

    regression
        :class:`dntk.solve.Separate`: every output by itself, on its own rows. :class:`dntk.solve.Joint`: all outputs
        together, with the one weight vector that the linearised network has; the same Jacobian rows keep more
        predictions where points are few (docs/how_many_points.md), for the algebra of C·m points of one output.
        :class:`dntk.solve.Functionals`: one functional of each point, at a C-th of the rows. λ, gradients, spectrum,
        certificate, trust and uncertainty are then those of that regression: one span and one kernel, of its rows.
        ``gradients="auto"`` keeps 40·C for all outputs there. Not with a tolerance.

    Raises
    ------
    TypeError, ValueError
        A network that is no model; anything that is no sketch, seed, tolerance or regression; a tolerance with another
        regression than separate ones.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(16, 3)), rng.normal(size=(2, 16)) / 4
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> x = rng.normal(size=(40, 3))
    >>> spec = dntk.DistilledNTK(
    ...     model,
    ...     data=dntk.distill.data.RPCholesky(30),
    ...     gradients=dntk.distill.gradients.Solution(5),
    ... )
    >>> fit = spec.fit(x)  # targets are the network's outputs
    >>> fit.indices.shape, fit.fidelity(x) > 0.9
    ((30,), True)
    >>> print(fit)
    Fit(40 points → 30 kept → 80 features (all parameters) → 5 gradients per output; ...)
    >>> spec.plan(x).total().jacobian_rows  # before anything runs
    100
    """

    model: Model
    data: DataSelector | InputSelector | DataDistiller | DistilledData | Literal["auto"] | None = "auto"
    sketch: Sketch | SketchPlan | Literal["auto"] | None = "auto"
    gradients: GradientDistiller | Literal["auto"] | None = "auto"
    ridge: Ridge = "loo"
    seed: int = 0
    _: dataclasses.KW_ONLY
    tolerance: float | None = None
    regression: Regression = SEPARATE

    def __post_init__(self) -> None:
        require_model(self.model)
        check_sketch(self.sketch)
        for name in _KINDS:
            _check_part(name, getattr(self, name))
        rule_of(self.ridge)
        keep(self, seed=check_seed(self.seed))
        check_tolerance(self.tolerance)
        _check_regression(self.regression, self.tolerance)

    def fit(
        self,
        x: Array,
        y: Array | None = None,
        checkpoint: str | Path | None = None,
        memory_limit: int | None = None,
        client: Any = None,
    ) -> Fit:
        """Distil the kernel at the points ``x`` and fit its predictor.

        Parameters
        ----------
        x
            Inputs of the model.
        y
            Targets (n, C), or integer class labels (n,), which become centred one-hot targets; default: the
            network's own outputs. At distilled inputs targets are the network's outputs too, or, where labels are
            given, those of the distilled data; real targets are refused there. An objective that needs classes
            and is given no labels takes those that the network predicts.
        checkpoint
            A folder, made where it is missing, in which every stage keeps what it made, features batch by batch. The
            same call goes on from there after an interruption, to the same result bit for bit; it is not removed.
        memory_limit
            Bytes that features, gradients and kernels may take beside the network and ``x``, in the fit and where the
            fit predicts; default: gradient blocks of 1 GiB beside the features.
        client
            A ``dask.distributed.Client``: its workers make what is made of many points, to the bits of one process:
            features of one functional or inputs of the last layer, by which points are chosen; the features of those
            that are kept, and their outputs; with a tolerance those that are read besides. What they make comes into
            this process's memory, and whatever follows from it is done here. What one batch holds is made here, too.

        Raises
        ------
        TypeError, ValueError
            Inputs that the model does not take, that are empty or not finite; targets or labels of another length,
            of one class, or not finite; more points or gradients asked than there are; a network whose tangent
            features are zero; a memory limit that a stage is known to exceed.
        dntk.StoreError
            The folder is of another specification, network or data, or damaged.
        OSError
            The folder has other files, or its disk cannot take the features; or (``ConnectionError``) the scheduler of
            ``client`` is gone: with a ``checkpoint`` the same call goes on, with a cluster or without.

        Warns
        -----
        UserWarning
            A tolerance was asked for and is not met; what comes nearest is fitted.
        """
        x = checked_inputs(self.model, x)
        keep, recorder = Keep.of(self, x, y, checkpoint, memory_limit, client), LedgerRecorder()
        parts, choices = self._parts(x, keep, recorder)
        stages: Stages = (
            AsGiven(parts, keep) if self.tolerance is None else WithinTolerance(parts, self.tolerance, keep)
        )
        return Fit(self.model, fitted(stages, x, y, choices, recorder))

    def plan(
        self,
        x: Array,
        y: Array | None = None,
        checkpoint: str | Path | None = None,
        memory_limit: int | None = None,
    ) -> Plan:
        """What :meth:`fit` with these arguments will cost by stages; beside it its certificate and the exact kernel.

        The parts are those that the fit would choose. Passes, Jacobian rows and operations follow from small batches
        that are run; seconds are those of a measured batch and of the algebra on random features of one and of two
        outputs, extrapolated in proportion to operations. It takes a few seconds, or two points' time where that is
        more; nothing is written, a ``checkpoint`` only says that stages will keep what they made.

        Of a tolerance the sizes are not known before: the plan is that of the sizes at which the search begins. What an
        objective takes that makes inputs is not foreseen. What a model looks at once, and what is compiled, is not in
        the plan.

        Parameters
        ----------
        x, y, checkpoint, memory_limit
            As for :meth:`fit`.

        Raises
        ------
        TypeError, ValueError
            As :meth:`fit` raises them of these arguments.
        """
        x = checked_inputs(self.model, x)
        keep = Keep.of(self, x, y, None, memory_limit)
        parts, choices = self._parts(x, keep, LedgerRecorder())
        notes = choices
        if self.tolerance is not None:
            parts = dataclasses.replace(parts, gradients="auto" if parts.gradients is None else parts.gradients)
            notes += ("a tolerance is searched for: sizes and costs are those at which the search begins",)
        if y is not None:
            checked_targets(self.model, x, y)
        return planned(AsGiven(parts, keep), x, y, notes, disk=checkpoint is not None)

    def _parts(self, x: Array, keep: Keep, recorder: LedgerRecorder) -> tuple[Parts, tuple[str, ...]]:
        """What is to be done with these points, and why where that was left open; a trial of points is a stage."""
        parts = Parts(
            model=self.model,
            data=self.data,
            sketch=self.sketch,
            gradients=self.gradients,
            ridge=self.ridge,
            seed=self.seed,
            regression=self.regression,
        )
        if self.tolerance is None:
            return settled(parts, x)
        if self.data != "auto":
            return settled_for_search(parts, x, self.tolerance, keep)
        with recorder.stage("trial of points"):
            return settled_for_search(parts, x, self.tolerance, keep)


def _check_regression(regression: Any, tolerance: float | None) -> None:
    """Raise unless it is one, and goes with the tolerance."""
    require_kind("regression", regression, Regression, expected="dntk.solve.Separate(), Joint() or Functionals()")
    if tolerance is not None and not isinstance(regression, Separate):
        msg = (
            f"`tolerance`={tolerance} with `regression`={regression!r}: a tolerance is on the spans of separate "
            "regressions. Leave out `regression`, or pass sizes in place of a tolerance."
        )
        raise ValueError(msg)


def _check_part(name: str, part: Any) -> None:
    """Raise unless this is a selector, distiller or word that the argument ``name`` takes."""
    expected = f"an object such as {_EXAMPLES[name]}, 'auto', or None"
    if isinstance(part, str) and part != "auto":
        msg = f"`{name}`={part!r}: expected {expected}."
        raise ValueError(msg)
    if part is None or isinstance(part, str):
        return
    if hasattr(part, "dtype"):  # tensors have methods `size` and `select`, too
        msg = f"`{name}` is {kind_of(part)}: expected {expected}."
        raise TypeError(msg)
    require_kind(name, part, _KINDS[name], expected=expected)
    if hasattr(part, "distill") and _distils_data(part) != (name == "data"):
        other = "gradients" if name == "data" else "data"
        msg = f"`{name}` is {kind_of(part)}, which distils {other}: pass it as `{other}`. Expected {expected}."
        raise TypeError(msg)


def _distils_data(part: Any) -> bool:
    """Whether ``distill`` takes a model and its data, (model, x, y), and not features and targets."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in kinds for p in inspect.signature(part.distill).parameters.values()) > 2
