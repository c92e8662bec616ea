"""Reads damaged files of every kind that dntk writes, and counts what comes of it.

    python benchmarks/damaged_files.py                 # 100,000 files, some minutes
    python benchmarks/damaged_files.py --files 2000

Two thirds are damaged as disks and transfers do it: flipped bits, other bytes, cut off, blocks lost, doubled, zeroed or
of another file. One third were edited, in the header or the manifest, and signed again with the right checksum.

Every file has to give the library's error, or, where the damage changed nothing, the very result of the sound file. An
edited and signed file may also be read, as another sound file: what is read then has to work. Anything else is counted
as *silent* (a result that differs), *foreign* (any other exception) or *hang* (more than five seconds), and is an exit
status of 1.
"""

import argparse
import collections
import hashlib
import pathlib
import random
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

import dntk
from dntk.distill.data import DistilledData, Random, TangentResidual
from dntk.distill.gradients import Solution

LIMIT = 5
_DIGEST = slice(35, 99)
_NUMBERS = (
    b"-1",
    b"0",
    b"1",
    b"2147483648",
    b"9" * 30,
    b"NaN",
    b"Infinity",
    b"1e999",
    b"null",
    b"true",
    b"[]",
    b'\\"a\\"',
)

Read = Callable[[pathlib.Path], bytes]


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
        samples = made(folder)
        sound = {kind: read(folder / kind) for kind, read in samples.items()}
        contents = {kind: (folder / kind).read_bytes() for kind in samples}
        for number in range(files):
            draw = random.Random(f"{seed} {number}")
            kind = draw.choice(list(samples))
            signed = number % 3 == 0
            content = edited(contents[kind], draw) if signed else damaged(contents[kind], contents, draw)
            outcome, text = tried(folder / "damaged", content, samples[kind], sound[kind], signed=signed)
            counts[kind, "signed" if signed else "damaged", outcome] += 1
            if text:
                faults[f"{outcome} of {kind}: {text}"] += 1
    return counts, faults


def made(folder: pathlib.Path) -> dict[str, Read]:
    """A sound file of every kind in the folder, and how its kind is read, to bytes that tell results apart."""
    rng = np.random.default_rng(0)
    weights = (rng.normal(size=(5, 4)).astype("f4"), rng.normal(size=(2, 5)).astype("f4"))
    model = dntk.MLP(weights=weights, biases=(rng.normal(size=5).astype("f4"), None), activation="tanh")
    x, y = rng.normal(size=(30, 4)).astype("f4"), rng.integers(0, 2, size=30)
    chunks = [(x[:15], y[:15, None].astype("f4")), (x[15:], y[15:, None].astype("f4"))]
    sketch = dntk.sketch.SparseSign(8, seed=3)
    fit = dntk.DistilledNTK(model, data=Random(8), gradients=Solution(2), sketch=sketch, ridge=1e-2).fit(x)
    fit.save(folder / "fit", certify=True)
    objective = TangentResidual(3, steps=2)
    objective.distill(model, x, y, checkpoint=folder / "objective").save(folder / "data")
    dntk.solve.accumulate(chunks, checkpoint=folder / "statistics")

    def read_fit(path: pathlib.Path) -> bytes:
        back = dntk.load(path)
        said = repr((back.losses, back.ledger, back.ridge, str(back.certificate), back.state.made_by, back.sketch))
        return b"".join(_bytes(a) for a in (back.query(x).prediction, back.spectrum, back.indices)) + said.encode()

    def read_data(path: pathlib.Path) -> bytes:
        back = DistilledData.load(path)
        said = repr((back.history, back.provenance, back.step, back.stopped))
        return b"".join(_bytes(a) for a in (back.x, back.y, back.weights)) + said.encode()

    def read_objective(path: pathlib.Path) -> bytes:
        back = objective.distill(model, x, y, checkpoint=path)
        return b"".join(_bytes(a) for a in (back.x, back.y, back.weights)) + repr(back.history).encode()

    def read_statistics(path: pathlib.Path) -> bytes:
        back = dntk.solve.accumulate(chunks, checkpoint=path)
        return (
            b"".join(_bytes(a) for a in (back.gram, back.cross, back.squares))
            + repr((back.points, back.weight)).encode()
        )

    return {"fit": read_fit, "data": read_data, "objective": read_objective, "statistics": read_statistics}


