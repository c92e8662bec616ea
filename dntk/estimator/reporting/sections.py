"""The sections of a page, each from plain values; what is missing says which call would give it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from dntk.estimator.losses import Losses
from dntk.estimator.reporting.facts import Facts, Influence, Unseen
from dntk.report.charts import (
    Chart,
    coverage_chart,
    fidelity_chart,
    reliability_chart,
    spectrum_chart,
    trust_chart,
)
from dntk.report.page import Markup, beside, cards, cost_cells, note, paragraph, picture, pictured, table

CERTIFICATE_ERRORS = {
    "trace_error": ("trace error of the kernel", "trace"),
    "spectral_error": ("spectral error of the kernel", "largest"),
    "frobenius_error": ("Frobenius error of the kernel", ""),
    "misalignment_gap": ("what a better span of this size would keep", "trace"),
    "unsketched_trace_error": ("trace error with the sketch's", "trace"),
    "prediction_error": ("root mean square distance to the exact regression", "target_norm"),
    "energy_error": ("excess of the regression's objective", ""),
}
"""Bounds of a certificate, in words, and what they are set against."""


def verdict(facts: Facts) -> list[str]:
    """What came out: one sentence, and the numbers that matter."""
    losses, total, unseen = facts.losses, facts.ledger.total(), facts.unseen
    if unseen is None:
        kept = (f"{losses.fidelity:.1%}", f"of the network's classes kept, on {losses.kept_points:,} points of the fit")
    else:
        kept = (f"{unseen.fidelity:.1%}", f"of the network's classes kept, on {unseen.points:,} held-out points")
    exact = losses.points * facts.outputs
    share = exact / total.jacobian_rows if total.jacobian_rows else float("inf")
    entries = [
        kept,
        (f"{total.jacobian_rows:,}", f"Jacobian rows; the exact kernels take {exact:,}, {share:.3g} times as many"),
        (f"{total.seconds:.1f} s", f"for {losses.points:,} points and {facts.parameters:,} parameters"),
        _certified(facts),
    ]
    parts = [paragraph(facts.verdict, lead=True), cards(entries)]
    if unseen is None:
        parts.append(note("In sample: points that were held out tell more.", facts.missing.get("unseen", "")))
    return [*parts, *(paragraph(choice) for choice in facts.choices)]


def _certified(facts: Facts) -> tuple[str, str]:
    certificate = facts.certificate
    if certificate is None:
        return ("not certified", "what was lost is measured, but no theorem bounds it")
    lost = float(_largest(certificate["trace_error"]["value"])) / (certificate["trace"] or 1.0)
    return (f"≤ {lost:.2%}", f"of the kernel's trace lost, certified with probability {certificate['confidence']:.6g}")


def spectrum(facts: Facts) -> tuple[list[str], list[Chart]]:
    """Eigenvalues with their intervals."""
    found = [] if facts.certificate is None else _pairs(facts.certificate["eigenvalue_intervals"])
    parts = [paragraph(f"Ridge λ = {facts.ridge:.4g}; condition number with it {facts.losses.condition_number:.3g}.")]
    if not found:
        parts.append(note("No intervals: they are part of the certificate."))
    return parts, [spectrum_chart(facts.spectrum, found[: len(facts.spectrum)], facts.losses.truncation_rank)]


def _pairs(intervals: Mapping[str, Any]) -> list[tuple[float, float]]:
    return list(zip(intervals["lower"], intervals["upper"], strict=True))


def lost(facts: Facts) -> tuple[list[str], list[Chart]]:
    """What every stage lost as it was measured, and how much of the leading eigenvalues the span keeps."""
    parts = [table(("quantity", "value"), _measured(facts.losses), "Measured while fitting")]
    if facts.tolerance is not None:
        parts.append(paragraph(f"Tolerance {facts.tolerance}."))
    if facts.coverage:
        return parts, [coverage_chart(facts.coverage)]
    return [*parts, note("Coverage of single eigenvalues was not computed.", facts.missing.get("points", ""))], []


def _measured(losses: Losses) -> list[tuple[str, str]]:
    """Losses by name; whether outputs were one regression is said of the gradients, and fidelity is in sample."""
    each = "for all outputs" if losses.together else "per output"
    words = {
        "gradients": f"gradients {each}",
        "fidelity": "fidelity at the kept points",
        "loo error": "leave-one-out error",
    }
    found = {name.replace("_", " "): value for name, value in dataclasses.asdict(losses).items() if name != "together"}
    return [(words.get(name, name), f"{value:,.5g}") for name, value in found.items()]


def certificate(facts: Facts) -> list[str]:
    """Every bound with its theorem."""
    found = facts.certificate
    if found is None:
        return [note(*facts.uncertified)]
    rows = [_bound(found, key, *words) for key, words in CERTIFICATE_ERRORS.items() if found.get(key) is not None]
    if found.get("dropped_residual") is not None:
        rows.append(_dropped(found["dropped_residual"]))
    stages = [(s["stage"], f"{s['error']:.3%}", s["measure"], s["theorem"], s["kind"]) for s in found["stages"]]
    said = f"All hold together with probability {found['confidence']:.6g}, at {found['points']:,} points"
    return [
        table(("statement", "at most", "as a share", "holds", "by"), rows, said, words=True),
        table(("stage", "error", "of what", "theorem", "kind"), stages, "What each stage lost", words=True),
    ]


def _bound(found: Mapping[str, Any], key: str, words: str, against: str) -> tuple[str, str, str, str, str]:
    bound = found[key]
    value, whole = _largest(bound["value"]), found.get(against) if against else None
    share = f"{value / whole:.3%}" if whole else "–"
    holds = "always" if bound["kind"] == "deterministic" else f"{bound['kind']}, {bound['confidence']:.6g}"
    return (words, f"{value:.4g}", share, holds, bound["theorem"])


def _dropped(interval: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    low, high = interval["lower"][0], interval["upper"][0]
    return (
        "mean tangent residual of points that were not kept",
        f"{high:.4g}",
        f"{low:.2%} to {high:.2%}",
        f"{interval['kind']}, {interval['confidence']:.6g}",
        interval["theorem"],
    )


def _largest(value: Any) -> float:
    return max(map(_largest, value)) if isinstance(value, list) else float(value)


def unseen(facts: Facts) -> tuple[list[str], list[Chart]]:
    """What was measured on held-out points."""
    found = facts.unseen
    if found is None:
        return [note("No points were held out.", facts.missing.get("unseen", ""))], []
    parts, charts = [table(("measure", "value"), _shares(found), f"On {found.points:,} held-out points")], []
    if found.curve:
        charts.append(fidelity_chart(found.curve))
        parts.append(
            paragraph(
                "The curve uses the part of this fit along its leading directions; a fit with fewer gradients chooses "
                "its own and may do better."
            )
        )
    else:
        parts.append(note("No fidelity curve and no trust: both need features.", facts.missing.get("features", "")))
    if found.trust:
        charts.append(trust_chart(found.trust))
    if found.reliability is not None:
        charts.append(reliability_chart(found.reliability.bins))
        parts.append(
            paragraph(
                f"Probabilities by {found.reliability.link}; held-out points and Fit.calibrated_link give a link whose "
                "scale and temperature fit."
            )
        )
    else:
        lacking = "labels" if found.accuracy is None else "features"  # a summary has the accuracy, not the features
        parts.append(note(f"No reliability: it needs {lacking}.", facts.missing.get("labels", "")))
    return parts, charts


def _shares(found: Unseen) -> list[tuple[str, str]]:
    shares = {
        "fidelity": found.fidelity,
        "accuracy": found.accuracy,
        "network accuracy": found.network_accuracy,
        "distance to the network's outputs, relative": found.distance,
        "mean tangent residual": found.mean_trust,
        "largest tangent residual": found.worst_trust,
    }
    rows = [(name, f"{value:.2%}") for name, value in shares.items() if value is not None]
    if found.reliability is not None:
        rows.append(("expected calibration error", f"{found.reliability.calibration_error:.4g}"))
        rows.append(("negative log-likelihood", f"{found.reliability.negative_log_likelihood:.4g}"))
    return rows


def costs(facts: Facts) -> list[str]:
    """The ledger by stages, beside the exact kernel."""
    total, losses = facts.ledger.total(), facts.losses
    rows = [cost_cells(cost) for cost in (*facts.ledger.stages, total)]
    exact: tuple[str, ...] = ("exact kernels, of every output", f"{losses.points * facts.outputs:,}", "–", "–", "–")
    if facts.exact is not None:
        exact = ("exact kernel, foreseen", *cost_cells(facts.exact)[1:])
    header = ("stage", "Jacobian rows", "GFLOP", "MB kept", "seconds")
    parts = [table(header, [*rows, exact], "The ledger: what was counted and timed, and the exact kernel's")]
    if facts.exact is None:
        said = "Operations and seconds of the exact kernel were not foreseen."
        parts.append(note(said, facts.missing.get("plan", "")))
    return parts


def images(facts: Facts) -> list[str]:
    """Inputs that were kept or made."""
    if not facts.pictures:
        return [note("No pictures: inputs are not known to be images.", facts.missing.get("images", ""))]
    return [pictured(_picture(address, caption, 640), caption) for caption, address in facts.pictures]


def influence(facts: Facts) -> list[str]:
    """Which points hold predictions up."""
    if not facts.influence:
        return [note("No queries were explained.", facts.missing.get("influence", ""))]
    parts = [
        paragraph(
            "Contributions of all kept points add up to the prediction for its class. The change is by how much the "
            "prediction would fall if the point were left out of the regression, exactly and in the span that was kept."
        )
    ]
    return [*parts, *(_explained(facts, found) for found in facts.influence)]


def _explained(facts: Facts, found: Influence) -> str:
    agree = "as the network" if found.predicted == found.network else f"the network says {facts.name_of(found.network)}"
    said = (
        f"Predicted {facts.name_of(found.predicted)} with output {found.output:.4g}, {agree}; {found.trust:.1%} of its "
        "gradient lies outside what was kept."
    )
    title, head = f"Held-out point {found.query}", ["point", "class", "contribution", "change"]
    rows = [
        [f"{point.position}", facts.name_of(point.label), f"{point.contribution:+.4g}", f"{point.change:+.3g}"]
        for point in found.points
    ]
    shown = []
    if found.picture:
        head.append("picture")
        rows = [
            [*row, _picture(point.picture, f"Point {point.position} of the fit", 40)]
            for row, point in zip(rows, found.points, strict=True)
        ]
        shown = [pictured(_picture(found.picture, title, 128), title)]
    numbers = table(head, rows, f"Points that contribute most to held-out point {found.query}")
    return beside(title, [*shown, paragraph(said)], numbers)


def _picture(address: str, label: str, width: int) -> Markup:
    return picture(address, label, width=width)


def provenance(facts: Facts) -> list[str]:
    """Where all of it comes from."""
    return [table(("what", "value"), facts.provenance, "Enough to make it again", words=True)]


def drawn(parts: list[str], charts: Sequence[Chart], *, plots: bool) -> list[str]:
    """Charts before the text that explains them."""
    return [*(chart.html(drawn=plots) for chart in charts), *parts]
