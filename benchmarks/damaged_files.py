"""Reads damaged files of every kind that dntk writes, and counts what comes of it.

    python benchmarks/damaged_files.py                 # 100,000 files, some minutes
    python benchmarks/damaged_files.py --files 2000

A folder is what a file of it makes of it: of stored features and kernels, whole, half done and not yet merged, and of
checkpoints of fits, every file is damaged in turn, the folder then read, or the call that made it repeated.

Two thirds are damaged as disks and transfers do it: flipped bits, other bytes, cut off, blocks lost, doubled, zeroed or
of another file. One third were edited, in the header or the manifest, and signed again with the right checksum.

Every file has to give the library's error, or, where the damage changed nothing, the very result of the sound file. An
edited and signed file may also be read, as another sound file: what is read then has to work, or to be refused as the
same numbers would be from anywhere, too large for products of them. Anything else is counted
as *silent* (a result that differs), *foreign* (any other exception) or *hang* (more than five seconds), and is an exit
status of 1.
"""

import argparse
import collections
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import traceback
from typing import Any

from damage import damaged, edited, is_signed
from damaged_samples import Read, Sample, made

import dntk

LIMIT = 5
TOO_LARGE = ("require_products", "require_finite_result")
"""What refuses numbers whose products overflow, wherever these come from."""


class TooLongError(Exception):
    """A file took more than :data:`LIMIT` seconds."""


def main() -> int:
    """Count the outcomes of damaged files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    counts, faults = counted(options.files, seed=options.seed)
    for row, count in sorted(counts.items()):
        sys.stdout.write(f"{count:8,}  {' '.join(row)}\n")
    for fault, count in faults.most_common():
        sys.stdout.write(f"{count:8,}  {fault}\n")
    return int(bool(faults))


def counted(files: int, *, seed: int) -> tuple[collections.Counter[tuple[str, str, str]], collections.Counter[str]]:
    """How often files of a kind, damaged or signed, came to an outcome, and how often to which fault."""
    signal.signal(signal.SIGALRM, _too_long)
    counts: collections.Counter[tuple[str, str, str]] = collections.Counter()
    faults: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        samples = made(folder / "sound")
        sound = {kind: result_of(sample, folder / "again") for kind, sample in samples.items()}
        contents = [sample.content(file) for sample in samples.values() for file in sample.files or (None,)]
        for number in range(files):
            draw = random.Random(f"{seed} {number}")
            kind = draw.choice(list(samples))
            sample = samples[kind]
            file = draw.choice(sample.files) if sample.files else None
            content = sample.content(file)
            signed = number % 3 == 0 and is_signed(content)
            content = edited(content, draw) if signed else damaged(content, contents, draw)
            place = folder / f"damaged {'folder' if sample.files else 'file'}"
            sample.spoilt(place, file, content)
            outcome, text = tried(place, sample.read, sound[kind], signed=signed)
            counts[kind, "signed" if signed else "damaged", outcome] += 1
            if text:
                faults[f"{outcome} of {kind}: {text}"] += 1
    return counts, faults


def result_of(sample: Sample, place: pathlib.Path) -> bytes:
    """What a sound sample is read as: of a copy, as reading may go on with it."""
    first = sample.files[0] if sample.files else None
    sample.spoilt(place, first, sample.content(first))
    result = sample.read(place)
    shutil.rmtree(place) if sample.files else place.unlink()
    return result


def tried(path: pathlib.Path, read: Read, sound: bytes, *, signed: bool) -> tuple[str, str]:
    """What reading a file or folder came to, and in words where that is a fault."""
    signal.alarm(LIMIT)
    try:
        found = read(path)
    except dntk.StoreError:
        return "error", ""
    except TooLongError:
        return "hang", "more than five seconds"
    except (FileNotFoundError, FileExistsError) as error:
        if error.errno is None and str(path) in str(error):  # of a manifest without a byte: what is there is no store
            return "error", ""
        return "foreign", repr(error)[:300]
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        if signed and isinstance(error, ValueError) and where.name in TOO_LARGE:
            return "refused", ""
        return "foreign", f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"[:300]
    finally:
        signal.alarm(0)
    if found == sound:
        return "identical", ""
    return ("read", "") if signed else ("silent", "another result")


def _too_long(*_: Any) -> None:
    raise TooLongError


if __name__ == "__main__":
    sys.exit(main())
