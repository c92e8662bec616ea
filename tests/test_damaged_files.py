"""A sample of what benchmarks/damaged_files.py does with 100,000 files."""

import importlib
import signal
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="hangs are ended by an alarm, which this system has not")
def test_damaged_files_give_the_librarys_error_or_the_identical_result(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    with np.errstate(all="ignore"):
        counts, faults = importlib.import_module("damaged_files").counted(400, seed=5)
    assert not faults
    assert sum(counts.values()) == 400
    assert {outcome for _, how, outcome in counts if how == "damaged"} == {"error", "identical"}
