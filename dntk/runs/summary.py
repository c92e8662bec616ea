"""What a run wrote down: plain values that say what was run on what, what was kept, lost and spent."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dntk.archive import StoreError, schema
from dntk.archive.schema import Misstated
from dntk.certificates.schema import CERTIFICATE, TOLERANCE
from dntk.certificates.tolerance_outcome import ToleranceOutcome
from dntk.estimator.losses import Losses
from dntk.estimator.reporting.facts import verdict_of
from dntk.ledger import Ledger, StageCost
from dntk.sketch import description

SUMMARY = "summary.json"
"""Name of the file in the folder of a run."""

_NAME, _VERSION = "dntk.run", 1
_UNSEEN = schema.record(
    points=schema.integer(1),
    fidelity=schema.number(0, 1),
    accuracy=schema.optional(schema.number(0, 1)),
    network_accuracy=schema.optional(schema.number(0, 1)),
)
_FORM = schema.record(
    format=schema.choice(_NAME),
    version=schema.choice(_VERSION),
    made_by=schema.mapping(schema.text),
    configuration=schema.mapping(schema.mapping(schema.plain)),
    digests=schema.mapping(schema.text),
    outputs=schema.integer(1),
    parameters=schema.integer(1),
    choices=schema.items(schema.text),
    sketch=schema.optional(description.FORM),
    ridge=schema.number(0, above=True),
    losses=schema.fields_of(Losses),
    spectrum=schema.items(schema.number(finite=False)),
    tolerance=TOLERANCE,
    certificate=schema.optional(CERTIFICATE),
    unseen=schema.optional(_UNSEEN),
    ledger=schema.items(schema.fields_of(StageCost)),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """A run in plain values; :meth:`text` is the file, :func:`read_summary` reads it.

    Parameters
    ----------
    configuration
        Its tables, see :class:`dntk.runs.Configuration`.
    digests
        SHA-256 of the network, the points, the targets, the points that were held out, and the weights that came out.
    outputs, parameters
        C and P.
    choices, sketch, ridge, losses, spectrum, tolerance, certificate
        As the :class:`dntk.Fit` has them, the certificate only where one was asked for.
    unseen
        Number of points that were held out; shares of them where predictor and network agree, where each is right.
    ledger
        What every stage cost.
    made_by
        Versions of Python and of the libraries.
    """

    configuration: Mapping[str, Any]
    digests: Mapping[str, str]
    outputs: int
    parameters: int
    choices: tuple[str, ...]
    sketch: Mapping[str, Any] | None
    ridge: float
    losses: Losses
    spectrum: tuple[float, ...]
    tolerance: ToleranceOutcome | None
    certificate: Mapping[str, Any] | None
    unseen: Mapping[str, Any] | None
    ledger: Ledger
    made_by: Mapping[str, str]

    def plain(self) -> dict[str, Any]:
        """Numbers, strings, lists and objects."""
        return {
            "format": _NAME,
            "version": _VERSION,
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)},
            "choices": list(self.choices),
            "losses": dataclasses.asdict(self.losses),
            "spectrum": list(self.spectrum),
            "tolerance": None if self.tolerance is None else self.tolerance.to_dict(),
            "ledger": [dataclasses.asdict(cost) for cost in self.ledger.stages],
        }

    def text(self) -> str:
        """The file's content."""
        return json.dumps(self.plain(), indent=2) + "\n"

    @property
    def verdict(self) -> str:
        """What came out, in one sentence."""
        kept = None if self.unseen is None else (self.unseen["fidelity"], self.unseen["points"])
        return verdict_of(self.losses, self.ledger, outputs=self.outputs, kept=kept, tolerance=self.tolerance)


def read_summary(folder: str | Path) -> Summary:
    """The summary in a run's folder.

    Raises
    ------
    FileNotFoundError
        There is none: the folder is of no run, or of one that did not end.
    dntk.StoreError
        It is damaged, or of another version.
    """
    path = Path(folder) / SUMMARY
    if not path.is_file():
        msg = f"there is no {path}: {folder} is not the folder of a run that ended (dntk run config.toml makes one)."
        raise FileNotFoundError(msg)
    try:
        found = json.loads(path.read_bytes())
        _FORM(found, "")
    except (ValueError, RecursionError) as error:
        what = str(error) if isinstance(error, Misstated) else f"it is no JSON ({error})"
        msg = f"the summary of a run {path} is damaged or foreign: {what}. Run it again, dntk run config.toml."
        raise StoreError(msg) from error
    fields = {name: value for name, value in found.items() if name not in ("format", "version")}
    fields["choices"] = tuple(fields["choices"])
    fields["losses"] = Losses(**fields["losses"])
    fields["spectrum"] = tuple(fields["spectrum"])
    fields["tolerance"] = None if fields["tolerance"] is None else ToleranceOutcome.from_dict(fields["tolerance"])
    fields["ledger"] = Ledger(stages=tuple(StageCost(**cost) for cost in fields["ledger"]))
    return Summary(**fields)
