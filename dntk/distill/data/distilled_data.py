"""Distilled data as a thing of its own: inputs, targets, weights, and where they come from."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Integer

from dntk._checks import folder
from dntk.archive import Format, Stored, checksum, fingerprint, read, schema, write
from dntk.backend import backend_of, get_backend
from dntk.models.base import Model
from dntk.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where distilled data come from.

    Parameters
    ----------
    objective
        Name of the objective's class.
    fields
        Its fields, with those that are no plain values as text.
    seed
        Of all its random draws.
    model, data
        SHA-256 of the parameters of the network and of the data that were distilled.
    """

    objective: str
    fields: Mapping[str, Any]
    seed: int
    model: str
    data: str


DESCRIPTION_FIELDS: dict[str, schema.Check] = {
    "history": schema.mapping(schema.items(schema.number(finite=False))),
    "provenance": schema.fields_of(Provenance, fields=schema.mapping(schema.plain)),
    "step": schema.integer(),
    "stopped": schema.text,
}
DESCRIPTION = schema.record_of(DESCRIPTION_FIELDS)
FORMAT = Format(
    name="dntk.DistilledData",
    version=2,
    kind="set of distilled data",
    reader="dntk.distill.data.DistilledData.load(path)",
    fields={"backend": schema.text, **DESCRIPTION_FIELDS},
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DistilledData:
    """A few inputs that stand for many.

    Parameters
    ----------
    x
        The m inputs, of the shape and dtype that the network takes.
    y
        Integer classes (m,), or targets (m, C).
    weights
        Weight of each input in sums over the data.
    history
        Losses and what else was measured, by name, at every step, the start first.
    provenance
        Objective, seed, network and data.
    step
        The step whose inputs these are: the best on what was held out, or the best loss where nothing is.
    stopped
        Why the run ended before its last step; empty where it did not.
    """

    x: Array
    y: Integer[Array, " m"] | Float[Array, "m c"]
    weights: Float[Array, " m"]
    history: Mapping[str, tuple[float, ...]]
    provenance: Provenance
    step: int = 0
    stopped: str = ""

    def __len__(self) -> int:
        """Number m of inputs."""
        return self.x.shape[0]

    def save(self, path: str | Path) -> None:
        """Write to a file: safetensors with a manifest, checksummed, nothing executable; whole or not at all.

        Raises
        ------
        FileExistsError
            ``path`` exists and is nothing stored.
        OSError
            The disk is full or not writable; what was at ``path`` is still there.
        """
        write(folder("path", path), FORMAT, self.arrays, {"backend": backend_of(self.x).name, **self.description})

    @property
    def arrays(self) -> dict[str, Array]:
        """Its arrays by name."""
        return {"x": self.x, "y": self.y, "weights": self.weights}

    @property
    def description(self) -> dict[str, Any]:
        """All else, as plain values."""
        return {
            "history": {key: list(values) for key, values in self.history.items()},
            "provenance": dataclasses.asdict(self.provenance),
            "step": self.step,
            "stopped": self.stopped,
        }

    @classmethod
    def of(cls, arrays: Mapping[str, Array], description: Mapping[str, Any]) -> "DistilledData":
        """Put together again from :attr:`arrays` and :attr:`description`."""
        return cls(
            **arrays,
            history={key: tuple(values) for key, values in description["history"].items()},
            provenance=Provenance(**description["provenance"]),
            step=description["step"],
            stopped=description["stopped"],
        )

    @classmethod
    def load(cls, path: str | Path, *, backend: str | None = None, device: Any = None) -> "DistilledData":
        """Read from a file, as arrays of the library that made them, or of another ``backend``.

        Raises
        ------
        FileNotFoundError
            There is no such file.
        dntk.StoreError
            It is damaged, foreign or of another version.
        ImportError
            The backend is not installed.
        """
        stored = read(path, FORMAT)
        require_shapes(stored)
        with stored.building():
            library = get_backend(backend or stored.manifest["backend"])
            placed = {name: stored.place(name, library, device=device) for name in ("x", "y", "weights")}
            return cls.of(placed, stored.manifest)

    def grid(
        self, path: str | Path, *, columns: int = 10, channels_last: bool = False, shape: tuple[int, ...] | None = None
    ) -> None:
        """Write the inputs as a grid of images, in their order; vectors need the ``shape`` of one image.

        Raises
        ------
        ImportError
            matplotlib is not installed.
        ValueError
            The inputs are no images of one, three or four channels.
        """
        from dntk.distill.data._grid import write_grid

        write_grid(self.x, path, columns=columns, channels_last=channels_last, shape=shape)


def require_shapes(stored: Stored, prefix: str = "") -> None:
    """Raise ``StoreError`` unless an archive has inputs, targets and weights of one length under ``prefix``."""
    sizes: dict[str, int] = {}
    stored.array(f"{prefix}x", "m ...", sizes, kind="any")
    stored.array(f"{prefix}weights", "m", sizes)
    stored.array(f"{prefix}y", "m ...", sizes, kind="any")


@runtime_checkable
class DataDistiller(Protocol):
    """Makes a few inputs out of many: optimises inputs where a selector chooses them."""

    def distill(self, model: Model, x: Array, y: Array | None = None) -> DistilledData:
        """Distilled data of the inputs ``x``, with labels ``y`` where the objective needs them."""


def provenance_of(objective: Any, model: Model, data: Mapping[str, Array]) -> Provenance:
    """Provenance of what an objective, a frozen dataclass with a ``seed``, makes of these data."""
    fields = {field.name: _plain(getattr(objective, field.name)) for field in dataclasses.fields(objective)}
    return Provenance(
        objective=type(objective).__name__,
        fields=fields,
        seed=objective.seed,
        model=fingerprint(model),
        data=checksum(data),
    )


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
