"""The report of the methods."""

from pathlib import Path

from dntk.report.page import cost_cells, figure, heading, paragraph, table, write_page
from dntk.report.plots import coverage_plot, fidelity_plot, spectrum_plot
from dntk_studies.demo.methods.result import MethodsResult
from dntk_studies.demo.methods.table import cells

_COLUMNS = ("method", "gradients", "compression", "accuracy", "fidelity", "MSE", "trace residual", "unseen labels")


def write_methods_report(result: MethodsResult, path: str | Path) -> None:
    """Write ``result`` as one self-contained HTML page."""
    reference = next(row.fidelity for row in result.rows if row.method.startswith("coreset"))
    costs = [*result.ledger.stages, result.ledger.total(), result.exact]
    parts = [
        paragraph(
            f"A scikit-learn network with {result.parameters:,} parameters, trained on {result.points} handwritten "
            f"digits; {result.coreset} of them kept as a coreset, tangent features by {result.sketch}, ridge "
            f"{result.ridge:.3g} by exact leave-one-out; backend {result.backend}; {result.seconds:.0f} seconds."
        ),
        heading("What each method keeps"),
        table(_COLUMNS, [cells(row) for row in result.rows]),
        paragraph(
            "All columns but the trace residual are measured on test points. The trace residual is the share of the "
            "coreset kernel that the span of the synthetic gradients loses; unseen labels are ten groupings of the "
            "digits that no stage was shown: prediction of the network alone does not measure compression. The "
            "configuration of LocalGlobal was chosen on validation points: "
            + "; ".join(f"{size}: {choice}" for size, choice in result.choices.items())
            + "."
        ),
        figure(fidelity_plot(_fidelity(result), reference), "Fidelity to the network."),
        heading("The kernel"),
        figure(
            spectrum_plot(result.spectrum, result.truncation_rank),
            f"Spectrum of the coreset's mean kernel; condition number with ridge {result.condition_number:.3g}.",
        ),
        figure(coverage_plot(result.coverage), "Coverage of its leading eigenvectors by LocalGlobal's directions."),
        heading("What it cost"),
        table(("stage", "Jacobian rows", "GFLOP", "MB kept", "seconds"), [cost_cells(cost) for cost in costs]),
        paragraph(
            "Operations are counted from the sizes of the products that ran. The last line is exact kernel regression "
            "on all training points, whose ten kernels were evaluated layer by layer, not from a Jacobian."
        ),
    ]
    write_page(path, "dntk: digits, distilled", parts)


def _fidelity(result: MethodsResult) -> dict[str, tuple[list[int], list[float]]]:
    curves: dict[str, tuple[list[int], list[float]]] = {}
    for row in result.rows:
        if row.gradients is not None and row.compression is not None and row.compression > 1:
            sizes, values = curves.setdefault(row.method, ([], []))
            sizes.append(row.gradients)
            values.append(row.fidelity)
    return curves
