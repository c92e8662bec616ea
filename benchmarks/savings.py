"""What distillation saves, like for like: exact kernel regression beside the pipeline that chose from the same images.

    python benchmarks/savings.py --data-dir DIR --exact 500 1000 2000 4000 --pools 10000 49700 --out FOLDER

ResNet-18 of width 16 on CIFAR-10. One thread, CPU seconds of a process of its own for every case. Exact: the kernels
of all classes, their solve at one given ridge, kernels with 500 test images. Distilled: ``fit`` choosing 500 images of
the pool, and ``predict`` of the same test images. Beyond the largest size that was measured the exact side is
extrapolated by orders of growth; how far that fails on the largest measured size, seen from the smaller, stands beside.
A case whose row is in FOLDER is not run again. The table goes to FOLDER/savings.csv.
"""

import argparse
import csv
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from measure import in_child
from whole import trained

import dntk
from dntk import ntk
from dntk.distill.data import LastLayer, RPCholesky
from dntk.distill.gradients import Solution
from dntk.ledger import LedgerRecorder
from dntk.metrics import fidelity
from dntk.sketch import Mixed
from dntk.solve import kernel_ridge
from dntk_studies.datasets import cifar10
from dntk_studies.reproduce.exact_costs import by_exponent, by_orders, exponent

TEST, KEPT, DIM, GRADIENTS, RIDGE = 500, 500, 2048, 5, 1.0
ORDERS = {"kernel": (1, 2), "solve": (2, 3), "test": (0, 1)}
"""Of the exact side's stages in the number of training images."""
COLUMNS = ("jacobian_rows", "flops", "nbytes", "cpu_seconds")


def exact(model: dntk.Model, x: torch.Tensor, test: torch.Tensor) -> dict[str, Any]:
    """Kernel regression with the kernel of every class."""
    targets = model(x)
    ntk(model, x[:32], outputs="each")  # what is done once per network is in neither side
    stages: dict[str, Any] = {}
    kernel = _stage(stages, "kernel", lambda: ntk(model, x, outputs="each"))
    solved = _stage(stages, "solve", lambda: kernel_ridge(kernel, targets, ridge=RIDGE))
    across = _stage(stages, "test", lambda: ntk(model, test, x, outputs="each"))
    predicted = solved.predict(across)
    return {"stages": stages, "fidelity": fidelity(predicted, model(test))}


def distilled(model: dntk.Model, x: torch.Tensor, test: torch.Tensor) -> dict[str, Any]:
    """The pipeline, with five gradients a class."""
    ntk(model, x[:32], outputs="each")
    spec = dntk.DistilledNTK(
        model, data=LastLayer(RPCholesky(KEPT)), sketch=Mixed(DIM), gradients=Solution(GRADIENTS), ridge="loo"
    )
    stages: dict[str, Any] = {}
    fit = _stage(stages, "fit", lambda: spec.fit(x))
    stages["fit"]["nbytes"] = sum(stage.nbytes for stage in fit.ledger.stages)
    _stage(stages, "test", lambda: fit.predict(test))
    return {"stages": stages, "fidelity": fit.fidelity(test), "by_stage": _by_stage(fit.ledger)}


def _by_stage(ledger: Any) -> dict[str, Any]:
    return {cost.stage: [cost.jacobian_rows, cost.flops, cost.nbytes, cost.seconds] for cost in ledger.stages}


def _stage(stages: dict[str, Any], name: str, work: Callable[[], Any]) -> Any:
    recorder = LedgerRecorder()
    start = time.process_time()
    with recorder.stage(name):
        made = work()
    seconds, cost = time.process_time() - start, recorder.ledger().stages[0]
    nbytes = made.nbytes if isinstance(made, torch.Tensor) else 0
    stages[name] = {
        "jacobian_rows": cost.jacobian_rows,
        "flops": cost.flops,
        "nbytes": nbytes,
        "cpu_seconds": seconds,
    }
    return made


def measured(side: str, points: int, options: argparse.Namespace) -> dict[str, Any]:
    """One case."""
    torch.set_num_threads(1)
    data = cifar10(train=None, validation=300, directory=options.data_dir)
    model = trained("resnet18-16", data, options.networks_dir)
    x, test = torch.from_numpy(data.train.x[:points]), torch.from_numpy(data.test.x[:TEST])
    return {"side": side, "points": points, **{"exact": exact, "distilled": distilled}[side](model, x, test)}


