"""What the stages of a fit keep on the disk, so that the same fit goes on after an interruption, and their memory."""

import dataclasses
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxtyping import Float

from dntk._checks import folder, positive_finite, positive_integer
from dntk._kernel_checks import require_descending
from dntk._progress import task
from dntk.archive import checksum, fingerprint
from dntk.checkpoints import Checkpoints, described, digest
from dntk.distill.data import DataDistiller, DistilledData, Selection
from dntk.distilled_gradients import DistilledGradients
from dntk.estimator._kept import require_gradients, require_points, require_weights
from dntk.features import TangentFeatures, kept_features
from dntk.identity import Identity, rounding_of
from dntk.models import batches
from dntk.models.base import POINTS, Model
from dntk.models.nests import is_array, leaves
from dntk.outputs import FeatureOutputs
from dntk.sketch import Sketch, SketchPlan
from dntk.solve import RidgeFit
from dntk.solve.conditioning import SolveReport
from dntk.stores.clusters import require_client
from dntk.types import Array, Inputs


@dataclasses.dataclass(frozen=True)
class Keep:
    """Where stages keep what they made, nowhere without a folder; bytes that they may take; workers.

    ``memory_limit`` is of what is beside the network; ``client`` is that of a cluster, whose workers make what is made
    of many points.

    Every method returns what its last argument makes, or what it made in an earlier run.
    """

    checkpoints: Checkpoints | None = None
    memory_limit: int | None = None
    client: Any = None

    @staticmethod
    def of(
        spec: Any, x: Inputs, y: Array | None, checkpoint: str | Path | None, memory_limit: Any, client: Any = None
    ) -> "Keep":
        """For the fit of a specification to some data.

        Raises
        ------
        ValueError
            The memory limit is no positive number of bytes.
        TypeError, ConnectionError
            The client is none, or its scheduler is gone.
        dntk.StoreError
            The folder belongs to another fit.
        FileExistsError
            It has other files.
        """
        if memory_limit is not None:
            memory_limit = positive_integer("memory_limit", memory_limit, remedy="a number of bytes, or None")
        require_client(client)
        if checkpoint is None:
            return Keep(None, memory_limit, client)
        checkpoint = folder("checkpoint", checkpoint)
        parts = {f.name: getattr(spec, f.name) for f in dataclasses.fields(spec) if f.name not in ("model", "_")}
        owner = {
            "specification": digest(described(parts)),
            "network": fingerprint(spec.model),
            "data set": digest_of(x),
            "set of targets": "" if y is None else checksum({"y": y}),
        }
        kept = Checkpoints.at(checkpoint, owner)
        kept.require_network(Identity.of(spec.model, x, digest=owner["network"]), rounding_of(spec.model))
        return Keep(kept, memory_limit, client)

    def features(
        self,
        name: str,
        model: Model,
        x: Array,
        *,
        sketch: Sketch | SketchPlan | None,
        outputs: FeatureOutputs = "each",
    ) -> TangentFeatures:
        """Features of points that the name stands for; their batches are kept one by one."""
        kept = None if self.checkpoints is None else (self.checkpoints, name)
        return kept_features(
            model, x, sketch=sketch, outputs=outputs, memory_limit=self.memory_limit, kept=kept, client=self.client
        )

    def selection(self, like: Array, points: int, make: Callable[[], Selection]) -> Selection:
        """Some of so many points, chosen."""
        if self.checkpoints is None:
            return make()

        def entry() -> tuple[dict[str, Array], dict[str, Any]]:
            made = make()
            names = ("indices", "weights", "residual_trace")
            return {name: getattr(made, name) for name in names}, {"trace": made.trace}

        found, plain = self.checkpoints.kept("selection", entry, like)
        with self.checkpoints.building("selection"):
            selection = Selection(**found, trace=float(plain["trace"]))
            require_points(selection, points)
            return selection

    def limited(self, call: Callable[..., Any]) -> dict[str, Any]:
        """The memory limit and the client, if there are such and the call takes them."""
        takes = inspect.signature(call).parameters
        given = {"memory_limit": self.memory_limit, "client": self.client}
        return {name: value for name, value in given.items() if value is not None and name in takes}

    def distilled(self, source: DataDistiller, model: Model, x: Array, y: Array) -> DistilledData:
        """Distilled inputs; an objective that takes a checkpoint has one of its own."""
        more = self.limited(source.distill)
        if self.checkpoints is None:
            return source.distill(model, x, y, **more)
        if "checkpoint" in inspect.signature(source.distill).parameters:
            more["checkpoint"] = self.checkpoints.part("objective")

        def entry() -> tuple[dict[str, Array], dict[str, Any]]:
            made = source.distill(model, x, y, **more)
            return made.arrays, made.description

        found = self.checkpoints.kept("distilled", entry, next(iter(model.parameters.values())))
        with self.checkpoints.building("distilled"):
            return DistilledData.of(*found)

    def regression(self, phi: TangentFeatures, make: Callable[[], RidgeFit]) -> RidgeFit:
        """The regression on the features, with its leave-one-out error."""
        if self.checkpoints is None:
            return make()

        def entry() -> tuple[dict[str, Array], dict[str, Any]]:
            made = make()
            plain = {"ridge": made.ridge, "loo": made.loo_error, "report": dataclasses.asdict(made.report)}
            return {"weights": made.weights, "dual": made.dual}, plain

        found, plain = self.checkpoints.kept("ridge", entry, phi.values)
        with self.checkpoints.building("ridge"):
            require_weights(found, phi)
            loo = plain["loo"]
            return RidgeFit(
                **found,
                ridge=positive_finite("ridge", plain["ridge"]),
                left_out=lambda: loo,
                report=SolveReport(**plain["report"]),
                sketch=phi.sketch,
            )

    def gradients(self, phi: TangentFeatures, make: Callable[[], DistilledGradients]) -> DistilledGradients:
        """Synthetic gradients."""
        if self.checkpoints is None:
            return make()

        def entry() -> tuple[dict[str, Array], dict[str, Any]]:
            made = make()
            fields = {f.name: getattr(made, f.name) for f in dataclasses.fields(made) if f.name != "sketch"}
            plain = {name: value for name, value in fields.items() if value is None or isinstance(value, float)}
            return {name: value for name, value in fields.items() if name not in plain}, plain

        found, plain = self.checkpoints.kept("gradients", entry, phi.values)
        with self.checkpoints.building("gradients"):
            require_gradients(found, phi)
            return DistilledGradients(**found, **plain, sketch=phi.sketch)

    def number(self, name: str, like: Array, make: Callable[[], float]) -> float:
        """A number."""
        if self.checkpoints is None:
            return make()
        _, plain = self.checkpoints.kept(name, lambda: ({}, {"value": make()}), like)
        with self.checkpoints.building(name):
            return float(plain["value"])

    def spectrum(self, like: Array, make: Callable[[], Array]) -> Float[Array, " m"]:
        """Eigenvalues in descending order."""
        if self.checkpoints is None:
            return make()
        values = self.checkpoints.kept_array("spectrum", "value", make, like)
        with self.checkpoints.building("spectrum"):
            if values.ndim != 1:
                msg = f"eigenvalues of shape {tuple(values.shape)}: expected one axis"
                raise ValueError(msg)
            require_descending("spectrum", values)
            return values


def digest_of(x: Inputs) -> str:
    """SHA-256 of all points; those of a source are read once, batch by batch."""
    total, n = hashlib.sha256(), batches.count(x)
    with task("digest of the data", total=n, unit="points") as bar:
        for start, stop in bar.spans(n, POINTS):
            part = batches.span(x, start, stop)
            total.update(checksum({"": part} if is_array(part) else dict(leaves(part))).encode())
    return total.hexdigest()


NOWHERE = Keep()
"""Nothing is kept, and memory has no limit but the default."""


def require_memory(limit: int | None, needed: int, what: str, remedy: str) -> None:
    """Raise ``ValueError`` where a stage is known to take more than the limit."""
    if limit is not None and needed > limit:
        msg = f"`memory_limit`={limit:,} bytes do not suffice: {what} take about {needed:,}. {remedy}"
        raise ValueError(msg)
