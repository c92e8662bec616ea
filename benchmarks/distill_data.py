"""Coresets and synthetic sets: what they keep of a training set's kernel, and what they cost.

For each data set, network and seed: train, distil to m = C, 5C, 10C, 50C points and to a twentieth of the training set
by every method of ``distill_methods.py``, and measure each set as ``distill_measure.py`` says. Every method has the
same m, the same sketch, targets and choice of the ridge. Prints the mean and standard deviation over seeds, then the
headline: at a twentieth of the points, how much of the full set's fidelity is kept, and after how many later
evaluations of the kernel's features the distillation has paid for itself in Jacobian rows.

Run: python benchmarks/distill_data.py [--data digits] [--networks cnn] [--methods RPChol Wasser] [--seeds 5]
     [--per-class 1 5 10 50] [--device cuda] [--json results.json]
     python benchmarks/distill_data.py --tables results.json more-seeds.json
"""

import argparse
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from distill_measure import Problem, Row, measure, measure_all
from distill_methods import chosen
from distill_networks import N_OUTPUTS
from distill_report import as_json, print_headline, print_table, read

TRAIN = {"digits": 1000, "fashion-mnist": 4000, "cifar-10": 4000}


def main() -> None:
    """Measure what was asked for; with --json everything is written after every row."""
    arguments = parse()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    rows = read(arguments.tables)
    if not arguments.tables:
        for data, network, seed in itertools.product(arguments.data, arguments.networks, _seeds(arguments)):
            for row in measured(data, network, seed, arguments):
                rows.append(row)
                if arguments.json:
                    arguments.json.write_text(as_json(rows))
    for data, network in sorted({(row.data, row.network) for row in rows}):
        found = [row for row in rows if (row.data, row.network) == (data, network)]
        print_table(f"{data}, {network}", found)
        print_headline(found)


def measured(data: str, network: str, seed: int, arguments: argparse.Namespace) -> Iterator[Row]:
    """Rows of one trained network."""
    print(f"{data}, {network}, seed {seed}", file=sys.stderr, flush=True)
    train = arguments.train or TRAIN[data]
    problem = Problem.of(
        data, network, seed=seed, train=train, test=arguments.test, dim=arguments.dim, device=arguments.device
    )
    sizes = sorted({each * N_OUTPUTS for each in arguments.per_class} | {train // 20 // N_OUTPUTS * N_OUTPUTS})
    yield measure_all(problem)
    for points in sizes:
        for method in chosen(arguments.methods):
            row = measure(problem, method, points, steps=arguments.steps)
            print(f"  {method.name}, {points}: {row.why_not or row.fidelity}", file=sys.stderr, flush=True)
            yield row


def _seeds(arguments: argparse.Namespace) -> range:
    return range(arguments.first_seed, arguments.first_seed + arguments.seeds)


def parse() -> argparse.Namespace:
    """What to measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", default=["digits", "fashion-mnist"], choices=list(TRAIN))
    parser.add_argument("--networks", nargs="+", default=["cnn", "resnet18"], choices=["cnn", "resnet18"])
    parser.add_argument("--methods", nargs="+", default=[], help="beginnings of names; default: all")
    parser.add_argument("--per-class", nargs="+", type=int, default=[1, 5, 10, 50])
    parser.add_argument("--steps", type=int, help="of every objective, for equal budgets; default: its own")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--train", type=int, help="training points; default 1,000 digits, 4,000 others")
    parser.add_argument("--test", type=int, default=797, help="held-out points at most")
    parser.add_argument("--dim", type=int, default=2048, help="numbers per sketched gradient")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", default="cpu", help="of PyTorch, such as cuda")
    parser.add_argument("--tables", nargs="+", type=Path, default=[], help="only print what these files hold")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
