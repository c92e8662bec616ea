"""The list of mutants is sound: each substitution applies once, each named test exists, and the runner can tell."""

import ast
import collections
import functools
import pathlib
import subprocess
import sys

import pytest

from property_tests import mutants
from property_tests.mutations.mutant import ROOT, Mutant

EVERY = mutants.every_mutant()


@pytest.mark.parametrize("mutant", EVERY, ids=lambda mutant: mutant.name)
def test_substitution_applies_exactly_once_and_leaves_python(mutant):
    assert mutant.fault() == ""
    ast.parse((ROOT / mutant.file).read_text(encoding="utf-8").replace(mutant.old, mutant.new))


@functools.cache
def functions_of(file):
    """Names of all functions of a file, which many mutants name."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("test", sorted({mutant.test for mutant in EVERY}))
def test_named_test_exists(test):
    file, _, name = test.partition("::")
    functions = functions_of(file)
    assert not name or name.rpartition("::")[2].partition("[")[0] in functions


@pytest.mark.deep
def test_named_cases_are_collected():
    cases = {mutant.test for mutant in EVERY if "[" in mutant.test}
    files = sorted({case.partition("::")[0] for case in cases})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert not cases - set(found.stdout.splitlines())


def test_there_are_enough_and_none_is_listed_twice():
    assert len(EVERY) >= 100
    counted = collections.Counter((mutant.file, mutant.old, mutant.new) for mutant in EVERY)
    assert max(counted.values()) == 1


def test_a_word_that_is_in_no_name_is_said(capsys):
    assert mutants.main(["no such mutant"]) == 2
    assert "no mutant's name has one of the words no such mutant" in capsys.readouterr().out


TREE = {
    "dntk/thing.py": "answer = 42\n",
    "property_tests/test_thing.py": "from dntk.thing import answer\n\n\ndef test_answer():\n    assert answer == 42\n",
}
TEST = "property_tests/test_thing.py::test_answer"


@pytest.fixture
def tree(tmp_path):
    for name, text in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (tmp_path / "dntk/__init__.py").write_text("", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "fate"),
    [
        ("42", "41", "killed"),
        ("42", "6 * 7", "SURVIVED"),
        ("43", "44", "does not apply: its text is found 0 times in dntk/thing.py"),
        ("answer", "question", "pytest ended with "),
    ],
)
def test_fates_are_told_apart_and_the_file_is_restored(tree, old, new, fate):
    assert mutants.fate_of(Mutant("dntk/thing.py", old, new, "broken", TEST), tree).startswith(fate)
    assert (tree / "dntk/thing.py").read_text(encoding="utf-8") == TREE["dntk/thing.py"]


def test_copies_of_the_tree_have_the_source_and_no_caches(tmp_path):
    copied = mutants.copy_of_the_tree(tmp_path / "copy")
    assert (copied / "dntk/kernels/_ntk.py").read_bytes() == (ROOT / "dntk/kernels/_ntk.py").read_bytes()
    assert not list(pathlib.Path(copied).rglob("__pycache__"))
