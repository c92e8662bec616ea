"""Distilled data as a thing of its own: inputs, targets, weights, and where they come from."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Integer

from dntk.archive import MANIFEST, StoreError, checksum, fingerprint, read_arrays, read_manifest, write_folder
from dntk.backend import backend_of, get_backend
from dntk.models.base import Model
from dntk.types import Array

FORMATS = {"dntk.DistilledData": 1}
_KIND = "DistilledData"


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
        """Write to a folder: safetensors and JSON, checksummed, nothing executable; whole or not at all.

        Raises
        ------
        FileExistsError
            ``path`` exists and holds nothing stored.
        OSError
            The disk is full or not writable; what was at ``path`` is still there.
        """
        (name,) = FORMATS
        head = {"format": name, "version": FORMATS[name], "backend": backend_of(self.x).name}
        write_folder(path, self.arrays, {**head, **self.description}, kind=_KIND)

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
        """Read from a folder, as arrays of the library that made them, or of another ``backend``.

        Raises
        ------
        FileNotFoundError
            There is no such folder.
        dntk.StoreError
            It is damaged, foreign or of a newer version.
        ImportError
            The backend is not installed.
        """
        folder = Path(path)
        manifest = read_manifest(folder, FORMATS, kind=_KIND)
        tensors = read_arrays(folder, manifest, kind=_KIND)
        try:
            library = get_backend(backend or manifest["backend"])
            placed = {name: library.from_numpy(tensors[name], device=device) for name in ("x", "y", "weights")}
            return cls.of(placed, manifest)
        except (KeyError, TypeError, AttributeError) as error:
            msg = f"{folder / MANIFEST} lacks or misstates {error}: the file is damaged or was edited."
            raise StoreError(msg) from error

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
