"""Exact kernels by dntk and by every other library that computes them, paired in one process.

For each network of ``ntk_networks.py`` and each kind of kernel: median and best time of interleaved repetitions, ratio
to dntk and to the floor (one forward pass and one backward pass per functional with respect to layer outputs), peak
memory in a process of its own, relative error against float64 by dntk and by torch.func. A library that is not
installed, fails, or exceeds a limit has a row that says so. Memory is returned by huge pages, for everybody alike.

Run: python benchmarks/ntk.py [--case mlp] [--modes sum full] [--repeats 5] [--json results.json]
"""

import argparse
import os
import sys
import warnings
from pathlib import Path

HUGE_PAGES = {"THP_MEM_ALLOC_ENABLE": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def main() -> None:
    """Measure what was asked for, print a table per case, and write everything as JSON."""
    arguments = parse()
    start_again_with_huge_pages()
    if arguments.threads:
        limit_threads(arguments.threads)
    # Thread pools and allocators read their settings when their library is imported.
    from ntk_contests import Limits, chosen, contest
    from ntk_networks import CASES
    from ntk_report import as_json, environment, print_table

    warnings.simplefilter("ignore")  # of the peers
    limits = Limits(
        repeats=arguments.repeats,
        once_above=arguments.once_above,
        seconds=arguments.time_limit,
        mebibytes=arguments.memory_limit,
    )
    rows, peers = [], chosen(arguments.peers)
    for case in CASES.values() if arguments.case == "all" else [CASES[arguments.case]]:
        n, found = arguments.inputs or case.inputs, []
        for mode in arguments.modes:
            print(f"{case.name}, {mode}, n = {n}", file=sys.stderr, flush=True)
            found += contest(case, mode, n, peers, limits)
            if arguments.json:
                arguments.json.write_text(as_json([*rows, *found], environment()))
        print_table(f"{case.name}, n = {n}, float32", found)
        rows += found


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=("mlp", "cnn", "resnet18", "vit", "gpt", "all"), default="all")
    modes = ("sum", "one", "mean", "each", "full")
    parser.add_argument("--modes", choices=modes, nargs="+", default=modes, help="what of the outputs the kernel is of")
    parser.add_argument("--inputs", type=int, help="number of inputs; default: the case's own")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peers", nargs="+", help="beginnings of names, such as torch.func nngeometry; default: all")
    parser.add_argument("--threads", type=int, help="processors to use; default: all")
    parser.add_argument("--once-above", type=float, default=60.0, help="seconds above which one call has to do")
    parser.add_argument("--time-limit", type=float, default=600.0, help="seconds for one contestant's memory run")
    parser.add_argument("--memory-limit", type=int, default=8192, help="mebibytes that one contestant may allocate")
    parser.add_argument("--json", type=Path, help="file for all rows; written after every mode")
    return parser.parse_args()


def start_again_with_huge_pages() -> None:
    """Replace this process by one in which large allocations of every library are backed by huge pages."""
    if any(os.environ.get(name) != value for name, value in HUGE_PAGES.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **HUGE_PAGES})


def limit_threads(threads: int) -> None:
    """Bind this process and its children to so many processors, which every thread pool respects."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    os.environ["OMP_NUM_THREADS"] = str(threads)


if __name__ == "__main__":
    main()
