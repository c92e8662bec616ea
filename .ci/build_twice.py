"""Build wheel and sdist twice, in two places, and show that they are the same to the last byte.

``python .ci/build_twice.py OUT``: what is committed is built, with the time of the commit in place of the clock. A
third wheel is built from the sdist, which shows that nothing is missing there. Needs git, and a registry for
setuptools.
"""

import gzip
import hashlib
import io
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

SETUPTOOLS = "setuptools==82.0.1"
ROOT = pathlib.Path(__file__).parent.parent
_BUILD = "import sys; from setuptools import build_meta as b; out = sys.argv[1]; b.build_wheel(out); b.build_sdist(out)"


def main() -> int:
    """Build, compare, and leave wheel, sdist and SHA256SUMS in a folder."""
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "dist").resolve()
    epoch = int(_git("log", "-1", "--format=%ct"))
    with tempfile.TemporaryDirectory() as made:
        work = pathlib.Path(made)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(work / "tools"), SETUPTOOLS]
        subprocess.run(pip, check=True)
        first, second = (_built(_exported(work / name), work / f"{name}-out", epoch, work) for name in ("a", "b" * 40))
        sdist = next(path for path in first if path.name.endswith(".tar.gz"))
        with tarfile.open(sdist) as archive:
            archive.extractall(work / "c", filter="data")
        (source,) = (work / "c").iterdir()
        third = [path for path in _built(source, work / "c-out", epoch, work) if path.suffix == ".whl"]
        told = {path.name: _digest(path) for path in first}
        for path in (*second, *third):
            if told[path.name] != _digest(path):
                print(f"{path.name} differs from build to build: {told[path.name]}, {_digest(path)}")
                return 1
        out.mkdir(parents=True, exist_ok=True)
        for path in first:
            shutil.copy(path, out)
    lines = [f"{digest}  {name}" for name, digest in sorted(told.items())]
    (out / "SHA256SUMS").write_text("\n".join(lines) + "\n")
    print(*lines, f"the same from two trees, the wheel also from the sdist; {SETUPTOOLS}, time {epoch}", sep="\n")
    return 0


def _exported(folder: pathlib.Path) -> pathlib.Path:
    """What is committed, in a folder."""
    folder.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


def _built(source: pathlib.Path, out: pathlib.Path, epoch: int, work: pathlib.Path) -> list[pathlib.Path]:
    out.mkdir()
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "PYTHONPATH": str(work / "tools")}
    command = [sys.executable, "-c", _BUILD, str(out)]
    subprocess.run(command, cwd=source, env=environment, check=True, stdout=subprocess.DEVNULL)
    for path in out.glob("*.tar.gz"):
        path.write_bytes(_levelled(path, epoch))
    return sorted(out.iterdir())


def _levelled(path: pathlib.Path, epoch: int) -> bytes:
    """An archive with one time, no owner and names in order; setuptools writes the clock into it."""
    plain, packed = io.BytesIO(), io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda each: each.name):
            level = {"mtime": epoch, "uid": 0, "gid": 0, "uname": "", "gname": ""}
            level["mode"] = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers.clear()  # fractions of seconds
            new.addfile(member.replace(**level, deep=False), old.extractfile(member) if member.isfile() else None)
    with gzip.GzipFile(filename="", fileobj=packed, mode="wb", mtime=epoch) as stream:
        stream.write(plain.getvalue())
    return packed.getvalue()


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def _digest(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
