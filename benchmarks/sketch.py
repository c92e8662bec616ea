"""Sketched features by dntk and by every other library that makes them on a CPU, paired in one process.

For each network of ``sketch_cases.py`` and each number k of features: time per sample for all ten outputs, its ratio to
the floor (one forward pass and ten backward passes with respect to layer outputs), peak memory in a process of its own,
and errors of the kernel and of its leading eigenvalues, means over seeds. Then prediction by Jacobian-vector products
against prediction by features. A library that is not installed, fails, or exceeds a limit has a row that says so.

Run: python benchmarks/sketch.py [--case resnet18] [--dims 512 4096] [--json results.json] [--plot errors.svg]
"""

import argparse
import sys
import warnings
from pathlib import Path

from ntk import limit_threads, start_again_with_huge_pages


def main() -> None:
    """Measure what was asked for, print tables, and write everything as JSON and as a plot."""
    arguments = parse()
    start_again_with_huge_pages()
    if arguments.threads:
        limit_threads(arguments.threads)
    # Thread pools and allocators read their settings when their library is imported.
    from sketch_cases import CASES
    from sketch_contests import Limits, chosen, contest, prediction
    from sketch_report import as_json, plot, print_predictions, print_table

    import dntk

    warnings.simplefilter("ignore")  # of the peers
    limits = Limits(
        seeds=arguments.seeds,
        once_above=arguments.once_above,
        seconds=arguments.time_limit,
        mebibytes=arguments.memory_limit,
    )
    rows, predictions, ways = [], [], chosen(arguments.ways)
    for case in CASES.values() if arguments.case == "all" else [CASES[arguments.case]]:
        n = arguments.inputs or case.inputs
        for dim in arguments.dims:
            print(f"{case.name}, k = {dim}, n = {n}", file=sys.stderr, flush=True)
            found = contest(case, dim, n, ways, limits, memory=not arguments.no_memory)
            rows += found
            print_table(f"{case.name}, n = {n}, k = {dim}, float32", found)
        if arguments.predict:
            k = max(arguments.dims)
            for family in (dntk.sketch.Mixed(k, inner=64), dntk.sketch.SparseSign(k)):
                predictions.append(prediction(case, family, n, min(arguments.seeds, 3)))
                print_predictions(predictions[-1:])
        if arguments.json:
            arguments.json.write_text(as_json(rows, predictions))
    if arguments.plot:
        plot(rows, arguments.plot)


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=("cnn", "resnet18", "gpt100m", "all"), default="all")
    parser.add_argument("--dims", type=int, nargs="+", default=(512, 4096), help="numbers of features")
    parser.add_argument("--inputs", type=int, help="number of inputs; default: the case's own")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--ways", nargs="+", help="beginnings of names, such as TRAK dattri; default: all")
    parser.add_argument("--predict", action="store_true", help="time prediction, too")
    parser.add_argument("--no-memory", action="store_true", help="skip the processes that measure peak memory")
    parser.add_argument("--threads", type=int, help="processors to use; default: all")
    parser.add_argument("--once-above", type=float, default=30.0, help="seconds above which one call has to do")
    parser.add_argument("--time-limit", type=float, default=900.0, help="seconds for one way's memory run")
    parser.add_argument("--memory-limit", type=int, default=12288, help="mebibytes that one way may allocate")
    parser.add_argument("--json", type=Path, help="file for all rows; written after every network")
    parser.add_argument("--plot", type=Path, help="file for the plot, .svg or .png")
    return parser.parse_args()


if __name__ == "__main__":
    main()
