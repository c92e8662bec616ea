"""Ridge regression, ridge paths and Gaussian processes by dntk and by other libraries, paired in one process.

On features with the spectrum of tangent features: median seconds, ratio to dntk, share of the machine's float32 product
rate, peak memory in a process of its own, error of weights and predictions against float64, likelihoods. A library that
is not installed, fails, or exceeds a limit has a row that says so. With the defaults about 15 minutes on two cores;
``--stream 1000000`` adds regression on a million points from disk, which needs 4 GiB there and about 5 minutes.

Run: python benchmarks/solve.py [--points 10000 50000] [--stream 1000000] [--repeats 5] [--json results.json]
"""

import argparse
import sys
from pathlib import Path

from ntk import limit_threads, start_again_with_huge_pages


def main() -> None:
    """Measure what was asked for, print a table per contest, and write everything as JSON."""
    arguments = parse()
    start_again_with_huge_pages()
    if arguments.threads:
        limit_threads(arguments.threads)
    # Thread pools and allocators read their settings when their library is imported.
    from solve_contests import Contest, Limits, chosen, measured
    from solve_report import as_json, print_table, print_targets

    limits = Limits(
        repeats=arguments.repeats,
        once_above=arguments.once_above,
        seconds=arguments.time_limit,
        mebibytes=arguments.memory_limit,
    )
    rows, ways = [], chosen(arguments.ways)
    for kind, points in contests(arguments):
        print(f"{kind}, n = {points}", file=sys.stderr, flush=True)
        contest = Contest(
            kind=kind,
            points=points,
            features=arguments.features,
            targets=arguments.targets,
            relative_ridge=arguments.relative_ridge,
        )
        found = measured(contest, ways, limits)
        print_table(f"{kind}, n = {points}, k = {arguments.features}, float32", found)
        rows += found
        if arguments.json:
            arguments.json.write_text(as_json(rows))
    print_targets(rows)


def contests(arguments: argparse.Namespace) -> list[tuple[str, int]]:
    """Kinds and numbers of points."""
    points = {
        "ridge": arguments.points,
        "path": [max(arguments.points)],
        "gp": [arguments.gp_points],
        "stream": [arguments.stream] if arguments.stream else [],
    }
    return [(kind, n) for kind in points if kind in (*arguments.contests, "stream") for n in points[kind]]


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = ("ridge", "path", "gp")
    parser.add_argument("--contests", choices=kinds, nargs="*", default=kinds, help="none with --stream alone")
    parser.add_argument("--points", type=int, nargs="+", default=[10_000, 50_000], help="of ridge; a path has the most")
    parser.add_argument("--gp-points", type=int, default=10_000)
    parser.add_argument("--stream", type=int, help="points of a regression from disk; default: none")
    parser.add_argument("--features", type=int, default=1024)
    parser.add_argument("--targets", type=int, default=10)
    parser.add_argument("--relative-ridge", type=float, default=1e-4, help="λ in units of the largest eigenvalue")
    parser.add_argument(
        "--ways", nargs="+", help="beginnings of names, such as SciPy GPyTorch, beside dntk; default: all"
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="processors to use; default: all")
    parser.add_argument("--once-above", type=float, default=10.0, help="seconds above which one call has to do")
    parser.add_argument("--time-limit", type=float, default=120.0, help="seconds for one contestant's first call")
    parser.add_argument("--memory-limit", type=int, default=8192, help="mebibytes that one contestant may allocate")
    parser.add_argument("--json", type=Path, help="file for all rows; written after every contest")
    return parser.parse_args()


if __name__ == "__main__":
    main()
