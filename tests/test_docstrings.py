"""Examples in docstrings run, and everything that a user calls has one."""

import doctest
import importlib
import importlib.util
import inspect
import pathlib
import pkgutil
import re

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import dntk
from tests.public_names import PUBLIC

# Examples show what users have: no run-time checks.
pytestmark = pytest.mark.usefixtures("unchecked")

DOCS = pathlib.Path(__file__).parent.parent / "docs"
OPTIONS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
IMPORTED = re.compile(r"^(?:import|from) (\w+)", re.MULTILINE)
NEEDS = {"store=": "zarr", "dntk.annotat": "pyarrow", "dntk.testing.": "hypothesis"}

# Of these rooms all public names have an example, but for what is returned or raised and never made by a user,
# protocols, kinds of argument, and what the room's own functions are made of.
WITHOUT = {
    "dntk": """
        Bound Certificate DistilledGradients Ledger Model ProgressEvent StoreError StoredShard Trajectory attribution
        distill metrics outputs plan probabilities sketch solve spectrum targets
    """,
    "dntk.attribution": "AttributionFit Explanation Functional LeftOut Ranking Smoother",
    "dntk.certificates": """
        Bound Certificate DroppedPoints FittedPredictor Intervals Kind Span SpanCertificate StageError Threshold
        TraceEstimate certified_trace_loss distilled_eigenvalues eigenvalues_above eigenvalues_from_trace energy_error
        exact_eigenvalues excess_objective in_sample_error leading_eigenvalues pointwise sketch_gains
        sketched_singular_values total_distance with_unsketched
    """,
    "dntk.distill.data": """
        Augmentation DataDistiller DataSelector DistilledData FittedTargets FreeSupport GivenPoints InputSelector
        Platt Provenance Selection SquaredError Wasserstein WeightedSupport
    """,
    "dntk.distill.gradients": """
        CoverageCurve CoverageGaps GradientDistiller LocalGlobalChoice LocalGlobalDiagnosis LocalGlobalTrial LowRank
        StreamedFit StreamedGradients
    """,
    "dntk.metrics": "",
    "dntk.outputs": "FeatureOutputs KernelOutputs Labelled SequenceModel TransformedModel",
    "dntk.plan": "Plan PlannedStage",
    "dntk.probabilities": "Link",
    "dntk.random": "WORDS_PER_COUNTER drawing_dtype integers_of moved nearby_signs nearby_words signs_of",
    "dntk.sketch": """
        Interval LayerPlan Layout LayoutSketch ParameterMatrix Sketch SketchDiagnosis SketchError SketchPlan layout_of
        sketch_block sketch_blocks
    """,
    "dntk.sklearn": "",
    "dntk.solve": """
        CGResult FeatureProjection GaussianProcess IterativeFit JointFit KernelOperator KernelRidgeFit NormalEquations
        NormalSpectrum Posterior Preconditioner Regression RidgeChoice RidgeFit RidgePath ShiftedCholesky SolveReport
        StreamedFit
    """,
    "dntk.spectrum": "",
    "dntk.targets": "",
    "dntk.testing": """
        CheckFailure Destination FeatureCase Network Place SPECTRA build_features host host64 models singular_values
        spectra tangent_features
    """,
}


def _modules():
    """Every module of dntk, and the backends whose framework is always there."""
    for root in ("dntk", "dntk_numpy"):
        package = importlib.import_module(root)
        yield root
        yield from (found.name for found in pkgutil.walk_packages(package.__path__, root + "."))


def _examples():
    """Docstrings with examples, by the name of what they belong to."""
    finder = doctest.DocTestFinder(exclude_empty=True, recurse=True)
    found = {}
    for name in _modules():
        if name.endswith("__main__"):
            continue
        for case in finder.find(importlib.import_module(name), name, globs={}):
            if case.examples:
                found[case.name] = case
    return found


EXAMPLES = _examples()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_of_a_docstring_runs_and_says_what_stands_there(name, tmp_path, monkeypatch):
    case = EXAMPLES[name]
    code = "".join(example.source for example in case.examples)
    for module in [*IMPORTED.findall(code), *(module for word, module in NEEDS.items() if word in code)]:
        pytest.importorskip(module)
    monkeypatch.chdir(tmp_path)
    case.globs.update(np=np, dntk=dntk)  # and nothing else: an example is whole
    said = []
    with threadpool_limits(1):
        doctest.DocTestRunner(optionflags=OPTIONS).run(case, out=said.append)
    assert not said, "".join(said)


def _called(place):
    names, without = set(PUBLIC[place].split()), set(WITHOUT[place].split())
    assert without <= names, f"{place} has no {without - names}"
    return sorted(names - without)


@pytest.mark.parametrize("place", WITHOUT)
def test_what_a_user_calls_has_an_example(place):
    room = importlib.import_module(place)
    called = _called(place)
    missing = [name for name in called if ">>> " not in (inspect.getdoc(getattr(room, name)) or "")]
    assert not missing, f"{place}: add a section Examples to the docstrings of {', '.join(missing)}"


def test_what_has_an_example_stands_in_the_reference():
    pages = "".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    shown = set(re.findall(r"^::: ([\w.]+)$", pages, re.MULTILINE))
    missing = []
    for place in WITHOUT:
        for name in _called(place):
            value = getattr(importlib.import_module(place), name)
            if not shown & {f"{place}.{name}", f"dntk.{name}", value.__module__}:
                missing.append(f"{place}.{name}")
    assert not missing, f"add `::: NAME` to a page of docs/reference, for {', '.join(missing)}"
