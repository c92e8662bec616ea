"""A fitted distilled kernel, as a value: predictions, trust and uncertainty, losses, costs and certificate."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int, Integer

from dntk import arrays
from dntk._checks import folder, require_kind
from dntk._target_checks import check_classes, check_labels
from dntk._text import printable
from dntk.bounds import Intervals
from dntk.certificates import (
    Certificate,
    Span,
    Threshold,
    sampled_mean,
    threshold,
)
from dntk.certificates.tolerance_outcome import ToleranceOutcome
from dntk.distill.data import DistilledData
from dntk.estimator import storage
from dntk.estimator._prediction import linear_outputs
from dntk.estimator._query import Query, Says, of_features
from dntk.estimator._words import described
from dntk.estimator.losses import Losses
from dntk.estimator.points import outputs_by
from dntk.estimator.reporting import _made
from dntk.estimator.reporting.asked import Asked
from dntk.estimator.state import FittedState
from dntk.features import TangentFeatures
from dntk.ledger import Ledger, LedgerRecorder
from dntk.metrics import accuracy, fidelity, predicted_labels
from dntk.models import batches
from dntk.models.base import Model, checked_inputs
from dntk.plan import Plan
from dntk.probabilities import Link, Probit, calibrated
from dntk.probabilities._calibration import LinkT
from dntk.sketch import Sketch
from dntk.stores.clusters import require_client
from dntk.types import Array, Inputs


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Fit:
    """What :meth:`dntk.DistilledNTK.fit` made of a network and points; also read back by :func:`dntk.load`.

    A value: nothing in it changes, and copies and pickles are whole. The certificate, and the span of a fit without
    synthetic gradients, are made when they are first read, once, whatever threads ask. Calls that run the network are
    as safe in threads as its model; dntk's own models are, also while the network itself is run by others.

    It belongs to the network as it was when fitted. Calls that run the network look at all its arrays first, as fast as
    memory is read, and refuse one that changed since.

    What is asked of points, ``x``, is answered batch by batch, and takes ``client``, a ``dask.distributed.Client``: its
    workers take the batches, to the same bits. The network travels to them once a call. What one batch holds is
    answered here. ``ConnectionError`` where its scheduler is gone.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> weights = rng.normal(size=(16, 3)), rng.normal(size=(2, 16)) / 4
    >>> model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    >>> x, new = rng.normal(size=(40, 3)), rng.normal(size=(10, 3))
    >>> fit = dntk.DistilledNTK(model, data=None, gradients=None).fit(x)
    >>> fit.predict(new).shape, fit.predict_proba(new).shape, fit.uncertainty(new).shape
    ((10, 2), (10, 2), (10, 2))
    >>> trust = fit.trust(new)
    >>> bool(trust.min() >= 0), bool(trust.max() <= 1), bool(fit.trust(x).max() < 1e-6)
    (True, True, True)
    >>> fit.kernel(new, x).shape, fit.ledger.total().jacobian_rows
    ((10, 40), 80)
    """

    model: Model
    state: FittedState

    def predict(self, x: Array, *, client: Any = None) -> Float[Array, "n c"]:
        """Predicted outputs f̂_c(x) = ⟨w_c, φ_c(x)⟩, by products with the gradients' factors: see the notes.

        Raises
        ------
        TypeError, ValueError
            Inputs that the model does not take, or a network that changed since the fit.

        Notes
        -----
        One forward and C backward passes, and the work of C forward passes, less in layers that the sketch reduces
        (:class:`dntk.sketch.Mixed`); where the outputs are one regression, one forward pass with its derivative. The
        first call brings the weights from the sketch to the parameters, O(C·P); they are kept for the next ones where
        they take at most a quarter of the memory limit (512 MiB without one), but neither copied, pickled nor saved.
        No gradient of a point is sketched.
        """
        x = self._checked(x, client)
        return linear_outputs(self.model, x, self.state.linear, self.state.memory_limit, client)

    def query(self, x: Array, *, client: Any = None) -> Query:
        """Prediction, uncertainty and trust of every query from one pass over their features.

        The three calls one by one make the features twice, and the gradients a third time.

        Raises
        ------
        TypeError, ValueError
            Inputs that the model does not take, or a network that changed since the fit.
        """
        recorder = LedgerRecorder()
        with recorder.stage("query"):
            found, c = self._asked(Says.all, x, client), self.model.n_outputs
        cost = recorder.ledger()["query"]
        return Query(prediction=found[:, :c], uncertainty=found[:, c:-1], trust=found[:, -1], cost=cost)

    def predict_proba(self, x: Array, *, link: Link | None = None, client: Any = None) -> Float[Array, "n classes"]:
        """Class probabilities from predictions and :meth:`uncertainty`, by a link, by default :class:`Probit`.

        Predictions are taken for logits. They are that of a fit to the network's own logits; of one to labels they lie
        between 0 and 1, and without a link by :meth:`calibrated_link` all classes come out nearly alike. Two columns
        where there is one output. One pass over features.

        Raises
        ------
        TypeError, ValueError
            Inputs that the model does not take.
        """
        require_kind("link", link, Link | None, expected="Probit(...) or MonteCarlo(...), or None")
        return (link or Probit()).probabilities(*self._moments(x, client))

    def calibrated_link(self, x: Array, y: Integer[Array, " n"], *, link: LinkT, client: Any = None) -> LinkT:
        """``link`` with the scale and temperature of least negative log-likelihood at held-out points and labels.

        Raises
        ------
        TypeError, ValueError
            Inputs that the model does not take; labels that are no classes of it.
        """
        return calibrated(link, *self._moments(x, client), y)

    def predict_label(self, x: Array, *, client: Any = None) -> Int[Array, " n"]:
        """Class of the largest predicted output, the lower one where two are equal."""
        return predicted_labels(self.predict(x, client=client))

    def score(self, x: Array, y: Integer[Array, " n"], *, client: Any = None) -> float:
        """Accuracy: share of points whose predicted class is the label."""
        x = checked_inputs(self.model, x)
        check_labels("y", y, points=batches.count(x))
        check_classes("y", y, classes=max(2, self.model.n_outputs))
        return accuracy(self.predict(x, client=client), y)

    def fidelity(self, x: Array, *, client: Any = None) -> float:
        """Share of points where the predictor and the network choose the same class."""
        x = checked_inputs(self.model, x)
        return fidelity(self.predict(x, client=client), outputs_by(client, self.model, x))

    def kernel(self, x1: Array, x2: Array | None = None, *, client: Any = None) -> Float[Array, "n1 n2"]:
        """Distilled mean kernel: that of the features projected on the span that was kept."""
        left = self._projected(x1, client)
        return left.kernel(None if x2 is None else self._projected(x2, client))

    def trust(self, x: Array, *, normalised: bool = True, client: Any = None) -> Float[Array, " n"]:
        """Tangent residual per query, Σ_c‖(I − Π_c)ψ_c(x)‖² / Σ_c‖ψ_c(x)‖², in [0, 1].

        Near 0 the query's gradients lie in the span that was kept; near 1 the prediction rests on nothing (0 for
        queries whose features are zero). Not ``normalised``: the numerator, in units of the kernel.
        """
        return self._asked(functools.partial(Says.trust, normalised=normalised), x, client)

    def threshold(
        self,
        x: Array,
        *,
        false_alarm: float = 0.05,
        confidence: float = 0.95,
        normalised: bool = True,
        client: Any = None,
    ) -> Threshold:
        """The limit of :meth:`trust` that at most this share of points like ``x`` exceeds, with this confidence.

        ``x`` are independent draws of what counts as known, none of them fitted; 59 at least for 5% at 95%. Of other
        scores, :func:`dntk.certificates.threshold`.

        Raises
        ------
        TypeError, ValueError
            Inputs that the model does not take; too few for both shares, with how many are needed.
        """
        scores = self.trust(x, normalised=normalised, client=client)
        return threshold(scores, false_alarm=false_alarm, confidence=confidence)

    def uncertainty(self, x: Array, *, client: Any = None) -> Float[Array, "n c"]:
        """Standard deviation of a Gaussian process whose mean is the regression, never below that of the exact one.

        The posterior variance v(x) = κ(x, x) − κ_xᵀ(K + λI)⁻¹κ_x on the features of the kept points, per query and
        output, in units where the targets' noise has variance λ. With synthetic gradients it is the power function
        v̂ = κ(x, x) − κ_xᵀU(UᵀAU)⁻¹Uᵀκ_x: v ≤ v̂ ≤ κ(x, x), the part of a query's gradient outside the span counted
        in full (theorem C2). That is about twice the exact deviation at other points, but thousands of times it at kept
        ones, where it is at most √λ (docs/method.md); ``gradients=None`` has no such part. Computed in float64; where
        the device has none, none below √(0.72·eps·N·κ(x, x)) is told from zero, N the most features or directions.

        Raises
        ------
        TypeError, ValueError
            Inputs that the model does not take.
        """
        return self._asked(Says.deviation, x, client)

    def held_out_residual(self, x: Array, *, confidence: float = 0.99, client: Any = None) -> Intervals:
        """Interval of the mean of :meth:`trust` over unseen points, from some that were held out.

        ``x`` are independent draws from the distribution that is asked about, none of them among the points that were
        fitted. The interval holds with this probability over them; fifty draws of small residuals end near 0.2 at 99%,
        a thousand near 0.02. A tolerance says nothing of unseen points, and this nothing of the training points.

        Raises
        ------
        TypeError, ValueError
            Inputs that the model does not take; a confidence that is not between 0 and 1.
        """
        return sampled_mean(self.trust(x, client=client), None, confidence=confidence, what="unseen points")

    @property
    def certificate(self) -> Certificate:
        """Bounds on what was lost between the features of the kept points and the predictor, each with its theorem.

        With it, where points were dropped, the mean tangent residual of those that were not kept, from a sample of
        them; and what the sketch's theorem says of the kernel without sketch. Made when it is first read, from the
        features and the sampled points that are held until then: a Jacobian of the sample (a fifth of the rows of the
        fit, 256 to 512 points), and the operations of :func:`dntk.certify`.

        Raises
        ------
        dntk.StoreError
            The fit was read from a file that was saved without it.
        """
        if not self.state.certificate.is_made:
            self.state.network.require_same(self.model)
        return self.state.certificate()

    @property
    def ledger(self) -> Ledger:
        """Costs of the stages of the fit, and of the certificate once it is made."""
        return self.state.costs

    @property
    def losses(self) -> Losses:
        """What each stage lost, measured."""
        return self.state.losses

    @property
    def tolerance(self) -> ToleranceOutcome | None:
        """Whether the tolerance was met, and which stage stopped it; None where none was asked for."""
        return self.state.tolerance

    @property
    def spectrum(self) -> Float[Array, " m"]:
        """Eigenvalues of the mean kernel on the kept points, descending.

        After one regression for all outputs, of the kernel of its rows.
        """
        return self.state.spectrum

    @property
    def choices(self) -> tuple[str, ...]:
        """What was chosen where ``"auto"`` was asked for, and why, a line each."""
        text = self.state.made_by.get("choices", "")
        return tuple(text.split("; ")) if text else ()

    @property
    def indices(self) -> Int[Array, " m"] | None:
        """Positions of the kept points; ``None`` where inputs were distilled."""
        return self.state.indices

    @property
    def data(self) -> DistilledData | None:
        """Distilled inputs; ``None`` where points were chosen."""
        return self.state.data

    @property
    def weights(self) -> Float[Array, "c k"]:
        """w_c of every output, in the coordinates of the sketch; all the same after one regression for all outputs."""
        weights = self.state.weights
        shape = (self.model.n_outputs, weights.shape[1])
        return arrays.namespace(weights).broadcast_to(weights, shape) if self.state.is_joint else weights

    @property
    def ridge(self) -> float:
        """The ridge λ of the regression."""
        return self.state.ridge

    @property
    def sketch(self) -> Sketch | None:
        """The sketch of the features, bound to the network's parameters; None for all of them."""
        return self.state.sketch

    @property
    def span(self) -> Span:
        """What :func:`dntk.certify` compares with features: the span that was kept, and the predictor in it.

        After one regression for all outputs these are one for all of them, and features to compare with are rows, as
        :meth:`dntk.solve.Joint.rows` has them.
        """
        return dataclasses.replace(self.state.span(), weights=(self.state.weights,))

    def save(self, path: str | Path, *, certify: bool = False) -> None:
        """Write to a file: safetensors with a manifest, under one checksum, nothing executable; whole or not at all.

        A :class:`dntk.MLP` is stored with its weights; of other networks a digest of all parameters and buffers is,
        and :func:`dntk.load` needs the network again. Four inputs of the fit are stored too, with the network's outputs
        there, by which another structure shows. The certificate is stored if it was made; ``certify`` makes it.

        Raises
        ------
        FileExistsError
            ``path`` exists and is nothing stored.
        ValueError
            The network changed since the fit.
        OSError
            The disk is full or not writable; what was at ``path`` is still there.
        """
        path = folder("path", path)
        self.state.network.require_same(self.model)
        if certify:
            self.state.certificate()
        storage.save(self.model, self.state, path)

    def report(
        self,
        path: str | Path,
        *,
        x: Inputs | None = None,
        y: Integer[Array, " q"] | None = None,
        points: Inputs | None = None,
        targets: Array | None = None,
        queries: Sequence[int] | None = None,
        classes: Sequence[str] | None = None,
        image_shape: tuple[int, ...] | None = None,
        plan: Plan | None = None,
        link: Link | None = None,
        certify: bool = True,
        files: bool = False,
    ) -> None:
        """Write a self-contained HTML page, verdict first; what it was not given, it says how to give.

        Parameters
        ----------
        x, y
            Points that were held out, for fidelity, its curve and trust, and their labels, for accuracy and
            reliability. One Jacobian of them, and one forward pass.
        points, targets
            The inputs and targets that were fitted, as for :meth:`dntk.DistilledNTK.fit`: coverage, pictures of the
            kept inputs, and with ``x`` the points of most influence. One Jacobian of the kept points, O(C·m²·k).
        queries
            Positions in ``x`` that are explained; default: the three of least trust.
        classes
            Names of the classes.
        image_shape
            Shape of one input as an image, where inputs are no arrays of channels.
        plan
            Of the same fit, for the foreseen cost of the exact kernel.
        link
            For reliability; default: :class:`dntk.probabilities.Probit`.
        certify
            Whether a certificate is made that was not yet, see :attr:`certificate`.
        files
            Write every chart beside the page, too: PNG, and its numbers as CSV.

        Raises
        ------
        TypeError, ValueError
            Inputs that the model does not take; arguments that do not go together; points or targets other than those
            of the fit; a network that changed since.
        ImportError
            ``files`` without matplotlib. The page itself has numbers in place of charts there.
        """
        asked = Asked(
            x=x,
            y=y,
            points=points,
            targets=targets,
            queries=queries,
            classes=classes,
            image_shape=image_shape,
            plan=plan,
            link=link,
        )
        if x is not None or points is not None or (certify and not self.state.certificate.is_made):
            self.state.network.require_same(self.model)
        _made.make(self.model, self.state, asked, path, certify=certify, files=files)

    @printable
    def __repr__(self) -> str:
        """Points, what was kept of them, and what that is worth."""
        return described(self.state)

    def _checked(self, x: Array, client: Any) -> Inputs:
        """Inputs of this network, which did not change since the fit."""
        require_client(client)
        x = checked_inputs(self.model, x)
        self.state.network.require_same(self.model)
        return x

    def _asked(self, answer: Callable[[Says, TangentFeatures], Array], x: Array, client: Any, axis: int = 0) -> Array:
        """What is made of the features of points."""
        x, says = self._checked(x, client), Says.of(self.state)
        return of_features(functools.partial(answer, says), self.model, x, self.state, axis=axis, client=client)

    def _moments(self, x: Array, client: Any) -> tuple[Float[Array, "n c"], Float[Array, "n c"]]:
        found, c = self._asked(Says.moments, x, client), self.model.n_outputs
        return found[:, :c], found[:, c:]

    def _projected(self, x: Array, client: Any) -> TangentFeatures:
        return TangentFeatures(self._asked(Says.inside, x, client, axis=1))
