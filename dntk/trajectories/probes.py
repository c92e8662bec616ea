"""The alignment with the targets, put right by points of which one output each is differentiated.

With G_c = (WᵀP)Ψ_c[S] what combinations of the few say of the gradients that columns W of n numbers add up, and ε_ic =
ψ_c(x_i) − P_i Ψ_c[S] what they miss of one gradient,

    ⟨WWᵀ, K⟩ = Σ_c ‖WᵀΨ_c‖² = Σ_c ‖G_c‖² + 2 Σ_ic ⟨w_iᵀG_c, ε_ic⟩ + Σ_c ‖Wᵀε_c‖².

The middle term is a sum over points and outputs, of which a uniform sample of both tells the mean without bias: the
difference estimator of surveys (Särndal, Swensson and Wretman 1992, ch. 6), with the combinations in place of a
regression. A point of one output costs a row and tells nearly as much as one of all C: gradients of a point's outputs
miss in the same directions. The last term is known at the reference. It is larger than the sum of its squares, since
what is missed agrees between points; elsewhere this excess is taken to grow with the squares of what the sample misses,
at most ``GROWTH``-fold, an assumption, so that intervals allow from nothing of the term to twice as much, without that
limit: where little is missed at the reference and much elsewhere, the upper end says that nothing is known.

W = Y has the alignment's numerator. Its denominator is ‖K‖ ≥ ⟨K̂, K⟩/‖K̂‖, which WWᵀ = K̂ has in the same way: where
the combinations are too large or small in all directions alike, both are, and the alignment is not.
"""

import dataclasses

from jaxtyping import Float, Int

from dntk import arrays
from dntk.features import TangentFeatures
from dntk.models import batches
from dntk.models.base import Model
from dntk.outputs import functional, labelled
from dntk.outputs.inputs import Labelled
from dntk.trajectories.held_out import student
from dntk.trajectories.interpolation import Interpolation
from dntk.types import Array, Inputs

GROWTH = 10.0
"""Up to which squares of what is missed are thought to say how much of it agrees between points. Where they are more,
the few had the reference nearly right, and what little they missed there is of another kind."""

