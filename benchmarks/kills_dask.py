"""Workers of a Dask cluster killed at random moments: how many results are lost, or others than without.

    python benchmarks/kills_dask.py --kills 100

Two workers of one thread each make stored features, a regression by leave-one-out (three reductions), a reduction to
Frequent Directions, a choice of points, features that stay in their memory and a regression on these, and what a fit
makes of all points, in turn. Every time one of the workers, drawn at random, gets SIGKILL at a
moment drawn from the time that the call took before; Dask starts another one. The bits are compared with those of one
process without Dask. "late" are kills that came when the call had ended already.
"""

import argparse
import collections
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from distributed import LocalCluster

import dntk
from dntk.distill.data import LastLayer, RPCholesky
from dntk.distill.gradients import Streaming

POINTS, WIDTH, OUTPUTS, DIM, ROWS = 3000, 32, 3, 32, 32


def calls(folder: str, client: Any) -> Mapping[str, Callable[[], bytes]]:
    """What is done, as bytes of its result, by workers or by this process."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(64, WIDTH)).astype("f4") / WIDTH**0.5, rng.normal(size=(OUTPUTS, 64)).astype("f4") / 8
    model = dntk.MLP(weights=weights, biases=(None, None), activation="tanh")
    x, sketch = rng.normal(size=(POINTS, WIDTH)).astype("f4"), dntk.sketch.SparseSign(DIM)
    y, store = model(x), dntk.Store(f"{folder}/features", rows=ROWS)

    def stored() -> dntk.StoredFeatures:
        found = dntk.tangent_features(model, x, sketch=sketch, store=store, client=client)
        assert isinstance(found, dntk.StoredFeatures)
        return found

    def held() -> dntk.StoredFeatures:
        """In the workers' memory; without workers on the disk, in chunks of as many points."""
        if client is not None:
            return dntk.tangent_features(model, x, sketch=sketch, client=client)
        alone = f"{folder}/held"
        dntk.tangent_features(model, x, sketch=sketch, store=alone, shard=(0, 1))
        return dntk.StoredFeatures(alone)

    spec = dntk.DistilledNTK(model, data=LastLayer(RPCholesky(50)), sketch=sketch, gradients=None)

    def features() -> bytes:
        shutil.rmtree(store.path, ignore_errors=True)
        return bytes(stored().values.tobytes())

    return {
        "features": features,
        "ridge": lambda: bytes(dntk.solve.ridge(opened(store, client), y).weights.tobytes()),
        "streaming": lambda: bytes(Streaming(8).stream(opened(store, client).paired(y)).rows.tobytes()),
        "points": lambda: bytes(RPCholesky(20, block=20).select(opened(store, client)).indices.tobytes()),
        "held": lambda: bytes(dntk.solve.ridge(held(), y, ridge=0.1).weights.tobytes()),
        "fit": lambda: bytes(spec.fit(x, client=client).predict(x[:100]).tobytes()),
    }


def opened(store: dntk.Store, client: Any) -> dntk.StoredFeatures:
    """The features on the disk."""
    return dntk.StoredFeatures(store.path, client=client)


def killed_during(call: Callable[[], bytes], cluster: Any, after: float, draw: random.Random) -> tuple[bytes, bool]:
    """The result of a call during which a worker is killed, and whether the call ran still when it was."""
    over, on_time = threading.Event(), list[bool]()

    def kill() -> None:
        time.sleep(after)
        pids = [nanny.pid for nanny in cluster.workers.values() if nanny.pid]
        on_time.append(not over.is_set())
        if pids:
            os.kill(draw.choice(pids), signal.SIGKILL)
        while not over.wait(20):  # Dask's nannies may give up where starting takes long: the call waits for workers
            if not cluster.scheduler.workers:
                cluster.scale(2)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        result = call()
    finally:
        over.set()
        thread.join()
    return result, on_time[0]


def run(kills: int, seed: int) -> collections.Counter[str]:
    """Counts of what came of the kills."""
    draw, found = random.Random(seed), collections.Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        expected = {name: call() for name, call in calls(f"{folder}/alone", None).items()}
        while found["kills"] < kills:
            found["clusters"] += 1
            with LocalCluster(2, threads_per_worker=1, dashboard_address=":0") as own, own.get_client() as client:
                on_one_cluster(calls(f"{folder}/run", client), expected, kills, own, draw, found)
    return found


def on_one_cluster(
    by_workers: Mapping[str, Callable[[], bytes]],
    expected: Mapping[str, bytes],
    kills: int,
    cluster: Any,
    draw: random.Random,
    found: collections.Counter[str],
) -> None:
    """Kill until there are enough, or the cluster's nanny has given up a worker that was killed while it started."""
    seconds = {}
    for name, call in by_workers.items():
        start = time.perf_counter()
        assert call() == expected[name]
        seconds[name] = time.perf_counter() - start
    while found["kills"] < kills:
        name = list(by_workers)[found["kills"] % len(by_workers)]
        deadline = time.perf_counter() + 120
        while len(cluster.scheduler.workers) < 2:
            if time.perf_counter() > deadline:
                return
            time.sleep(1)
            cluster.scale(2)  # starts what a nanny gave up
        found["kills"] += 1
        try:
            result, on_time = killed_during(by_workers[name], cluster, draw.random() * seconds[name], draw)
            fate = "same" if result == expected[name] else "DIFFERENT"
            found[f"{name}: late"] += not on_time
        except Exception as error:  # what is lost is counted
            fate = "lost"
            sys.stderr.write(f"{name}: {type(error).__name__}: {error}\n")
        found[f"{name}: {fate}"] += 1
        sys.stdout.write(f"{found['kills']} {name}: {fate}\n")  # so that a run that is cut off has said something
        sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    for name, number in sorted(run(chosen.kills, chosen.seed).items()):
        sys.stdout.write(f"{name:>20} {number:>5}\n")


if __name__ == "__main__":
    main()
