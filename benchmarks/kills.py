"""Kills every long call at random moments, lets it go on, and counts what is lost.

    python benchmarks/kills.py                 # 300 kills of every call; kinds of fits share theirs
    python benchmarks/kills.py --kills 30 --call save

A child process saves, fits, distils, solves, stores, trains or runs a configuration, until SIGKILL; the next one goes
on where it was. What is on the disk after every kill has to be whole, and what a run ends with has to be, to the last
bit, what it ends with undisturbed. Anything else is *lost* or *different*, and an exit status of 1; so is what killed
writers left beside their files, if it is still there after the run that ended. The calls are in kills_calls.py.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # beside other runs, threads wait for each other

import argparse
import collections
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from kills_calls import FITS, Reader, calls

import dntk
from dntk import stores
from dntk.archive import read

_FOR_NOW = (".part", ".lock")
"""Endings of what is written, or held, and is gone with the next run that ends."""
_PATIENCE = 5
"""Kills in succession after which a run gets half as much time again."""


def main() -> int:
    """Count what kills came to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--call", choices=calls(), action="append", help="only these; default: all")
    options = parser.parse_args()
    bad = 0
    for name in options.call or calls():
        share = len(FITS) if name.startswith("fit") else 1
        counts = counted(name, -(-options.kills // share), seed=options.seed)
        sys.stdout.write(f"{name}: {', '.join(f'{count:,} {what}' for what, count in sorted(counts.items()))}\n")
        sys.stdout.flush()
        bad += counts["lost"] + counts["different"] + counts["left behind"]
    return int(bool(bad))


def counted(name: str, kills: int, *, seed: int) -> collections.Counter[str]:
    """How often kills of a call came to which outcome."""
    call, readers = calls()[name]
    counts: collections.Counter[str] = collections.Counter()
    draw = random.Random(f"{seed} {name}")
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        for _ in range(2):  # the first time takes longer
            emptied(place)
            start = time.perf_counter()
            expected = call(place / "run")
            seconds = time.perf_counter() - start
        emptied(place)
        unfinished = 0
        while counts["killed"] < kills:
            # A machine that has become busier than when it was timed would never let a run end: it gets more time.
            span = 1.1 * seconds * 1.5 ** (unfinished // _PATIENCE)
            unfinished += 1
            if killed(lambda: call(place / "run"), draw.uniform(0, span)):
                counts["killed"] += 1
                counts["whole" if whole(place, readers) else "lost"] += 1
                continue
            unfinished = 0
            counts["finished" if call(place / "run") == expected else "different"] += 1
            left = [path.name for path in place.rglob("*") if path.suffix in _FOR_NOW]
            sys.stdout.writelines(f"left behind: {name}\n" for name in left)
            counts["left behind"] += len(left)
            emptied(place)
    return +counts


def killed(call: Callable[[], Any], seconds: float) -> bool:
    """Whether a child process that runs the call was still at it after some time, and was killed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            call()
            status = 0
        finally:
            os._exit(status)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        message = "a run that goes on fails: its error is above"
        raise AssertionError(message)
    return os.WIFSIGNALED(status)


def whole(place: pathlib.Path, readers: tuple[Reader, ...]) -> bool:
    """Whether every file under a folder can be read, but for what is being written."""
    for path in place.rglob("*"):
        if stores.folder.VALUES in str(path):  # a chunk counts by its record, and is compared with it below
            continue
        if path.is_file() and path.suffix not in _FOR_NOW and not any(readable(path, reader) for reader in readers):
            return False
    return all(sound(path) for path in place.rglob("chunks/*"))


def sound(record: pathlib.Path) -> bool:
    """Whether a chunk of stored features is what its record says."""
    try:
        folder = stores.StoreFolder(
            record.parent.parent, read(record.parent.parent / "manifest", stores.manifest.FORMAT)
        )
        folder.verify(int(record.name))
    except (dntk.StoreError, ValueError):
        return record.suffix == ".part"
    return True


def readable(path: pathlib.Path, reader: Reader) -> bool:
    """Whether a reader takes a file."""
    try:
        reader(path)
    except (dntk.StoreError, ValueError):
        return False
    return True


def emptied(place: pathlib.Path) -> None:
    """Remove everything in a folder."""
    for path in place.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    sys.exit(main())