def extrapolated(rows: Sequence[dict[str, Any]], points: int) -> dict[str, dict[str, float]]:
    """Cost of the exact side at ``points`` by stage; rows and bytes by their definition."""
    found = {}
    for stage, orders in ORDERS.items():
        series = [{"points": row["points"], **row["stages"][stage]} for row in rows]
        found[stage] = {column: by_orders(series, column, points, orders) for column in ("flops", "cpu_seconds")}
        found[stage]["by_exponent"] = by_exponent(series, "cpu_seconds", points)
        found[stage]["exponent"] = exponent(series, "cpu_seconds")
    outputs = rows[-1]["stages"]["kernel"]["nbytes"] / 4 / rows[-1]["points"] ** 2
    found["kernel"] |= {"jacobian_rows": outputs * points, "nbytes": 4 * outputs * points**2}
    found["solve"] |= {"jacobian_rows": 0.0, "nbytes": 4 * outputs * points}
    found["test"] |= {"jacobian_rows": outputs * TEST, "nbytes": 4 * outputs * TEST * points}
    return found


def table(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every measured case, every comparison on the same images, and the error of the extrapolation where it can be."""
    exacts = sorted((row for row in rows if row["side"] == "exact"), key=lambda row: row["points"])
    found: list[dict[str, Any]] = []
    for row in rows:
        total = {column: sum(stage[column] for stage in row["stages"].values()) for column in COLUMNS}
        for stage, costs in {**row["stages"], "all": total}.items():
            found.append(_line(row["side"], row["points"], stage, "measured", costs, row["fidelity"]))
    last, before = exacts[-1], exacts[:-1]
    if len(before) > 1:
        guess = extrapolated(before, last["points"])
        for stage, costs in guess.items():
            how = f"extrapolated from up to {before[-1]['points']} points"
            found.append(_line("exact", last["points"], stage, how, costs))
    for row in rows:
        if row["side"] == "distilled":
            found += _comparison(exacts, row)
    return found


def _comparison(exacts: Sequence[dict[str, Any]], row: dict[str, Any]) -> list[dict[str, Any]]:
    """The exact side at the pipeline's number of images, by two extrapolations, and the ratios of their sums."""
    stages, points = extrapolated(exacts, row["points"]), row["points"]
    how = f"extrapolated from up to {exacts[-1]['points']} points, by orders"
    found = [_line("exact", points, stage, how, costs) for stage, costs in stages.items()]
    mine = {column: sum(stage[column] for stage in row["stages"].values()) for column in COLUMNS}
    whole = {column: sum(stage[column] for stage in stages.values()) for column in COLUMNS}
    slower = sum(stage["by_exponent"] for stage in stages.values())
    powers = ", ".join(f"{name} n^{stage['exponent']:.2f}" for name, stage in stages.items())
    found.append(_line("exact", points, "all", how, whole))
    found.append(_line("exact", points, "all", f"extrapolated by measured exponents: {powers}", {COLUMNS[-1]: slower}))
    found.append(_line("ratio", points, "all", how, {column: whole[column] / mine[column] for column in COLUMNS}))
    by_powers = {COLUMNS[-1]: slower / mine[COLUMNS[-1]]}
    return [*found, _line("ratio", points, "all", "extrapolated by measured exponents", by_powers)]


def _line(
    side: str, points: int, stage: str, how: str, costs: dict[str, float], agreement: float | str = ""
) -> dict[str, Any]:
    shown = {column: f"{costs[column]:.6g}" if column in costs else "" for column in COLUMNS}
    share = f"{agreement:.4f}" if stage == "all" and agreement != "" else ""
    return {"side": side, "points": points, "stage": stage, "how": how, **shown, "fidelity": share}


def main() -> None:
    """Run the cases that are not there yet, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--networks-dir", type=Path, default=Path("whole-networks"))
    parser.add_argument("--exact", type=int, nargs="*", default=[500, 1000, 2000, 4000])
    parser.add_argument("--pools", type=int, nargs="*", default=[10_000, 49_700])
    parser.add_argument("--out", type=Path, default=Path("savings"))
    parser.add_argument("--case", nargs=2)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measured(options.case[0], int(options.case[1]), options)))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    for side, points in [("distilled", n) for n in options.pools] + [("exact", n) for n in options.exact]:
        kept = options.out / f"{side}-{points}.json"
        if not kept.exists():
            row = in_child([sys.executable, __file__, *sys.argv[1:], "--case", side, str(points)], time_limit=5400)
            print(json.dumps(row), flush=True)
            if "why_not" not in row:
                kept.write_text(json.dumps(row, indent=1))
    rows = [json.loads(path.read_text()) for path in options.out.glob("*.json")]
    lines = table(sorted(rows, key=lambda row: (row["side"], row["points"])))
    with (options.out / "savings.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


if __name__ == "__main__":
    main()
