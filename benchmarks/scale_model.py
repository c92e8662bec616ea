"""What features of any number of points move, keep and lose: a model, and nothing that runs.

    python benchmarks/scale_model.py                      # the table of docs/scale.md

Counts (chunks, rows, bytes, tasks, messages) follow from the sizes alone and are compared with a small run by
`tests/test_scale_model.py`. Seconds follow from four rates that are given, and are as good as these.
"""

import argparse
import dataclasses
import math
import sys

from dntk.stores import FAN
from dntk.stores.layout import rows_of_chunk

RECORD = 600
"""Bytes of a chunk's record, its name included, at most."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """Sizes of a run.

    Parameters
    ----------
    points, outputs, dim, parameters
        n, C, k, P.
    point_nbytes
        Of one input.
    rows_of_stream
        Rows of Frequent Directions.
    itemsize
        Bytes of a stored number; 4 for float32, 2 for bfloat16.
    rows
        Points of a chunk; None: as dntk chooses.
    """

    points: int
    outputs: int
    dim: int
    parameters: int
    point_nbytes: int = 3072
    rows_of_stream: int = 64
    itemsize: int = 4
    rows: int | None = None

    @property
    def chunk_rows(self) -> int:
        """Points of a chunk."""
        return rows_of_chunk(self.points, self.outputs * self.dim * 4) if self.rows is None else self.rows

    @property
    def chunks(self) -> int:
        """Chunks, which are what a worker makes, loses, and makes again."""
        return -(-self.points // self.chunk_rows)

    @property
    def chunk_nbytes(self) -> int:
        """Bytes of a chunk on the disk, checksum included."""
        return self.outputs * self.chunk_rows * self.dim * self.itemsize + 4

    @property
    def jacobian_rows(self) -> int:
        """Gradients of one output at one point that are evaluated."""
        return self.points * self.outputs

    @property
    def store_nbytes(self) -> int:
        """Bytes of the folder, the last chunk filled up, at most."""
        return self.chunks * (self.chunk_nbytes + RECORD)

    @property
    def feature_nbytes(self) -> int:
        """Bytes of the features alone."""
        return self.jacobian_rows * self.dim * self.itemsize

    @property
    def statistics_nbytes(self) -> int:
        """Bytes of ΦᵀΦ, Φᵀy and Σy² of all outputs, in float64: a message of a regression's first pass."""
        return 8 * self.outputs * (self.dim**2 + self.dim + 1)

    @property
    def stream_nbytes(self) -> int:
        """Bytes of the rows and of Ψᵀy: a message of Frequent Directions."""
        return 8 * self.outputs * self.dim * (self.rows_of_stream + 1)

    def messages(self, workers: int) -> int:
        """Results that travel from task to task in one pass that merges: whole branches where there are enough."""
        level = -(-self.chunks // FAN) if self.chunks >= 2 * FAN * workers else self.chunks
        total = 0
        while level > 1:
            total, level = total + level, -(-level // FAN)
        return total

    def tasks(self, workers: int) -> int:
        """Tasks of making the features and of one pass over them."""
        level = -(-self.chunks // FAN) if self.chunks >= 2 * FAN * workers else self.chunks
        total = self.chunks + level
        while level > 1:
            level = -(-level // FAN)
            total += level
        return total

    @property
    def depth(self) -> int:
        """Levels of the tree: of so many the results exist at a time where one process merges."""
        return max(1, math.ceil(math.log(self.chunks, FAN) - 1e-12)) if self.chunks > 1 else 1

    def weights_nbytes(self, workers: int) -> int:
        """Bytes of weights, float32, that reach workers; the scheduler sends them once, workers to each other then."""
        return 4 * self.parameters * workers

    @property
    def inputs_nbytes(self) -> int:
        """Bytes of points that travel where they are not on a disk that all share."""
        return self.points * self.point_nbytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rates:
    """What one worker does, and how often one is lost.

    Parameters
    ----------
    rows_per_second
        Jacobian rows of a worker, sketched and stored.
    disk, network
        Bytes per second of a worker.
    seconds_between_losses
        Of one worker, on average.
    """

    rows_per_second: float
    disk: float = 5e8
    network: float = 1.25e9
    seconds_between_losses: float = 30 * 86400.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Forecast:
    """Seconds of a case on workers, and what losses add."""

    features: float
    reading: float
    moving: float
    lost: float
    again: float

    @staticmethod
    def of(case: Case, rates: Rates, workers: int) -> "Forecast":
        """A case with so many workers.

        A worker that is lost costs half a chunk and the weights again; ``again`` are these seconds of one worker, over
        all losses, and ``lost`` their number.
        """
        features = case.jacobian_rows / rates.rows_per_second / workers
        moved = case.weights_nbytes(workers) + case.messages(workers) * case.statistics_nbytes
        reading = case.feature_nbytes / rates.disk / workers
        moving = moved / rates.network / workers
        lost = (features + reading + moving) * workers / rates.seconds_between_losses
        chunk = case.chunk_rows * case.outputs / rates.rows_per_second
        again = lost * (chunk / 2 + 4 * case.parameters / rates.network)
        return Forecast(features=features, reading=reading, moving=moving, lost=lost, again=again)


CASES = {
    "10³, small": (Case(points=10**3, outputs=10, dim=64, parameters=9_472, point_nbytes=256), 1),
    "10⁶, small": (Case(points=10**6, outputs=10, dim=64, parameters=9_472, point_nbytes=256), 2),
    "10⁷, 10⁸": (Case(points=10**7, outputs=10, dim=2048, parameters=10**8), 64),
    "10⁸, 10⁹": (Case(points=10**8, outputs=1, dim=4096, parameters=10**9), 256),
    "10⁹, 10¹⁰": (Case(points=10**9, outputs=1, dim=4096, parameters=10**10), 1024),
    "10⁹, 10¹⁰, 16 bits": (Case(points=10**9, outputs=1, dim=4096, parameters=10**10, itemsize=2), 1024),
}
"""Points and parameters, and workers."""


def size(nbytes: float) -> str:
    """Bytes in words, three digits."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if nbytes < 1000:
            return f"{nbytes:.3g} {unit}"
        nbytes /= 1000
    return f"{nbytes:.3g} PB"


def table() -> str:
    """The cases as Markdown."""
    head = ["n, P", "workers", "chunks", "rows", "store", "weights moved", "message of ΦᵀΦ", "moved in a pass", "tasks"]
    lines = [head, ["---"] + ["---:"] * (len(head) - 1)]
    for name, (case, workers) in CASES.items():
        moved = case.messages(workers) * case.statistics_nbytes
        numbers = [f"{workers:,}", f"{case.chunks:,}", f"{case.jacobian_rows:.0e}".replace("e+", "e")]
        sizes = [case.store_nbytes, case.weights_nbytes(workers), case.statistics_nbytes, moved]
        lines.append([name, *numbers, *map(size, sizes), f"{case.tasks(workers):,}"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    sys.stdout.write(table())


if __name__ == "__main__":
    main()
