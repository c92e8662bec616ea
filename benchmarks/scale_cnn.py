"""Time, memory and disk of a small CNN's features on the disk, over the number of points.

    python benchmarks/scale_cnn.py --data-dir DIR --points 1000 10000 100000      # a table, and exponents in n
    python benchmarks/scale_cnn.py --data-dir DIR --points 10000 --json rows.json

Pictures of CIFAR-10; beyond these 49,700 points the same ones, moved by up to four pixels and reflected, as their
number says. Features of 64 numbers for ten outputs, at a memory limit of 128 MiB. Every number of points runs in a
process of its own with one thread. Seconds are those of its processor, for a machine that does other things, too. MiB
are the largest resident set up to the end of a stage, less that before the first one: "store" makes the features,
"ridge" is a regression with leave-one-out, which keeps targets and α, 2·n·C numbers. Pictures are read one by one:
pages of a memory map would count as resident.
"""

import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

OUTPUTS, DIM, LIMIT = 10, 64, 2**27


class Augmented:
    """Pictures and, beyond their number, variants of them; the same ones whenever they are read."""

    def __init__(self, path: str, n: int) -> None:
        self.n, self.file = n, open(path, "rb", buffering=0)  # noqa: SIM115 (as long as the process)
        np.lib.format.read_magic(self.file)
        (self.count, *self.shape), _, self.dtype = np.lib.format.read_array_header_1_0(self.file)
        self.start, self.bytes = self.file.tell(), math.prod(self.shape)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> Any:
        variant, place = divmod(i, self.count)
        found = os.pread(self.file.fileno(), self.bytes, self.start + place * self.bytes)
        picture = np.frombuffer(found, self.dtype).reshape(self.shape)
        if variant:
            down, right = divmod(variant // 2, 5)
            picture = np.roll(picture[:, :, :: -1 if variant % 2 else 1], (down % 5, right), axis=(1, 2))
        return picture.astype(np.float32) / np.float32(127.5) - 1


def pictures_of(directory: str, folder: str) -> pathlib.Path:
    """A file of the pictures as bytes (n, 3, 32, 32)."""
    from dntk_studies.datasets import cifar10

    path = pathlib.Path(folder) / "pictures.npy"
    x = cifar10(train=None, validation=300, directory=directory).train.x
    np.save(path, np.round((x - x.min()) / (x.max() - x.min()) * 255).astype(np.uint8))
    return path


def network() -> Any:
    """Three convolutions of 16 channels and a linear layer, about 5,000 parameters."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    layers = [module for i in (3, 16, 16) for module in (torch.nn.Conv2d(i, 16, 3, 2, 1), torch.nn.ReLU())]
    head = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(16, OUTPUTS)
    return torch.nn.Sequential(*layers, *head).eval()


def peak() -> float:
    """The largest resident set so far, in MiB; ``getrusage`` has that of the process that started this one, too."""
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measured(n: int, pictures: str) -> dict[str, float]:
    """Seconds and memory of every stage, and what the folder takes in units of the features."""
    import torch

    import dntk

    model = dntk.as_model(network())
    x, few = (dntk.points(Augmented(pictures, size)) for size in (n, 256))
    sketch, found = dntk.sketch.SparseSign(DIM), {"points": float(n)}
    y = torch.asarray(np.random.default_rng(1).normal(size=(n, OUTPUTS)).astype("f4"))
    before = peak()
    dntk.tangent_features(model, few, sketch=sketch, batch_size=64)  # what is loaded and compiled once

    def stage(name: str, call: Callable[[], Any]) -> Any:
        start = time.process_time()
        result = call()
        found[name], found[f"{name} MiB"] = time.process_time() - start, peak() - before
        return result

    with tempfile.TemporaryDirectory() as folder:
        store = dntk.Store(f"{folder}/run")
        phi = stage("store", lambda: dntk.tangent_features(model, x, sketch=sketch, store=store, memory_limit=LIMIT))
        stage("ridge", lambda: dntk.solve.ridge(phi, y))
        files = sum(os.path.getsize(os.path.join(place, name)) for place, _, names in os.walk(folder) for name in names)
        found["disk"] = files / (4.0 * OUTPUTS * n * DIM)
    return found


def table(rows: list[dict[str, float]]) -> str:
    """One line for every number of points, and exponents of the seconds between neighbours."""
    names = ["store", "ridge"]
    lines = [f"{'points':>9}" + "".join(f"{name + ', s':>11}{'MiB':>7}{'exp':>6}" for name in names) + f"{'disk':>8}"]
    for before, row in zip([None, *rows], rows, strict=False):
        parts = []
        for name in names:
            exponent = "-" if before is None else f"{_exponent(before, row, name):.2f}"
            parts.append(f"{row[name]:>11.1f}{row[f'{name} MiB']:>7.0f}{exponent:>6}")
        lines.append(f"{row['points']:>9,.0f}{''.join(parts)}{row['disk']:>8.3f}")
    return "\n".join(lines) + "\n"


def _exponent(before: dict[str, float], row: dict[str, float], name: str) -> float:
    return float(np.log(row[name] / before[name]) / np.log(row["points"] / before["points"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--data-dir")
    parser.add_argument("--json")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        sys.stdout.write(json.dumps(measured(int(chosen.child[0]), chosen.child[1])) + "\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        pictures, rows = pictures_of(chosen.data_dir, folder), []
        for n in chosen.points:
            command = [sys.executable, __file__, "--child", str(n), str(pictures)]
            environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            sys.stderr.write(f"{rows[-1]}\n")
    sys.stdout.write(table(rows))
    if chosen.json:
        pathlib.Path(chosen.json).write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
