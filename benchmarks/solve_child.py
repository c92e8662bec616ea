"""One process of ``solve.py``: peak memory and figures of one way, or paired times of several; a line of JSON.

Run: python benchmarks/solve_child.py memory CONTEST FOLDER WAY MEBIBYTES
     python benchmarks/solve_child.py time CONTEST FOLDER REPEATS WAY [WAY ...]
"""

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import interleaved, limit_memory, peak_of, reason
from solve_contests import way_of
from solve_figures import figures
from solve_problems import read_problem

from dntk.backend import backend_of

SIDE = 2048


def main() -> None:
    """Do what the first argument says."""
    warnings.simplefilter("ignore")  # of the peers
    task, contest, folder, *rest = sys.argv[1:]
    found = memory(contest, Path(folder), *rest) if task == "memory" else times(contest, Path(folder), *rest)
    print(json.dumps(found))


def memory(contest: str, folder: Path, name: str, mebibytes: str) -> dict[str, Any]:
    """Warm up on a small problem, so that a library's own initialisation is not counted, then measure one call."""
    way, found = way_of(name), []
    problem = read_problem(folder)
    try:
        limit_memory(int(mebibytes))
        way.prepare(read_problem(folder / "warm"), folder / "warm")()
        work = way.prepare(problem, folder)
        measured = peak_of(lambda: found.append(work()))
        return {**measured, "figures": figures(contest, found[0], problem, folder)}
    except Exception as error:  # whatever a peer raises is what there is to report
        return {"why_not": because(error, int(mebibytes))}


def times(contest: str, folder: Path, repeats: str, *names: str) -> dict[str, Any]:
    """Seconds of interleaved calls, one that does not count before, and of products of square matrices."""
    problem = read_problem(folder)
    works = {name: way_of(name).prepare(problem, folder) for name in names}
    works |= products()
    for work in works.values():
        work()
    seconds = interleaved(works, dict.fromkeys(works, int(repeats)))
    best = min(float(np.median(seconds.pop(name))) for name in products())
    return {"contest": contest, "seconds": seconds, "product_rate": 2 * SIDE**3 / best}


def products() -> dict[str, Callable[[], Any]]:
    """Products of float32 matrices by the libraries that the contestants use; the fastest is the machine's rate."""
    square = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    numpy, backend = square.numpy(), backend_of(square)
    return {
        "product, PyTorch": lambda: square @ square,
        "product, NumPy": lambda: numpy @ numpy,
        "product, dntk": lambda: backend.inner(square, square),
    }


def because(error: Exception, mebibytes: int) -> str:
    """An exception in one line; of those for want of memory, the limit."""
    signs = ("can't allocate memory", "not enough memory", "bad_alloc")
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in signs):
        return f"needs more than {mebibytes} MiB"
    return reason(error)


if __name__ == "__main__":
    main()
