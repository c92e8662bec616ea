"""What ``import dntk`` loads: no framework, and nothing that only some features need."""

import os
import subprocess
import sys

import pytest

HEAVY = (
    *("hypothesis", "torch", "jax", "jaxlib", "cupy", "matplotlib", "flax", "equinox", "pandas"),
    *("scipy", "sklearn", "beartype", "safetensors", "typer"),
)


def loaded_by(program):
    """Those of the heavy packages that a fresh interpreter has after running ``program``."""
    probe = f"{program}\nimport sys\nprint(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    environment = {**os.environ, "DNTK_CHECK": "0"}  # jaxtyping itself loads JAX where it is installed
    done = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_dntk_loads_no_framework():
    assert loaded_by("import dntk") == set()


def test_importing_dntk_loads_not_even_numpy_and_few_modules_of_its_own():
    program = """
import sys
before = set(sys.modules)
import dntk
new = set(sys.modules) - before
assert "numpy" not in new and {m for m in new if m.startswith("dntk")} == {"dntk", "dntk._checking"}, new
"""
    assert loaded_by(program) == set()


def test_every_room_of_the_core_loads_without_scipy_and_scikit_learn():
    program = """
import dntk
for name in dntk.__all__:
    if dntk._HOME.get(name) != "sklearn":
        getattr(dntk, name)
"""
    assert loaded_by(program) == set()


def test_estimators_load_scikit_learn_and_no_framework():
    assert loaded_by("import dntk\ndntk.DistilledNTKClassifier") == {"scipy", "sklearn"}


def test_names_are_found_where_they_live_and_others_are_refused():
    program = """
import sys
import dntk
assert dntk.solve is sys.modules["dntk.solve"] and dntk.backend.backend_of and dntk.Fit is dntk.estimator.Fit
assert set(dntk.__all__) <= set(dir(dntk))
for name in ("nothing", "_nothing", "_checks_"):
    try:
        getattr(dntk, name)
    except AttributeError as error:
        assert str(error) == f"module 'dntk' has no attribute {name!r}", error
    else:
        raise AssertionError(name)
"""
    assert loaded_by(program) == set()


@pytest.mark.parametrize("package", ["sklearn", "jax"])
def test_the_probe_sees_a_framework_that_was_loaded(package):
    pytest.importorskip(package)
    assert package in loaded_by(f"import dntk, {package}")


def test_kernels_and_features_of_numpy_arrays_load_no_framework():
    program = """
import numpy, dntk
net = dntk.MLP(weights=(numpy.eye(2),), biases=(None,))
dntk.ntk(net, numpy.ones((2, 2)))
dntk.tangent_features(net, numpy.ones((2, 2)), sketch=dntk.sketch.SparseSign(8))
"""
    assert loaded_by(program) <= {"scipy"}


def test_entry_points_of_backends_load_no_framework():
    assert loaded_by("from dntk.backend import entries\nassert len(entries()) >= 3") == set()


def test_the_testing_package_is_loaded_only_when_asked_for():
    pytest.importorskip("hypothesis")
    assert loaded_by("import dntk, sys\nassert 'dntk.testing' not in sys.modules") == set()
    assert "hypothesis" in loaded_by("import dntk.testing")


def test_the_testing_package_says_how_to_get_hypothesis():
    program = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "hypothesis" else find(name, *rest)
try:
    import dntk.testing
except ImportError as error:
    assert 'pip install "dntk[testing]"' in str(error), error
else:
    raise AssertionError("it was imported")
"""
    assert "hypothesis" not in loaded_by(program)