Ends = tuple[float, float, float]
"""An estimate, and the ends of an interval that contains it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawn:
    """Points in random order, each with one output; outputs in turn."""

    where: Int[Array, " p"]
    outputs: Int[Array, " p"]
    inputs: Labelled

    @staticmethod
    def of(where: Int[Array, " p"], x: Inputs, phi: TangentFeatures) -> "Drawn":
        """From positions among all points, and all inputs; the network has the outputs of ``phi``."""
        xp = arrays.namespace(phi.values)
        place = {"device": arrays.device_of(phi.values)}
        outputs = xp.arange(where.shape[0], **place) % phi.n_outputs
        each = outputs[:, None] == xp.arange(phi.n_outputs, **place)[None, :]
        return Drawn(
            where=where, outputs=outputs, inputs=labelled(batches.take(x, where), xp.astype(each, phi.values.dtype))
        )

    def model(self, model: Model) -> Model:
        """What takes the inputs: one output of each."""
        return functional(model)

    def among(self, phi: TangentFeatures) -> Float[Array, "p k"]:
        """Their rows, where those of all points are known."""
        xp, n = arrays.namespace(phi.values), len(phi)
        flat = xp.reshape(phi.values, (phi.n_outputs * n, phi.dim))
        return xp.take(flat, self.outputs * n + self.where, axis=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Columns:
    """W: WᵀP, and its rows at the few and at the sample."""

    sums: Float[Array, "q m"]
    own: Float[Array, "m q"]
    rows: Float[Array, "p q"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Sum:
    """⟨WWᵀ, K⟩: its first two terms, the second by every probe alone, and squares of what the sample misses."""

    known: float
    each: Float[Array, " p"]
    squares: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Last:
    """The last term at the reference: the mean of ‖w_i‖²‖ε_ic‖² over the sample, and its excess over their sum."""

    squares: float
    excess: float

    def elsewhere(self, squares: float, population: int) -> tuple[float, float]:
        """With other squares, and where what is missed goes on to agree however much they grow."""
        growth = squares / self.squares if self.squares > 0 else 0.0
        sums = population * squares
        return sums + min(growth, GROWTH) * self.excess, sums + growth * self.excess


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probes:
    """What a sample of points and outputs makes of an alignment; all in units of a checkpoint's largest feature.

    Parameters
    ----------
    drawn
        The sample, p of them.
    targets
        Columns Y.
    own, rows
        P at the few themselves, of which all outputs are known, and at the sample.
    gram
        PᵀP.
    population
        Pairs of a point and an output that the sample stands for.
    missed
        Σ_c ‖Wᵀε_c‖² at the reference, for W of Y and of K̂.
    scale
        The alignment at the reference, in units of ⟨YYᵀ, K⟩‖K̂‖/⟨K̂, K⟩.
    confidence
        Of intervals.
    """

    drawn: Drawn
    targets: _Columns
    own: Float[Array, "m m"]
    rows: Float[Array, "p m"]
    gram: Float[Array, "m m"]
    population: int
    missed: tuple[_Last, ...]
    scale: float
    confidence: float

    @staticmethod
    def of(
        drawn: Drawn,
        phi: TangentFeatures,
        few: Int[Array, " m"],
        targets: Float[Array, "n q"],
        known: float,
        confidence: float,
    ) -> "Probes | None":
        """From all points at the reference, whose alignment is ``known``; None where it is zero or has no meaning."""
        xp = arrays.namespace(phi.values)
        p, y = Interpolation.fitted(phi, few).coefficients, arrays.in_float64(targets)
        found = Probes(
            drawn=drawn,
            targets=_Columns(sums=y.T @ p, own=xp.take(y, few, axis=0), rows=xp.take(y, drawn.where, axis=0)),
            own=xp.take(p, few, axis=0),
            rows=xp.take(p, drawn.where, axis=0),
            gram=p.T @ p,
            population=(len(phi) - few.shape[0]) * phi.n_outputs,
            missed=(),
            scale=1.0,
            confidence=confidence,
        )
        unit = _unit(phi[few])
        at, errors = found._seen(phi[few], drawn.among(phi))
        factor, norm = found._kernel(at)
        exact: list[float] = []
        missed: list[_Last] = []
        for columns, inputs in ((found.targets, y), (found._combined(factor), p @ factor)):
            whole, left = _at_reference(phi, unit, at, inputs, columns)
            squares = found._sum(at, errors, columns).squares
            exact.append(whole)
            missed.append(_Last(squares=squares, excess=max(left - found.population * squares, 0.0)))
        if not (known > 0 and exact[0] > 0 and exact[1] > 0):  # NaN too
            return None
        return dataclasses.replace(found, missed=tuple(missed), scale=known * exact[1] / exact[0] / norm)

    def alignment(self, phi: TangentFeatures, sample: Float[Array, "p k"]) -> Ends | None:
        """At a checkpoint, from features of the few and rows of the sample; None where the kernel is zero."""
        xp = arrays.namespace(phi.values)
        at, errors = self._seen(phi, sample)
        factor, norm = self._kernel(at)
        product, kernel = (self._sum(at, errors, columns) for columns in (self.targets, self._combined(factor)))
        lasts = [
            last.elsewhere(part.squares, self.population)
            for part, last in zip((product, kernel), self.missed, strict=True)
        ]
        (last, most), (of_kernel, _) = lasts
        top, bottom = product.known + last, kernel.known + of_kernel
        if not bottom > 0:
            return None
        each = product.each - top / bottom * kernel.each
        size = each.shape[0]
        reach = student(self.confidence, size - 1) * float(xp.std(each, correction=1)) / size**0.5
        ends = (top, top - last - reach, top - last + 2 * most + reach)
        value, lower, upper = (max(end, 0.0) * self.scale * norm / bottom for end in ends)
        return value, lower, upper

    def _seen(self, phi: TangentFeatures, sample: Float[Array, "p k"]) -> tuple[Float[Array, "c m k"], Array]:
        """Features of the few in float64, whose largest entry is one so that products stay in range, and ε."""
        unit = _unit(phi)
        at, errors = arrays.in_float64(phi.values) / unit, arrays.in_float64(sample) / unit
        for c in range(phi.n_outputs):
            errors = errors - (self._of_output(c, errors) * self.rows) @ at[c, :, :]
        return at, errors

    def _of_output(self, c: int, like: Array) -> Float[Array, "p one"]:
        """One for probes of an output, else zero."""
        return arrays.namespace(like).astype(self.drawn.outputs == c, like.dtype)[:, None]

    def _kernel(self, at: Float[Array, "c m k"]) -> tuple[Float[Array, "m m"], float]:
        """Z with ZZᵀ = Σ_c Ψ_c[S]Ψ_c[S]ᵀ, so that PZ are columns of K̂, and ‖K̂‖_F."""
        xp = arrays.namespace(at)
        joined = xp.reshape(xp.permute_dims(at, (1, 0, 2)), (at.shape[1], -1))
        small = joined @ joined.T
        values, vectors = xp.linalg.eigh((small + small.T) / 2)
        factor = vectors * xp.sqrt(xp.clip(values, 0, None))[None, :]
        return factor, float(xp.linalg.vector_norm(factor.T @ self.gram @ factor))

    def _combined(self, factor: Float[Array, "m m"]) -> _Columns:
        """Columns of K̂."""
        return _Columns(sums=factor.T @ self.gram, own=self.own @ factor, rows=self.rows @ factor)

    def _sum(self, at: Float[Array, "c m k"], errors: Float[Array, "p k"], columns: _Columns) -> _Sum:
        """⟨WWᵀ, K⟩ without its last term; what the few miss of themselves is known, and not sampled."""
        xp = arrays.namespace(errors)
        known, each = 0.0, xp.zeros_like(errors[:, 0])
        for c in range(at.shape[0]):
            said = columns.sums @ at[c, :, :]
            own = at[c, :, :] - self.own @ at[c, :, :]
            known += float(xp.sum(said**2)) + 2 * float(xp.sum((columns.own @ said) * own))
            mine = self._of_output(c, errors) * columns.rows
            each = each + 2 * self.population * xp.sum((mine @ said) * errors, axis=1)
        squares = xp.sum(columns.rows**2, axis=1) * xp.sum(errors**2, axis=1)
        return _Sum(known=known + float(xp.mean(each)), each=each, squares=float(xp.mean(squares)))


def _at_reference(
    phi: TangentFeatures, unit: float, at: Float[Array, "c m k"], inputs: Float[Array, "n q"], columns: _Columns
) -> tuple[float, float]:
    """Σ_c ‖WᵀΨ_c‖² and Σ_c ‖Wᵀε_c‖² of all points."""
    xp, whole, left = arrays.namespace(at), 0.0, 0.0
    for c in range(phi.n_outputs):
        sums = inputs.T @ (arrays.in_float64(phi.values[c, :, :]) / unit)
        whole += float(xp.sum(sums**2))
        left += float(xp.sum((sums - columns.sums @ at[c, :, :]) ** 2))
    return whole, left


def _unit(phi: TangentFeatures) -> float:
    return arrays.largest_magnitude(phi.values) or 1.0
