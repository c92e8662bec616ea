"""A run: what a configuration says, done; its results in a folder that the same run finds again."""

import dataclasses
from pathlib import Path
from typing import Any

from dntk import metrics
from dntk._target_checks import check_labels
from dntk.archive import checksum, fingerprint, write_whole
from dntk.backend import backend_of
from dntk.estimator import DistilledNTK, Fit
from dntk.estimator.reporting._versions import versions
from dntk.estimator.resumption import digest_of
from dntk.models import as_model, batches
from dntk.models.base import checked_inputs, outputs_of
from dntk.plan import Plan
from dntk.runs import _sources
from dntk.runs._page import write_report
from dntk.runs._parts import parts_of
from dntk.runs.configuration import Configuration
from dntk.runs.summary import SUMMARY, Summary, read_summary
from dntk.sketch import description

REPORT, FIT = "report.html", "fit"
"""Names of files in the folder of a run."""
_FILES = {SUMMARY, REPORT, FIT, "checkpoint"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came out.

    Parameters
    ----------
    fit, summary, folder
        The fit, what was written down, and where.
    repeated
        Of a run whose summary was there already: whether the same weights came out to the last bit.
    """

    fit: Fit
    summary: Summary
    folder: Path
    repeated: bool | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """A configuration whose network is made and whose data are opened and looked at; made by :func:`prepare`."""

    configuration: Configuration
    specification: DistilledNTK
    x: Any
    y: Any
    test_x: Any
    test_y: Any

    def plan(self) -> Plan:
        """What the run will cost; see :meth:`dntk.DistilledNTK.plan`."""
        return self.specification.plan(self.x, self.y, **self._how())

    def run(self) -> Outcome:
        """Fit, look at the points that were held out, and write fit, summary and report.

        Raises
        ------
        FileExistsError
            The folder holds another run or other files.
        OSError, dntk.StoreError, ValueError
            As :meth:`dntk.DistilledNTK.fit`.
        """
        folder, output = self.configuration.destination, self.configuration.output
        earlier = _earlier(folder, self.configuration)
        fit = self.specification.fit(self.x, self.y, **self._how())
        if output["certify"]:
            _ = fit.certificate
        summary = self._summary(fit)
        if earlier is not None:
            _require_same(folder, earlier, summary)
        folder.mkdir(parents=True, exist_ok=True)
        fit.save(folder / FIT)
        write_report(summary, folder / REPORT)
        write_whole(folder / SUMMARY, summary.text().encode())
        repeated = None if earlier is None else earlier.digests["weights"] == summary.digests["weights"]
        return Outcome(fit=fit, summary=summary, folder=folder, repeated=repeated)

    def _how(self) -> dict[str, Any]:
        keep = self.configuration.output["checkpoint"]
        return {
            "checkpoint": self.configuration.destination / "checkpoint" if keep else None,
            "memory_limit": self.configuration.fit.get("memory_limit"),
        }

    def _summary(self, fit: Fit) -> Summary:
        state, model = fit.state, fit.model
        made = state.certificate.is_made and self.configuration.output["certify"]
        spectrum = backend_of(fit.spectrum).to_numpy(fit.spectrum)
        return Summary(
            configuration=self.configuration.tables(),
            digests=self._digests(fit),
            outputs=model.n_outputs,
            parameters=model.n_parameters,
            choices=fit.choices,
            sketch=None if fit.sketch is None else description.described(fit.sketch),
            ridge=fit.ridge,
            losses=fit.losses,
            spectrum=tuple(float(value) for value in spectrum),
            tolerance=fit.tolerance,
            certificate=state.certificate().to_dict() if made else None,
            unseen=None if self.test_x is None else self._unseen(fit),
            ledger=fit.ledger,
            made_by=versions(),
        )

    def _digests(self, fit: Fit) -> dict[str, str]:
        digests = {"network": fingerprint(fit.model), "x": digest_of(self.x), "weights": checksum({"": fit.weights})}
        if self.y is not None:
            digests["y"] = checksum({"": self.y})
        if self.test_x is not None:
            digests["test_x"] = digest_of(self.test_x)
        return digests

    def _unseen(self, fit: Fit) -> dict[str, Any]:
        predicted, outputs = fit.predict(self.test_x), outputs_of(fit.model, self.test_x)
        right: dict[str, float | None] = {"accuracy": None, "network_accuracy": None}
        if self.test_y is not None:
            right["accuracy"] = metrics.accuracy(predicted, self.test_y)
            right["network_accuracy"] = metrics.accuracy(outputs, self.test_y)
        return {"points": batches.count(self.test_x), "fidelity": metrics.fidelity(predicted, outputs), **right}


def prepare(configuration: Configuration) -> Prepared:
    """Make the network and open the data of a configuration; functions that it names are called.

    Raises
    ------
    ValueError, TypeError, OSError, ImportError
        A part, module, function or file that is not there, or not what is expected; the key is named.
    """
    parts = parts_of(configuration.fit)
    network, folder = configuration.network, configuration.folder
    net = _sources.made("network.make", network["make"], folder, network.get("arguments"))
    model = as_model(net, parameters=network.get("parameters"))
    like = next(iter(model.parameters.values()))
    found: dict[str, Any] = {"x": None, "y": None, "test_x": None, "test_y": None}
    for key, named in configuration.data.items():
        where = f"data.{key}"
        if key.endswith("x"):
            found[key] = checked_inputs(model, _sources.points(where, named, folder), where)
        else:
            found[key] = _sources.targets(where, named, folder, like)
    if found["test_y"] is not None:
        if found["test_x"] is None:
            msg = "data.test_y has labels of points that are not there: give data.test_x, too."
            raise ValueError(msg)
        check_labels("data.test_y", found["test_y"], points=batches.count(found["test_x"]))
    return Prepared(configuration=configuration, specification=DistilledNTK(model, **parts), **found)


def _earlier(folder: Path, configuration: Configuration) -> Summary | None:
    """The summary of an earlier run of the same configuration; ``FileExistsError`` for other things there."""
    if not folder.exists():
        return None
    if not folder.is_dir():
        msg = f"output.folder {folder} is a file: name a folder, which is made where it is missing."
        raise FileExistsError(msg)
    others = sorted(entry.name for entry in folder.iterdir() if not _is_ours(entry))
    if others:
        msg = f"output.folder {folder} has files of no run ({', '.join(others[:3])}): name an empty or a new folder."
        raise FileExistsError(msg)
    if not (folder / SUMMARY).exists():
        return None
    earlier = read_summary(folder)
    for table, keys in configuration.tables().items():
        if table != "output" and dict(earlier.configuration.get(table, {})) != keys:
            msg = f"output.folder {folder} holds a run with another [{table}]: name another folder, or remove it."
            raise FileExistsError(msg)
    return earlier


def _is_ours(entry: Path) -> bool:
    """Whether a run or its report writes files of this name."""
    charts = entry.name.startswith("report-") and entry.suffix in (".png", ".csv")
    return entry.name in _FILES or charts or entry.name[0] == "."


def _require_same(folder: Path, earlier: Summary, now: Summary) -> None:
    """``FileExistsError`` where network or data are not those of the run that is there."""
    for name, what in (("network", "network"), ("x", "points"), ("y", "targets"), ("test_x", "held-out points")):
        if earlier.digests.get(name) != now.digests.get(name):
            msg = f"output.folder {folder} holds a run with other {what}: name another folder, or remove it."
            raise FileExistsError(msg)
