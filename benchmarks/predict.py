"""What a prediction of all outputs takes, by every way to it, in multiples of the floor.

    python benchmarks/predict.py                         # MLP, CNN, ResNet-18 of width 16, transformer; minutes
    python benchmarks/predict.py --networks cnn-32 --outputs 1 10

Ways: ``product`` is what ``Fit.predict`` does after its first call, the gradients' factors times the distilled weights;
``features`` makes the sketched features and multiplies them with the weights; ``JVPs`` is one sweep of forward mode for
every output, along Sᵀw_c, all inputs together; ``one sweep`` is what a fit with ``regression=Joint()`` does, whose
outputs have one weight vector: another answer, compared with its own features. The floor is that of ``floor.py``, the
best over batches of 32 and 128. All are of one process, repetitions in a rotating order; the median of each is compared
with the median of the floor, and every way's answer with that of the features. Networks have random weights and random
inputs: no time depends on them.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from typing import Any

import torch
from floor import in_batches
from measure import interleaved, relative_error

import dntk
from dntk.estimator._prediction import linear_outputs
from dntk.estimator.linear_weights import LinearWeights
from dntk.sketch import automatic
from dntk.sketch.application import bind
from dntk_studies.networks.networks import ARCHITECTURES

NETWORKS = ("mlp-256", "cnn-32", "resnet18-16", "vit-64")
BATCHES = (32, 128)
KEPT = 500  # points of the fit whose sketch is used


def contest(name: str, outputs: int, n: int, repeats: int) -> dict[str, Any]:
    """Median seconds of every way for ``n`` inputs."""
    torch.manual_seed(0)
    architecture, width = name.split("-")
    net = ARCHITECTURES[architecture].build((3, 32, 32), outputs, int(width)).eval()
    x, model = torch.rand(n, 3, 32, 32), dntk.as_model(net)
    found = automatic(model, x, n=KEPT)
    sketch = None if found is None else bind(found.sketch, model)
    weights = torch.randn(outputs, model.n_parameters if sketch is None else sketch.dim)
    linear = LinearWeights(weights, sketch)
    whole = linear.in_parameters()
    every = torch.arange(outputs)

    def by_features() -> Any:
        return (dntk.tangent_features(model, x, sketch=sketch).values @ weights[:, :, None])[:, :, 0].T

    ways: dict[str, Callable[[], Any]] = {
        "product": lambda: linear_outputs(model, x, linear),
        "features": by_features,
        "JVPs": lambda: model.jvp(x, whole)[every, :, every].T,
    }
    reference = by_features()
    errors = {way: relative_error(work(), reference.double()) for way, work in ways.items()}
    joint = LinearWeights(weights[:1], sketch)
    ways["one sweep"] = lambda: linear_outputs(model, x, joint)
    together = (dntk.tangent_features(model, x, sketch=sketch).values @ weights[0]).T
    errors["one sweep"] = relative_error(ways["one sweep"](), together.double())
    floors = {f"floor {size}": in_batches(net, x, size) for size in BATCHES}
    works = floors | ways
    seconds = interleaved(works, dict.fromkeys(works, repeats))
    medians = {way: statistics.median(each) for way, each in seconds.items()}
    floor = min(medians[way] for way in floors)
    row: dict[str, Any] = {"network": name, "outputs": outputs, "sketch": str(sketch and type(sketch).__name__)}
    row |= {"floor_ms": 1e3 * floor / n}
    return row | {way: medians[way] / floor for way in ways} | {"error": max(errors.values())}


def main() -> None:
    """Print a row for every network and number of outputs, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--outputs", nargs="+", type=int, default=[10])
    parser.add_argument("--inputs", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    rows = []
    for name in options.networks:
        for outputs in options.outputs:
            rows.append(contest(name, outputs, options.inputs, options.repeats))
            print(json.dumps(rows[-1]), flush=True)
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()) + " |")


if __name__ == "__main__":
    main()
