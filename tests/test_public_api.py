"""The public names, their documentation and their tests; private modules; and what the core may not import."""

import ast
import importlib
import pathlib
import tomllib
import types

import pytest

import dntk
from tests.public_names import PUBLIC

ROOT = pathlib.Path(dntk.__file__).parent
REPOSITORY = pathlib.Path(__file__).parent.parent
SOURCES = sorted(ROOT.rglob("*.py"))
# Modules of one public function that are not private yet.
NOT_YET_PRIVATE: set[str] = set()
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
            if any(isinstance(mark, ast.Name) and mark.id == "overload" for mark in node.decorator_list):
                continue  # the function itself has it
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


def listed(module):
    return PUBLIC[module].split()


def modules_of(folder):
    """(dotted name, path) of every module of the packages in ``folder``."""
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if parts[0].startswith("dntk"):
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def every_module():
    yield from modules_of(REPOSITORY / "backends")
    yield from modules_of(REPOSITORY / "studies")
    yield from ((name, path) for name, path in modules_of(REPOSITORY) if name.partition(".")[0] == "dntk")


def bound_by(tree):
    """Public names that a module's own statements bind, functions marked."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            names = []
        yield from ((name, isinstance(node, ast.FunctionDef)) for name in names if not name.startswith("_"))


def holds_one_function(source):
    bound = list(bound_by(ast.parse(source)))
    return len(bound) == 1 and bound[0][1]


def named_in(source):
    """Names, attributes and imported names of a program: what it uses, not what its text mentions."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.update(node.name.split("."))
    return found


def hidden_by(source, package, modules):
    """Modules of a package whose names its `__init__` gives to something else."""
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    shown = {alias.asname or alias.name for node in imports for alias in node.names if node.module != package}
    shown |= {name for name, _ in bound_by(tree)}
    return {name for name in shown if f"{package}.{name}" in modules}


def entry_points():
    """Modules that pyproject.toml names: their path is public."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    groups = [project["scripts"], *project["entry-points"].values()]
    return {value.partition(":")[0] for group in groups for value in group.values()}


def test_every_package_of_the_core_is_listed():
    packages = {
        name for name, path in modules_of(REPOSITORY) if path.name == "__init__.py" and path.is_relative_to(ROOT)
    }
    assert packages == set(PUBLIC) - {"dntk.metrics", "dntk.targets"}


@pytest.mark.parametrize("module", PUBLIC)
def test_exports_are_those_listed_and_nothing_else_is_in_reach(module):
    found = importlib.import_module(module)
    assert sorted(found.__all__) == sorted(listed(module))
    for name in found.__all__:
        getattr(found, name)
    if hasattr(found, "__path__"):  # of plain modules, imports are in reach, too
        reach = {n for n, v in vars(found).items() if not n.startswith("_") and not isinstance(v, types.ModuleType)}
        assert reach <= set(found.__all__)


@pytest.mark.parametrize("module", PUBLIC)
def test_exports_are_documented(module):
    found = importlib.import_module(module)
    for name in listed(module):
        value = getattr(found, name)
        if isinstance(value, type | types.FunctionType):
            assert len((value.__doc__ or "").split()) >= 3, name


def test_helpers_that_check_are_not_public():
    checks = {f"{m}.{name}" for m in PUBLIC if m != "dntk.testing" for name in listed(m) if name.startswith("check_")}
    assert checks == set()


def test_every_exported_name_is_used_by_a_test():
    tests = [*(REPOSITORY / "tests").glob("*.py"), *(REPOSITORY / "property_tests").glob("*.py")]
    used = set().union(*(named_in(path.read_text()) for path in tests if path.name != pathlib.Path(__file__).name))
    assert {f"{m}.{name}" for m in PUBLIC for name in listed(m) if name not in used} == set()


def test_no_name_of_a_package_hides_one_of_its_modules():
    paths = dict(every_module())
    packages = {name: path.read_text() for name, path in paths.items() if path.name == "__init__.py"}
    assert {f"{name}.{n}" for name, text in packages.items() for n in hidden_by(text, name, paths)} == set()


@pytest.mark.parametrize(
    ("source", "hidden"),
    [
        ("from a.ridge import ridge", {"ridge"}),
        ("from a._ridge import ridge", {"ridge"}),
        ("def ridge(): ...", {"ridge"}),
        ("from a import ridge", set()),
        ("from a.ridge import fit", set()),
    ],
)
def test_hidden_modules_are_found(source, hidden):
    assert hidden_by(source, "a", {"a", "a.ridge"}) == hidden


def test_a_module_of_one_public_function_is_private():
    public = entry_points() | set(PUBLIC)
    alone = {
        name
        for name, path in every_module()
        if path.stem[0] != "_" and name not in public and holds_one_function(path.read_text())
    }
    assert alone == NOT_YET_PRIVATE


@pytest.mark.parametrize(
    ("source", "alone"),
    [
        ("def f(): ...", True),
        ("_A = 1\ndef f(): ...\ndef _g(): ...\nclass _B: ...", True),
        ("def f(): ...\ndef g(): ...", False),
        ("A: int = 1\ndef f(): ...", False),
        ("A = 1\ndef f(): ...", False),
        ("class A: ...", False),
    ],
)
def test_modules_of_one_public_function_are_told_apart(source, alone):
    assert holds_one_function(source) == alone


def test_a_name_in_a_comment_or_a_text_is_not_used():
    assert named_in("import a.b as c\nx.y  # z\n'w'") == {"a", "b", "x", "y"}


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
