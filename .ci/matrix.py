"""Install the wheel in clean environments, oldest and newest, and use it there; what was run stands in a table.

``python .ci/matrix.py WHEEL OUT.md [--only WORD] [--skip WORD]``. A Python or a release that this machine cannot get
has a row that says so. Environments are made in a temporary folder, one after the other, and removed.
"""

import argparse
import dataclasses
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib

ROOT = pathlib.Path(__file__).parent.parent
_TIMEOUT = 1800


@dataclasses.dataclass(frozen=True)
class Row:
    """A Python, extras of the wheel, and releases that are asked for beside it."""

    python: str
    extras: str = ""
    pins: tuple[str, ...] = ()
    what: str = "newest"


def lowest() -> tuple[str, ...]:
    """Every dependency at the release that pyproject.toml begins with."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return tuple(line.replace(">=", "==") + ".*" for line in project["dependencies"])


def rows() -> list[Row]:
    """Oldest and newest of what is promised."""
    return [
        Row("3.11", pins=lowest(), what="oldest of everything"),
        Row("3.11", pins=("numpy==2.0.*", "jax==0.4.38", "jaxlib==0.4.38"), what="NumPy 2.0, oldest JAX"),
        Row("3.11", extras="torch,report", pins=("torch==2.5.*",), what="oldest PyTorch"),
        Row("3.11", extras="torch,jax,report,zarr,autograd"),
        Row("3.12", pins=("numpy==2.0.*",), what="NumPy 2.0"),
        Row("3.12", extras="torch,jax,report"),
        Row("3.13", pins=("numpy==2.1.*",), what="NumPy 2.1, its first release for 3.13"),
        Row("3.13", extras="jax,report,zarr"),
        Row("3.13", extras="torch"),
        Row("3.14", extras="jax,report"),
        Row("3.14", extras="torch"),
    ]


def tried(row: Row, wheel: pathlib.Path, work: pathlib.Path) -> tuple[str, str]:
    """Releases that were installed, and what came of it."""
    python = _python(row.python)
    if python is None:
        return "", f"not run: no Python {row.python} here"
    environment = work / "environment"
    shutil.rmtree(environment, ignore_errors=True)
    subprocess.run([python, "-m", "venv", environment], check=True)
    own = environment / "bin/python"
    target = f"{wheel}[{row.extras}]" if row.extras else str(wheel)
    pip = [own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", target]
    done = _run([*pip, *row.pins], work)
    if done.returncode:
        return "", f"not run: {_last(done.stderr)}"
    names = ("numpy", "scipy", "scikit-learn", "array-api-compat", "jaxtyping", "torch", "jax", "matplotlib", "zarr")
    listed = _run([own, "-m", "pip", "freeze"], work).stdout
    installed = dict(re.findall(r"^([\w.-]+)==(\S+)$", listed.lower(), re.MULTILINE))
    releases = ", ".join(f"{name} {installed[name]}" for name in names if name in installed)
    done = _run([own, ROOT / ".ci/matrix_smoke.py"], work)
    return releases, _last(done.stdout) if done.returncode == 0 else f"**fails**: {_last(done.stderr)}"


def main() -> int:
    """Go through all rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--only", default="", help="rows with this word")
    parser.add_argument("--skip", help="no rows with this word")
    asked = parser.parse_args()
    lines = ["| Python | asked for | installed | outcome |", "|---|---|---|---|"]
    failed = False
    for row in rows():
        said = f"{row.what}{': ' + row.extras if row.extras else ''}"
        about = f"{row.python} {said}"
        if asked.only not in about or (asked.skip and asked.skip in about):
            continue
        with tempfile.TemporaryDirectory() as made:
            releases, outcome = tried(row, asked.wheel.resolve(), pathlib.Path(made))
        lines.append(f"| {row.python} | {said} | {releases} | {outcome} |")
        print(lines[-1], flush=True)
        failed = failed or "**" in outcome
        asked.out.write_text("\n".join(lines) + "\n")
    return int(failed)


def _python(version: str) -> str | None:
    """A Python of this version that starts; version managers have commands that do not."""
    places = [shutil.which(f"python{version}")]
    places += map(str, sorted(pathlib.Path.home().glob(f".pyenv/versions/{version}.*/bin/python")))
    for place in filter(None, places):
        found = subprocess.run([place, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], capture_output=True)
        if found.stdout.decode().strip() == version:
            return place
    return None


def _run(command: list[object], folder: pathlib.Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in command], cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT)


def _last(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line and not line.startswith("WARNING")]
    return (lines[-1] if lines else "no word")[:160].replace("|", "/")


if __name__ == "__main__":
    sys.exit(main())
