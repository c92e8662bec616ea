"""What ``DistilledNTK(model).fit(x)`` takes and keeps, all defaults, on networks trained on CIFAR-10.

    python benchmarks/whole.py --data-dir DIR            # ResNet-18 of width 16: 3,000, 10,000 and 49,700 points
    python benchmarks/whole.py --data-dir DIR --networks cnn-32 vit-64 --points 3000 --exact 3000

    python benchmarks/whole.py --data-dir DIR --networks resnet18-64 --points 3000 --test 100 --taught 2000 --epochs 2

Every case is a process of its own. ``peak`` is the memory above the network and the images; ``floor`` that of
``floor.py`` on the same images as ``predict``, medians of three, in turn; with ``--exact`` the regression on all of so
many points, by features in the sketch of the fit and their kernels, says what fidelity costs, at the ridge of the fit
or, with ``--exact-ridge loo``, at its own. Fidelity is always
that on 1,000 test images; ``--test`` says on how many of them predictions are timed. ``--seeds`` are of the fit, not
of the network, which is trained once into ``--networks-dir``, on ``--taught`` images; ``--epochs`` are fewer where
training would take hours, for what a fit costs and not for what it keeps.
"""

import argparse
import itertools
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from floor import in_batches
from measure import in_child, interleaved, peak_of, timed

import dntk
from dntk_studies.datasets import cifar10
from dntk_studies.networks import TrainingPlan, find_trainer

TEST = 1000
PART = 250  # test images whose features are held at once
PLANS = {
    "resnet18": {"epochs": 6, "rate": 0.2, "flip": True, "shift": 4},
    "cnn": {"epochs": 8, "rate": 3e-3, "decay": 1e-2, "flip": True},
    "vit": {"epochs": 6, "rate": 1e-3, "decay": 5e-2, "flip": True},
}
COLUMNS = ("network", "points", "seed", "kept", "k", "fit_s", "peak_mib", "rows", "fidelity")
TIMES = ("predict_s", "floor_s", "query_s")


def trained(
    name: str, data: Any, folder: Path, *, taught: int = 10_000, epochs: int | None = None, seed: int = 0
) -> dntk.Model:
    """The network ``architecture-width``, from the folder or trained into it."""
    architecture, width = name.split("-")
    settings = PLANS[architecture] | ({} if epochs is None else {"epochs": epochs})
    plan = TrainingPlan(architecture=architecture, width=int(width), **settings)
    x, y = data.train.x[:taught], data.train.y[:taught]
    _, trainer = find_trainer()
    place = folder / (f"{name}-{seed}" if seed else name)
    return trainer.train(plan, x, y, classes=10, seed=seed, folder=place, progress=lambda _: None).model


def measured(name: str, points: int, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """One case."""
    data = cifar10(train=None, validation=300, directory=options.data_dir)
    model = trained(name, data, options.networks_dir, taught=options.taught, epochs=options.epochs)
    x, test = torch.from_numpy(data.train.x[:points]), torch.from_numpy(data.test.x[:TEST])
    found: list[dntk.Fit] = []
    cost = peak_of(lambda: found.append(dntk.DistilledNTK(model, seed=seed).fit(x)))
    fit = found[0]
    row = {
        "network": name,
        "points": points,
        "seed": seed,
        "kept": fit.losses.kept_points,
        "k": fit.weights.shape[1],
        "fit_s": cost["seconds"],
        "peak_mib": cost["peak_mib"],
        "rows": fit.ledger.total().jacobian_rows,
        "fidelity": fit.fidelity(test),
        **_prediction(model, test[: options.test], fit),
        "query_s": timed(lambda: fit.query(test[: options.test])),
        "stages": {stage.stage: round(stage.seconds, 2) for stage in fit.ledger.stages},
        "losses": str(fit.losses),
    }
    if options.exact:
        row |= _all_points(model, x[: options.exact], test, fit, options.exact_ridge == "loo")
    return row


def _prediction(model: dntk.Model, test: torch.Tensor, fit: dntk.Fit) -> dict[str, float]:
    """Medians of three, in turn; of the floor the best over batches of 32 and 128."""
    module: Any = model
    floors = {str(size): in_batches(module.module, test, size) for size in (32, 128)}
    works = {"predict": lambda: fit.predict(test), **floors}
    seconds = {way: statistics.median(each) for way, each in interleaved(works, dict.fromkeys(works, 3)).items()}
    return {"predict_s": seconds["predict"], "floor_s": min(seconds[size] for size in floors)}


def _all_points(
    model: dntk.Model, x: torch.Tensor, test: torch.Tensor, fit: dntk.Fit, own_ridge: bool
) -> dict[str, Any]:
    """Without an estimator, which keeps room for bases of all features; 4·C·n·k bytes, and 8·C·n² of kernels."""
    whole: list[dntk.solve.RidgeFit] = []
    ridge = "loo" if own_ridge else fit.ridge

    def fitted() -> None:
        phi = dntk.tangent_features(model, x, sketch=fit.sketch)
        whole.append(dntk.solve.ridge(phi, model(x), ridge=ridge))

    cost = peak_of(fitted)
    parts = [whole[0].predict(dntk.tangent_features(model, part, sketch=fit.sketch)) for part in test.split(PART)]
    same = dntk.metrics.fidelity(torch.cat(parts), model(test))
    return {
        "all_points": len(x),
        "all_ridge": whole[0].ridge,
        "all_fit_s": cost["seconds"],
        "all_peak_mib": cost["peak_mib"],
        "all_fidelity": same,
        "kept_of_all": fit.fidelity(test) / same,
    }


def main() -> None:
    """Run the cases that were asked for, and print a table and their rows as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--networks-dir", type=Path, default=Path("whole-networks"))
    parser.add_argument("--networks", nargs="+", default=["resnet18-16"])
    parser.add_argument("--points", nargs="+", type=int, default=[3000, 10_000, 49_700])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--test", type=int, default=TEST)
    parser.add_argument("--taught", type=int, default=10_000)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--exact", type=int, default=0)
    parser.add_argument("--exact-ridge", choices=("fit", "loo"), default="fit")
    parser.add_argument("--case", nargs=3)
    options = parser.parse_args()
    if options.case:
        name, points, seed = options.case
        torch.set_num_threads(2)
        print(json.dumps(measured(name, int(points), int(seed), options)))
        return
    rows = []
    for name, points, seed in itertools.product(options.networks, options.points, options.seeds):
        command = [sys.executable, __file__, *sys.argv[1:], "--case", name, str(points), str(seed)]
        rows.append({"network": name, "points": points, "seed": seed, **in_child(command, time_limit=3600)})
        print(json.dumps(rows[-1], indent=1), flush=True)
    columns = COLUMNS + TIMES
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(_cell(row.get(column, row.get("why_not", ""))) for column in columns) + " |")


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