def _bytes(x: Any) -> bytes:
    return f"{x.dtype}{x.shape}".encode() + np.asarray(x).tobytes()


def tried(path: pathlib.Path, content: bytes, read: Read, sound: bytes, *, signed: bool) -> tuple[str, str]:
    """What reading a file came to, and in words where that is a fault."""
    path.write_bytes(content)
    signal.alarm(LIMIT)
    try:
        found = read(path)
    except dntk.StoreError:
        return "error", ""
    except TooLongError:
        return "hang", "more than five seconds"
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return "foreign", f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"[:300]
    finally:
        signal.alarm(0)
    if found == sound:
        return "identical", ""
    return ("read", "") if signed else ("silent", "another result")


def damaged(content: bytes, contents: dict[str, bytes], draw: random.Random) -> bytes:
    """A file as disks and transfers leave it."""
    out, size = bytearray(content), len(content)
    start = draw.randrange(size)
    stop = min(size, start + draw.choice((1, 2, 8, 64, 512, 4096)))
    match draw.randrange(9):
        case 0:
            out[start] ^= 1 << draw.randrange(8)
        case 1:
            out[start] = draw.randrange(256)
        case 2:
            return content[:start]
        case 3:
            del out[start:stop]
        case 4:
            out[start:start] = out[start:stop]
        case 5:
            out[start:stop] = bytes(stop - start)
        case 6:
            other = draw.choice(list(contents.values()))
            out[start:stop] = other[start:stop]
        case 7:
            out[start:stop] = draw.randbytes(stop - start)
        case _:
            for _ in range(draw.randrange(2, 20)):
                out[draw.randrange(size)] ^= 1 << draw.randrange(8)
    return bytes(out)


def edited(content: bytes, draw: random.Random) -> bytes:
    """A file whose text or arrays somebody changed and signed again."""
    length = int.from_bytes(content[:8], "little")
    text, rest = bytearray(content[8 : 8 + length]), bytearray(content[8 + length :])
    place = draw.randrange(91, len(text))
    match draw.randrange(6):
        case 0:
            text[place] ^= 1 << draw.randrange(8)
        case 1:  # a number becomes another one
            place = _digit_from(text, place)
            end = place
            while end < len(text) and text[end : end + 1] in b"0123456789.e-":
                end += 1
            text[place:end] = draw.choice(_NUMBERS)
        case 2:
            del text[place : place + draw.choice((1, 3, 20, 200))]
        case 3:
            text[place:place] = draw.choice((b"[" * 50_000, b'{\\"a\\":' * 20_000, b"\\\\ud800", b"\xff", b",", b'"'))
        case 4 if rest:
            rest[draw.randrange(len(rest))] ^= 1 << draw.randrange(8)
        case _:
            other = draw.randrange(91, len(text))
            text[place], text[other] = text[other], text[place]
    whole = len(text).to_bytes(8, "little") + bytes(text) + bytes(rest)
    digest = hashlib.sha256(whole[: _DIGEST.start] + whole[_DIGEST.stop :]).hexdigest().encode()
    return whole[: _DIGEST.start] + digest + whole[_DIGEST.stop :]


def _digit_from(text: bytearray, place: int) -> int:
    """The first digit at or after a place that begins a number."""
    while place < len(text) - 1 and not (text[place : place + 1].isdigit() and not text[place - 1 : place].isalnum()):
        place += 1
    return place


def _too_long(*_: Any) -> None:
    raise TooLongError


if __name__ == "__main__":
    sys.exit(main())
