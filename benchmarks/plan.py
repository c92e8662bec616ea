"""What ``spec.plan(x)`` says beside what ``spec.fit(x)`` then takes, on an MLP, a CNN, a ResNet and a transformer.

    python benchmarks/plan.py                               # the four networks, 1,500 digits
    python benchmarks/plan.py --networks mlp --points 900

Every network is a process of its own: the plan, then the fit, then plan and run of an exact kernel. Weights are random;
the images are scikit-learn's digits, enlarged to what the network takes. What takes less than half a second is run for
half a second, and the median counts. ``peak`` is the memory above the network and the images (Linux). A share is what
was planned over what was measured.
"""

import argparse
import json
import statistics
import sys
import time
from typing import Any

import torch
from measure import MIB, in_child, peak_of
from sklearn.datasets import load_digits

import dntk
from dntk.ledger import LedgerRecorder
from dntk_studies.networks import networks

NETWORKS = {
    "mlp": ((1, 8, 8), 256),
    "cnn": ((3, 32, 32), 32),
    "resnet18": ((3, 32, 32), 16),
    "vit": ((3, 32, 32), 64),
}
COUNTS = ("forward_passes", "backward_passes", "jacobian_rows", "flops", "nbytes")
SHORT = 0.5
"""Seconds that calls which take less are repeated for, as plans measure them: the median counts."""
HEADER = (
    "call", "passes", "rows", "GFLOP planned", "measured", "share", "seconds planned", "measured", "share",
    "peak MiB planned", "measured", "share", "plan, s",
)  # fmt: skip


def digits(image: tuple[int, int, int], points: int) -> torch.Tensor:
    """The first digits, as images of another size, every pixel repeated."""
    x = torch.as_tensor(load_digits().images[:points], dtype=torch.float32)[:, None, :, :] / 16
    x = torch.nn.functional.interpolate(x, size=image[1:], mode="nearest")
    return x.repeat(1, image[0], 1, 1).contiguous()


def compared(call: str, plan: dntk.plan.Plan, run: Any) -> dict[str, Any]:
    """A plan beside the ledger and the peak of the run; ``run`` returns the ledger."""
    found: list[Any] = []
    cost = peak_of(lambda: found.append(run()))
    ledger, foreseen = found[0], plan.ledger
    total, said = ledger.total(), foreseen.total()
    seconds = [total.seconds]
    while sum(seconds) < SHORT:
        seconds.append(run().total().seconds)
    return {
        "call": call,
        "planned": {name: getattr(said, name) for name in (*COUNTS, "seconds")} | {"peak_mib": plan.memory / MIB},
        "measured": {name: getattr(total, name) for name in COUNTS}
        | {"seconds": statistics.median(seconds), "peak_mib": cost["peak_mib"]},
        "wall_s": cost["seconds"],
        "plan_s": plan.seconds,
        "stages": {stage.stage: [foreseen[stage.stage].seconds, stage.seconds] for stage in ledger.stages},
    }


def measured(name: str, points: int, kernel: int) -> list[dict[str, Any]]:
    """The rows of a network."""
    image, width = NETWORKS[name]
    torch.manual_seed(0)
    model = dntk.as_model(getattr(networks, name)(image, 10, width).eval())
    x = digits(image, points)
    spec = dntk.DistilledNTK(model)
    rows = [compared(f"{name}-{width}, fit of {points:,}", spec.plan(x), lambda: spec.fit(x).ledger)]
    few = x[:kernel]

    def exact() -> Any:
        recorder = LedgerRecorder()
        with recorder.stage("kernel"):
            dntk.ntk(model, few)
        return recorder.ledger()

    return [*rows, compared(f"{name}-{width}, kernel of {kernel:,}", dntk.plan.ntk(model, few), exact)]


def cells(row: dict[str, Any]) -> list[str]:
    """A row of the table."""
    planned, found = row["planned"], row["measured"]
    exact = all(planned[name] == found[name] for name in COUNTS[:2])
    passes = f"{found['forward_passes'] + found['backward_passes']:,}" + ("" if exact else " (planned otherwise)")
    rows = f"{found['jacobian_rows']:,}" + (
        "" if planned["jacobian_rows"] == found["jacobian_rows"] else " (otherwise)"
    )
    out = [row["call"], passes, rows]
    for name, unit in (("flops", 1e9), ("seconds", 1.0), ("peak_mib", 1.0)):
        out += [f"{planned[name] / unit:,.3g}", f"{found[name] / unit:,.3g}", f"{planned[name] / found[name]:.2f}"]
    return [*out, f"{row['plan_s']:.2g}"]


def _both(planned: int, found: int) -> str:
    """A count that was planned, and what it was where that is another."""
    return f"{planned:,}" if planned == found else f"{planned:,}, {found:,} measured"


def main() -> None:
    """Run the networks that were asked for; print a table, and rows as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--points", type=int, default=1500)
    parser.add_argument("--kernel", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--case")
    options = parser.parse_args()
    if options.case:
        torch.set_num_threads(options.threads)
        print(json.dumps(measured(options.case, options.points, options.kernel)))
        return
    rows: list[dict[str, Any]] = []
    for name in options.networks:
        start = time.perf_counter()
        found: Any = in_child([sys.executable, __file__, *sys.argv[1:], "--case", name], time_limit=600)
        if isinstance(found, dict):
            print(f"{name}: {found['why_not']}")
            continue
        rows += found
        print(json.dumps(found), f"{time.perf_counter() - start:.0f} s", flush=True)
    print("| " + " | ".join(HEADER) + " |\n|" + "---|" * len(HEADER))
    for row in rows:
        print("| " + " | ".join(cells(row)) + " |")


if __name__ == "__main__":
    main()
