"""The public names, their documentation, and what the core may not import."""

import ast
import importlib
import pathlib

import pytest

import dntk

ROOT = pathlib.Path(dntk.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
NAMES = [
    "Bound",
    "Certificate",
    "MLP",
    "DistilledGradients",
    "DistilledNTK",
    "Ledger",
    "Model",
    "NTKOperator",
    "NotFittedError",
    "StoreError",
    "TangentFeatures",
    "as_model",
    "backends",
    "bridge",
    "certificates.span_certificate",
    "certify",
    "checking",
    "distill.data.Augmentation",
    "distill.data.Balanced",
    "distill.data.DistilledData",
    "distill.data.FarthestPoint",
    "distill.data.FreeSupport",
    "distill.data.Herding",
    "distill.data.KMeans",
    "distill.data.Leverage",
    "distill.data.RPCholesky",
    "distill.data.Random",
    "distill.gradients.Krylov",
    "distill.data.KernelInducing",
    "distill.data.Platt",
    "distill.data.SquaredError",
    "distill.data.TangentResidual",
    "distill.data.Wasserstein",
    "distill.data.WeightedSupport",
    "distill.gradients.LocalGlobal",
    "distill.gradients.LocalGlobalSearch",
    "distill.gradients.Principal",
    "distill.gradients.Solution",
    "distill.gradients.Streaming",
    "distill.gradients.coverage_curve",
    "distill.gradients.coverage_gaps",
    "distill.gradients.low_rank",
    "load",
    "metrics.accuracy",
    "metrics.fidelity",
    "metrics.mean_squared_error",
    "ntk",
    "outputs.Labelled",
    "outputs.TransformedModel",
    "outputs.labelled",
    "outputs.log_softmax",
    "outputs.loss",
    "outputs.margin",
    "sketch.Gaussian",
    "sketch.SparseSign",
    "solve.FeatureKernel",
    "solve.FeatureProjection",
    "solve.GaussianProcess",
    "solve.GeneralisedCrossValidation",
    "solve.IterativeFit",
    "solve.Jitter",
    "solve.KFold",
    "solve.LeaveOneOut",
    "solve.MarginalLikelihood",
    "solve.MatrixKernel",
    "solve.NormalEquations",
    "solve.NormalSpectrum",
    "solve.PerOutput",
    "solve.Posterior",
    "solve.RPCholeskyPreconditioner",
    "solve.RandomizedNystrom",
    "solve.RidgePath",
    "solve.ShiftedCholesky",
    "solve.SolveReport",
    "solve.StreamedFit",
    "solve.StreamedGCV",
    "solve.accumulate",
    "solve.expected_calibration_error",
    "solve.gaussian_process",
    "solve.interval_coverage",
    "solve.iterative_ridge",
    "solve.negative_log_likelihood",
    "solve.nystrom",
    "solve.ridge",
    "solve.ridge_out_of_core",
    "solve.ridge_path",
    "solve.solve_statistics",
    "solve.zarr_chunks",
    "spectrum.alignment",
    "spectrum.coverage_gap",
    "spectrum.effective_dimension",
    "spectrum.eigenvalues",
    "spectrum.truncation_rank",
    "tangent_features",
    "targets.one_hot",
]
FORBIDDEN_IMPORTS = {"torch", "jax", "jaxlib", "cupy", "flax", "equinox", "autograd", "pickle", "dill", "joblib"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


def relative(path):
    return str(path.relative_to(ROOT))


def documented(tree):
    """(name, docstring) of a module and of every public function, class and method in it."""
    yield "module", ast.get_docstring(tree)
    yield from _documented_in(tree, "")


def _documented_in(parent, prefix):
    for node in parent.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield prefix + node.name, ast.get_docstring(node)
            if isinstance(node, ast.ClassDef):
                yield from _documented_in(node, f"{prefix}{node.name}.")


def forbidden(tree):
    """Imports of frameworks or of pickles anywhere, and calls that run text."""
    found = []
    for node in ast.walk(tree):
        roots = []
        if isinstance(node, ast.Import):
            roots = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            roots = [(node.module or "").partition(".")[0]]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found += [node.func.id] if node.func.id in FORBIDDEN_CALLS else []
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            found += _forbidden_attribute(node)
        found += [root for root in roots if root in FORBIDDEN_IMPORTS or root.startswith("dntk_")]
    return found


def _forbidden_attribute(call):
    """Literal imports through importlib, and NumPy's way to load pickles."""
    if call.func.attr == "import_module" and call.args and isinstance(call.args[0], ast.Constant):
        return [call.args[0].value] if call.args[0].value in FORBIDDEN_IMPORTS else []
    return [k.arg for k in call.keywords if k.arg == "allow_pickle" and not _is_false(k.value)]


def _is_false(node):
    return isinstance(node, ast.Constant) and node.value is False


@pytest.mark.parametrize("name", NAMES)
def test_public_name_exists_and_is_documented(name):
    value = dntk
    for part in name.split("."):
        value = getattr(value, part)
    assert callable(value)
    assert value.__doc__
    assert len(value.__doc__.split()) >= 3


@pytest.mark.parametrize("name", [name for name in NAMES if "." not in name])
def test_top_level_names_are_re_exported_for_type_checkers(name):
    """``from m import X as X`` says so."""
    tree = ast.parse((ROOT / "__init__.py").read_text())
    exported = {a.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for a in node.names}
    assert name in exported


def test_top_level_has_no_other_public_names():
    modules = {"metrics", "outputs", "targets", "distill", "sketch", "solve", "spectrum"}
    tree = ast.parse((ROOT / "__init__.py").read_text())
    exported = {a.asname or a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}
    assert {name for name in exported if not name.startswith("_")} == modules | {n for n in NAMES if "." not in n}


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_everything_public_has_a_docstring(path):
    missing = [name for name, text in documented(ast.parse(path.read_text())) if not text]
    assert not missing


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_core_imports_no_framework_no_backend_and_runs_no_text(path):
    assert not forbidden(ast.parse(path.read_text()))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import torch", ["torch"]),
        ("def f():\n    from jax.numpy import ones", ["jax"]),
        ("import pickle as p", ["pickle"]),
        ("eval('1')", ["eval"]),
        ("import numpy\nnumpy.load('f', allow_pickle=True)", ["allow_pickle"]),
        ("import importlib\nimportlib.import_module('cupy')", ["cupy"]),
        ("from dntk_torch import backend", ["dntk_torch"]),
        ("import re\nre.compile('a')\nimport numpy\nnumpy.load('f', allow_pickle=False)", []),
    ],
)
def test_the_search_for_forbidden_code_finds_it(source, expected):
    assert forbidden(ast.parse(source)) == expected


def test_the_search_for_docstrings_finds_their_absence():
    source = '"""Module."""\nclass A:\n    """A."""\n    def f(self): ...\n    def _g(self): ...\ndef h(): ...'
    assert [name for name, text in documented(ast.parse(source)) if not text] == ["A.f", "h"]


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_every_module_can_be_imported(path):
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    if name.startswith("dntk.report"):
        pytest.importorskip("matplotlib")
    importlib.import_module(name)
