"""What distillation saves is a ratio of costs on the same images, and the documentation has no other numbers."""

import csv
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def script(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("savings")


def stage(seconds, rows=0.0, nbytes=0.0):
    return {"jacobian_rows": rows, "flops": 10 * seconds, "nbytes": nbytes, "cpu_seconds": seconds}


def exact(n):
    """Costs that follow the orders of growth: kernels n + n²/100, solves n³/1e6, test images 5n."""
    stages = {
        "kernel": stage(n + n * n / 100, 10 * n, 40 * n * n),
        "solve": stage(n * n / 1e4 + n**3 / 1e6),
        "test": stage(5.0 * n, 10 * n + 5000, 20000 * n),
    }
    return {"side": "exact", "points": n, "fidelity": 0.9, "stages": stages}


def distilled(n):
    return {
        "side": "distilled",
        "points": n,
        "fidelity": 0.95,
        "stages": {"fit": stage(0.01 * n, 1.5 * n, 9.0 * n), "test": stage(50.0)},
    }


def test_both_sides_have_the_same_images_and_the_test_images(script):
    lines = script.table([exact(n) for n in (250, 500, 1000)] + [distilled(n) for n in (10_000, 49_700)])
    for n in (10_000, 49_700):
        (ratio,) = [x for x in lines if x["side"] == "ratio" and x["points"] == n and x["flops"]]
        whole = n + n * n / 100 + n * n / 1e4 + n**3 / 1e6 + 5 * n
        assert float(ratio["cpu_seconds"]) == pytest.approx(whole / (0.01 * n + 50), rel=1e-4)


def test_the_extrapolation_is_tried_on_the_largest_size_that_was_measured(script):
    lines = script.table([exact(n) for n in (250, 500, 1000)])
    tried = {x["stage"]: x for x in lines if x["how"] == "extrapolated from up to 500 points"}
    assert float(tried["kernel"]["cpu_seconds"]) == pytest.approx(1000 + 1e4, rel=1e-4)


def test_the_page_says_what_the_table_has():
    """CPU seconds of the exact side, test images included, at the sizes that were measured."""
    page = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    with (ROOT / "benchmarks" / "results" / "savings.csv").open(encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if line["how"] == "measured" and line["stage"] != "solve"]
    assert lines
    for line in lines:
        assert f"{float(line['cpu_seconds']):.0f} s" in page, line
