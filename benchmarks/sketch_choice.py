"""The plan of ``dntk.sketch.choose`` against every family at the size that it needs, and against the exact kernel.

    python benchmarks/sketch_choice.py                          # twelve networks, about ten minutes of one core
    python benchmarks/sketch_choice.py --networks mlp-64 vit-32 --inputs 64

For every network the mean kernel of some inputs is made with a relative error of 5% at 95% confidence: by features of
``SparseSign``, ``TensorSketch`` and ``Mixed``, each of the least power of two that meets the error, and exactly. Times
are those of the processor with one thread, which other work on the machine changes little: the best of some
repetitions, the ways taking turns. ``chosen`` is the way that the plan recommends, and its time that way's.
``sketch`` is the family of the plan, compared with the best family. ``auto`` is ``sketch="auto"``, whose time is
compared with ``SparseSign`` of as many features as it starts from. Weights and images are random; ``cnn1`` is three
convolutions with kernels of 1.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import dntk
from dntk.sketch import SparseSign, automatic, choice, choose
from dntk.sketch.resolution import LARGEST, LEAST
from dntk_studies.networks.networks import ARCHITECTURES

NETWORKS = (
    *("mlp-8", "mlp-64", "mlp-512", "cnn-8", "cnn-32", "cnn-64"),
    *("cnn1-16", "cnn1-64", "cnn1-128", "resnet18-8", "vit-32", "vit-64"),
)
ERROR, CONFIDENCE, OUTPUTS = 0.05, 0.95, 10


def network(name: str) -> nn.Module:
    """A network of :mod:`dntk_studies`, or one of convolutions with kernels of 1."""
    kind, width = name.split("-")
    if kind != "cnn1":
        return ARCHITECTURES[kind].build((3, 32, 32), OUTPUTS, int(width)).eval()
    w = int(width)
    layers = [nn.Conv2d(3, w, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(w, w, 1), nn.ReLU(), nn.MaxPool2d(2)]
    end = [nn.Conv2d(w, w, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(w, OUTPUTS)]
    return nn.Sequential(*layers, *end).eval()


def families(model: Any, x: torch.Tensor, n: int) -> dict[str, Any]:
    """The sketch of every family that meets the error, of those that do at a size that is tried."""
    seen = choice.probe(model, x[:8], "each", n)
    budget = (ERROR / choice.deviations(CONFIDENCE)) ** 2
    found = {
        "SparseSign": choice._sparse(seen, budget, None, 0),
        "TensorSketch": choice._tensor(seen, budget, None, 0),
        "Mixed": choice._mixed(seen, budget, None, 0),
    }
    return {name: option.sketch for name, option in found.items() if option is not None}


def contest(name: str, n: int, repeats: int) -> dict[str, Any]:
    """Processor milliseconds an input of every way, and how the choice compares."""
    torch.manual_seed(0)
    model, x = dntk.as_model(network(name)), torch.rand(n, 3, 32, 32)
    plan, auto = choose(model, x, n=n, error=ERROR, confidence=CONFIDENCE), automatic(model, x, n=n)

    def kernel_by(sketch: Any) -> Callable[[], Any]:
        return lambda: dntk.tangent_features(model, x, sketch=sketch).kernel()

    plain = SparseSign(min(LARGEST, max(LEAST, 1 << (4 * n - 1).bit_length())))
    own = {way: kernel_by(sketch) for way, sketch in families(model, x, n).items()}
    ways = own | {"exact": lambda: dntk.ntk(model, x)}
    if auto is not None:
        ways |= {"auto": kernel_by(auto.sketch), "plain": kernel_by(plain)}
    spent = {way: 1e3 * seconds / n for way, seconds in interleaved(ways, repeats).items()}
    chosen = "exact" if plan.exact_is_cheaper else type(plan.sketch).__name__
    best = min((way for way in spent if way not in ("auto", "plain")), key=lambda way: spent[way])
    row: dict[str, Any] = {"network": name, "parameters": model.n_parameters}
    row |= {way: spent.get(way) for way in ("SparseSign", "TensorSketch", "Mixed", "exact")}
    row |= {"chosen": chosen, "over best": spent[chosen] / spent[best]}
    family = type(plan.sketch).__name__
    row |= {"sketch": family, "over best sketch": spent[family] / min(spent[way] for way in own)}
    row |= {"auto": None if auto is None else f"{type(auto.sketch).__name__} {auto.sketch.dim}"}
    return row | {"auto over plain": None if auto is None else spent["auto"] / spent["plain"]}


def interleaved(ways: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """The least processor seconds of every way, the ways taking turns."""
    found = dict.fromkeys(ways, float("inf"))
    for _ in range(repeats):
        for way, work in ways.items():
            start = time.process_time()
            work()
            found[way] = min(found[way], time.process_time() - start)
    return found


def main() -> None:
    """Print a row for every network, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--inputs", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in options.networks:
        rows.append(contest(name, options.inputs, options.repeats))
        print(json.dumps(rows[-1]), flush=True)
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()) + " |")


if __name__ == "__main__":
    main()
