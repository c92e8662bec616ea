"""What fits and regressions take at most, measured."""

import subprocess
import sys
import textwrap
import tracemalloc

import numpy as np
import pytest

import dntk
from dntk.solve import GeneralisedCrossValidation, KFold, normal_equations, problem, ridge, ridge_path

_FIT = """
    import pathlib
    import numpy as np
    import dntk

    def peak():  # of this program alone: ru_maxrss begins at that of the process that started it
        told = pathlib.Path("/proc/self/status").read_text()
        return 1024 * next(int(line.split()[1]) for line in told.splitlines() if line.startswith("VmHWM"))

    rng, sizes = np.random.default_rng(0), (64, 128, 10)
    shapes = list(zip(sizes[1:], sizes))
    model = dntk.MLP(
        weights=tuple(rng.standard_normal(shape).astype("f4") / shape[1] ** 0.5 for shape in shapes),
        biases=tuple(np.zeros(rows, "f4") for rows, _ in shapes),
        activation="tanh",
    )
    x = rng.standard_normal(({n}, 64)).astype("f4")
    before = peak()
    fit = dntk.DistilledNTK(model).fit(x)
    fit.predict(x)
    print(peak() - before, model.n_parameters, fit.losses.kept_points)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read as Linux tells it")
def test_a_fit_by_defaults_takes_no_more_for_more_points():
    taken = []
    for n in (2_000, 8_000):
        code = textwrap.dedent(_FIT).replace("{n}", str(n))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        peak, parameters, kept = (int(part) for part in done.stdout.split())
        assert kept == 500
        assert 4 * parameters < peak < 2**31
        taken.append(peak)
    # What grows with n: its inputs, targets and outputs of a few layers, at most 2,000 bytes a point; whole features
    # of the 6,000 points more would be 10 · 2,048 · 4 bytes each, 469 MiB together.
    assert taken[1] - taken[0] < 6_000 * 2_000 + 2**25


# Four sets of features in float32: more points than features, and as many features as points.
CASES = {"primal": (8_000, 256), "dual": (300, 6_000)}


def features(n, k):
    """Features and targets of four outputs."""
    rng = np.random.default_rng(0)
    return dntk.TangentFeatures(rng.standard_normal((4, n, k)).astype("f4")), rng.standard_normal((n, 4)).astype("f4")


def peak_of(work):
    """The most that was allocated at once."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", CASES.values(), ids=CASES)
@pytest.mark.parametrize("rule", [0.1, "loo", GeneralisedCrossValidation(), KFold(), "path"], ids=str)
def test_a_regression_never_holds_all_its_features_in_float64(rule, shape, monkeypatch):
    if isinstance(rule, KFold) and shape == CASES["dual"]:
        pytest.skip("folds of fewer points than features are copied for each fold")
    monkeypatch.setattr(normal_equations, "ENTRIES", 2**18)
    monkeypatch.setattr(problem, "_ENTRIES", 2**18)
    phi, y = features(*shape)
    narrow, side = phi.values.nbytes, min(shape)
    # Blocks of 2 MiB and what is made of them, few matrices of the system, and numbers of the points. Folds copy
    # the features in their own type.
    some = 8 * 2**21 + 8 * 4 * (8 * side**2 + 8 * max(shape))
    work = (lambda: ridge_path(phi, y, [0.1, 1.0])) if rule == "path" else (lambda: ridge(phi, y, ridge=rule).loo_error)
    assert peak_of(work) < some + (narrow if isinstance(rule, KFold) else 0)
