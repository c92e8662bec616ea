import io
import subprocess
import sys

import pytest
from rich.console import Console

import dntk
from dntk import cli
from dntk_studies.demo import methods, run
from dntk_studies.demo._report import write_demo_report
from dntk_studies.demo.methods._report import write_methods_report
from dntk_studies.demo.methods.table import tables as tables_of_methods
from dntk_studies.demo.methods.unseen import groupings
from dntk_studies.demo.table import tables, verdict


def _dntk(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "dntk", *arguments], capture_output=True, text=True, **options)


def test_backends_lists_what_is_installed():
    done = _dntk("backends")
    assert done.returncode == 0
    assert "numpy" in done.stdout
    assert "torch" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("demo", "--backend", "abacus"), "no backend is called 'abacus'"),
        (("demo", "--out", "taken"), "is a file: pass a folder"),
        (("demo", "--seed", "-1"), "`seed` must be an integer"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(arguments, message, tmp_path):
    (tmp_path / "taken").write_text("")
    done = _dntk(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_unknown_commands_exit_with_2():
    assert _dntk("frobnicate").returncode == 2


def test_the_version_is_printed(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.app(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"dntk {dntk.__version__}\n"


@pytest.fixture(scope="module")
def demo():
    return run()


@pytest.fixture(scope="module")
def result():
    return methods.run()


@pytest.mark.deep
def test_demo_says_its_verdict_first_and_writes_a_self_contained_report(demo, tmp_path):
    console = Console(width=130, record=True, file=io.StringIO())
    console.print(tables(demo))
    text = " ".join(console.export_text().split())
    assert text.startswith(verdict(demo))
    assert "(extrapolated)" in verdict(demo)
    write_demo_report(demo, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 2
    assert '<th scope="row">predictor</th>' in page  # a line of the certificate is a row
    assert page.index("predictions kept") < page.index("<table")
    assert "<script" not in page
    assert 'src="http' not in page


@pytest.mark.deep
def test_demo_saves_rows_bytes_and_seconds_and_keeps_the_predictions(demo):
    assert demo.points == 9 * 1297
    assert demo.exact.rows == 10 * demo.points
    assert demo.exact.nbytes > 5e9
    assert demo.distilled.rows < demo.exact.rows / 20
    assert demo.distilled.nbytes < demo.exact.nbytes / 30
    assert demo.distilled.seconds < demo.exact.seconds
    assert demo.distilled.fidelity > 0.96
    assert float(demo.certificate.prediction_error) < 0.01 * demo.certificate.target_norm


@pytest.mark.deep
def test_what_the_demo_extrapolates_grows_from_what_it_measured(demo):
    growth = demo.points / demo.measured_points
    assert growth * demo.measured.seconds < demo.exact.seconds < growth**3 * demo.measured.seconds
    assert demo.measured.rows == 10 * demo.measured_points
    assert not demo.measured.extrapolated
    assert demo.exact.extrapolated
    assert demo.exact.accuracy is None


@pytest.mark.deep
def test_methods_are_printed_and_written_as_a_self_contained_report(result, tmp_path):
    console = Console(width=130, record=True, file=io.StringIO())
    console.print(tables_of_methods(result))
    text = console.export_text()
    for word in ("LocalGlobal", "Principal", "Solution", "Jacobian rows", "exact kernel", "unseen labels"):
        assert word in text
    write_methods_report(result, tmp_path / "methods.html")
    page = (tmp_path / "methods.html").read_text()
    assert page.count("<svg") == 3
    assert "<script" not in page
    assert 'src="http' not in page


@pytest.mark.deep
def test_methods_keep_full_fidelity_at_five_label_aware_gradients(result):
    rows = {(row.method, row.gradients): row for row in result.rows}
    full = next(row for row in result.rows if row.method.startswith("coreset"))
    solution = rows["Solution", 5]
    assert solution.fidelity >= 0.99 * full.fidelity
    # The paper's algorithm at the same size, and its own promise that unseen labels tell compression apart.
    assert rows["LocalGlobal (paper's solve)", 5].fidelity < 0.9
    assert solution.unseen < full.unseen - 0.1


@pytest.mark.deep
def test_methods_are_reported_at_every_size_and_each_method_improves_with_it(result):
    for method in ("LocalGlobal, same span", "Principal", "Solution"):
        residuals = [row.trace_residual for row in result.rows if row.method == method]
        assert len(residuals) == len(methods.SIZES)
        assert residuals == sorted(residuals, reverse=True)


@pytest.mark.deep
def test_same_span_is_no_worse_than_the_papers_solve_among_the_methods(result):
    paper = [row.mse for row in result.rows if row.method == "LocalGlobal (paper's solve)"]
    span = [row.mse for row in result.rows if row.method == "LocalGlobal, same span"]
    assert sum(span) < sum(paper)


@pytest.mark.deep
def test_ledger_of_the_methods_counts_fewer_jacobian_rows_than_the_exact_kernel(result):
    assert result.ledger.total().jacobian_rows == 1000 + 10 * 500
    assert result.exact.jacobian_rows == 10 * 1000


def test_unseen_groupings_are_ten_different_halves():
    assert len({frozenset(half) for half in groupings()}) == 10
    assert all(len(half) == 5 and 0 not in half for half in groupings())
