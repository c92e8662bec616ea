"""The demo's verdict and table for a terminal."""

from rich.console import Group
from rich.table import Table
from rich.text import Text

from dntk_studies.demo.result import Demo, Line

COLUMNS = ("", "Jacobian rows", "MB kept", "seconds", "accuracy", "same class as the network")


def verdict(demo: Demo) -> str:
    """What was kept of the network and what it cost, in one sentence; what is extrapolated says so."""
    rows, seconds = demo.exact.rows / demo.distilled.rows, demo.exact.seconds / demo.distilled.seconds
    return (
        f"{demo.points:,} images → {demo.kept} → {demo.gradients} gradients: {demo.distilled.fidelity:.1%} of the "
        f"network's predictions kept, 1/{rows:.0f} of the exact kernel's rows, 1/{seconds:.0f} of its seconds "
        f"(extrapolated); certified"
    )


def statement(demo: Demo) -> str:
    """What the certificate says of the predictor and of what was not kept."""
    error, dropped = demo.certificate.prediction_error, demo.certificate.dropped_residual
    assert error is not None
    assert dropped is not None
    share = float(error) / demo.certificate.target_norm if demo.certificate.target_norm else 0.0
    return (
        f"With probability {demo.certificate.confidence:.6g}: predictions at the {demo.kept} images are within "
        f"{share:.1e} (root mean square, relative) of the regression on all their gradients; of the tangent vectors of "
        f"images that were not kept, {float(dropped.lower[0]):.0%} to {float(dropped.upper[0]):.0%} lies outside the "
        f"span that was kept."
    )


def lines(demo: Demo) -> list[tuple[str, ...]]:
    """Rows of the table as text."""
    network = ("the network itself", "–", "–", "–", f"{demo.network_accuracy:.3f}", "1.000")
    distilled = f"distilled: {demo.kept} → {demo.gradients}"
    rest = [demo.exact, demo.measured, demo.distilled, *demo.others]
    names = [demo.exact.method, demo.measured.method, distilled, *(other.method for other in demo.others)]
    return [network, *((name, *_cells(line)) for name, line in zip(names, rest, strict=True))]


def _cells(line: Line) -> tuple[str, ...]:
    mark = "≈ " if line.extrapolated else ""
    scores = ("–" if value is None else f"{value:.3f}" for value in (line.accuracy, line.fidelity))
    return (f"{line.rows:,}", f"{line.nbytes / 1e6:,.0f}", f"{mark}{line.seconds:,.1f}", *scores)


def note(demo: Demo) -> str:
    """How the exact kernel's price was found, and what the seconds hold."""
    return (
        f"≈ extrapolated from {demo.measured_points:,} of the images: kernels grow with the square, factorisations "
        f"with the cube of their number. Seconds go from the network to predictions of {demo.test_points} test images; "
        f"the certificate took {demo.certifying:.1f} more, and the exact route is given the ridge for nothing. Rows of "
        f"what is distilled: {demo.outputs} for each point that was kept, and those that chose and checked them."
    )


def tables(demo: Demo) -> Group:
    """Verdict, what is certified, the table, and a note on the numbers."""
    table = Table()
    for position, name in enumerate(COLUMNS):
        table.add_column(name, no_wrap=not position, justify="right" if position else "left")
    for row in lines(demo):
        table.add_row(*row)
    setting = (
        f"scikit-learn's MLPClassifier of {demo.parameters:,} parameters, trained on the digits and their shifts by "
        f"one pixel; {demo.outputs} classes; all defaults but the number of gradients; {demo.backend}"
    )
    return Group(Text(verdict(demo), style="bold"), Text(statement(demo)), table, Text(note(demo)), Text(setting))
