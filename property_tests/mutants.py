"""Breaks dntk in every listed way, one at a time, and shows that a named test notices each.

    python -m property_tests.mutants                  # all of them, as `make mutants` does
    python -m property_tests.mutants srht ridge       # those whose file or meaning has one of these words

Each mutant is a substitution of source text in a copy of the tree (:mod:`property_tests.mutations`). The named test
must pass on the sound copy and fail on the broken one. Exit status 1 where one survives, no longer applies, or breaks
more than its test can tell (an error of collection, or no end within two minutes).
"""

import concurrent.futures
import dataclasses
import importlib
import os
import pathlib
import pkgutil
import queue
import shutil
import subprocess
import sys
import tempfile
import time

from rich.console import Console
from rich.table import Table

from property_tests import mutations
from property_tests.mutations.mutant import ROOT, Mutant

PARTS = ("dntk", "backends", "studies", "tests", "property_tests", "conftest.py", "pyproject.toml", "README.md")
WORKERS = 2
LIMIT = 120


def every_mutant() -> list[Mutant]:
    """Those of all modules of ``property_tests.mutations``."""
    names = sorted(module.name for module in pkgutil.iter_modules(mutations.__path__) if module.name != "mutant")
    modules = [importlib.import_module(f"{mutations.__name__}.{name}") for name in names]
    return [mutant for module in modules for mutant in module.MUTANTS]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What became of a mutant: ``"killed"``, or why it was not."""

    mutant: Mutant
    fate: str
    seconds: float


def copy_of_the_tree(where: pathlib.Path) -> pathlib.Path:
    """The source below ``where``, without caches."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, where / part, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.is_file():
            shutil.copy(source, where / part)
    return where


def run_tests(tree: pathlib.Path, tests: list[str]) -> tuple[int, str]:
    """Exit status and output of pytest on a tree; 124 where it did not end in time."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tree / part) for part in ("", "backends", "studies")]),
        "PYTHONDONTWRITEBYTECODE": "1",  # two versions of a file within a second must not share their bytecode
        "HYPOTHESIS_PROFILE": "mutants",
        "DNTK_CHECK": "0",  # the property has to notice, not a check of shapes
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=line"]
    try:
        limit = LIMIT * max(1, len(tests) // 4)
        done = subprocess.run(
            [*command, *tests], cwd=tree, env=environment, capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return 124, f"no end within {limit} s"
    return done.returncode, done.stdout + done.stderr


def fate_of(mutant: Mutant, tree: pathlib.Path) -> str:
    """Apply a mutant, run its test, and restore the file."""
    fault = mutant.fault(tree)
    if fault:
        return f"does not apply: {fault}"
    sound = mutant.apply(tree)
    try:
        status, output = run_tests(tree, [mutant.test])
    finally:
        (tree / mutant.file).write_text(sound, encoding="utf-8")
    if status == 1 and " failed" in output:
        return "killed"
    if status == 0:
        return "SURVIVED"
    return f"pytest ended with {status}: {output.strip().splitlines()[-1] if output.strip() else 'no output'}"


def judge(mutants: list[Mutant], scratch: pathlib.Path, console: Console) -> list[Verdict]:
    """Fates of all mutants, a copy of the tree for every worker."""
    trees: queue.SimpleQueue[pathlib.Path] = queue.SimpleQueue()
    for worker in range(WORKERS):
        trees.put(copy_of_the_tree(scratch / str(worker)))

    def work(mutant: Mutant) -> Verdict:
        tree, begin = trees.get(), time.perf_counter()
        try:
            verdict = Verdict(mutant, fate_of(mutant, tree), time.perf_counter() - begin)
        finally:
            trees.put(tree)
        console.print(f"{verdict.fate:8} {mutant.name}", highlight=False, markup=False)
        return verdict

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(work, mutants))


def table_of(verdicts: list[Verdict]) -> Table:
    """One row a mutant."""
    table = Table("file", "what is broken", "killed by", "fate", "s")
    for verdict in verdicts:
        mutant = verdict.mutant
        test = mutant.test.rpartition("::")[2]
        style = "" if verdict.fate == "killed" else "bold red"
        table.add_row(mutant.file, mutant.why, test, verdict.fate, f"{verdict.seconds:.0f}", style=style)
    return table


def main(words: list[str]) -> int:
    """Run those mutants whose name has one of the words, or all, and return the exit status."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    mutants = [m for m in every_mutant() if not words or any(word in m.name for word in words)]
    if not mutants:
        console.print(f"no mutant's name has one of the words {', '.join(words)}: pass part of a path or of a line.")
        return 2
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="dntk-mutants-") as scratch:
        sound = copy_of_the_tree(pathlib.Path(scratch) / "sound")
        status, output = run_tests(sound, sorted({m.test for m in mutants}))
        if status != 0:
            console.print(output, markup=False, highlight=False)
            console.print("The tests do not pass on the sound tree: nothing can be said of mutants.")
            return 1
        verdicts = judge(mutants, pathlib.Path(scratch), console)
    console.print(table_of(verdicts))
    killed = sum(v.fate == "killed" for v in verdicts)
    console.print(f"{killed} of {len(verdicts)} mutants killed in {time.perf_counter() - begin:.0f} s")
    return 0 if killed == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
