"""Every command in a terminal that shows ASCII only: LANG=C, and no UTF-8 in any way."""

import os
import subprocess
import sys

import numpy as np
import pytest

import dntk
from tests.test_runs import CONFIG, NETWORKS

EVERY = """
import os
import sys
from dntk import cli

for line in os.fsdecode(sys.stdin.buffer.read()).splitlines():
    sys.argv = ["dntk", *line.split("|")]
    try:
        cli.main()
        code = 0
    except SystemExit as end:
        code = end.code
    print("ended", code, flush=True)
"""
C_LOCALE = {
    "LANG": "C",
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "ascii:strict",
}


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "für λ"
    place.mkdir()
    (place / "networks_of_runs.py").write_text(NETWORKS, encoding="utf-8")
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, 6))
    np.save(place / "x.npy", x)
    np.save(place / "y.npy", rng.integers(3, size=40))
    np.savez(place / "unseen.npz", x=x[:10], y=rng.integers(3, size=10))
    for name in ("out", "other"):
        (place / f"{name}.toml").write_text(CONFIG.replace('"out"', f'"{name}"'), encoding="utf-8")
    (place / "wrong.toml").write_text(CONFIG.replace('"RPCholesky"', '"Ünbekannt"'), encoding="utf-8")
    (place / "letters.toml").write_text(CONFIG.replace('"out"', '"für λ"'), encoding="utf-8")
    model = dntk.MLP(weights=(rng.normal(size=(3, 6)),), biases=(None,))
    for index in range(2):
        dntk.tangent_features(model, x, sketch=None, store=dntk.Store(place / "parts", rows=10), shard=(index, 2))
    return place


def commands(folder):
    """Lines of arguments, and the code that each ends with."""
    helps = ["", "run", "report", "compare", "backends", "merge", "demo", "reproduce"]
    return [(f"{name}|--help".lstrip("|"), 0) for name in helps] + [
        (f"run|{folder}/out.toml|--dry-run", 0),
        (f"run|{folder}/out.toml|--dry-run|--json", 0),
        (f"run|{folder}/out.toml", 0),
        (f"run|{folder}/out.toml", 0),
        (f"run|{folder}/other.toml|--json", 0),
        (f"report|{folder}/other", 0),
        (f"compare|{folder}/out|{folder}/other", 0),
        (f"compare|{folder}/out|{folder}/other|--json", 0),
        ("backends", 0),
        ("backends|--json", 0),
        (f"merge|{folder}/parts", 0),
        (f"merge|{folder}/parts|--json", 0),
        (f"merge|{folder}/nichts-λ", 2),
        (f"run|{folder}/letters.toml", 2),
        (f"run|{folder}/wrong.toml", 2),
        (f"run|{folder}/fehlt-λ.toml", 2),
        (f"report|{folder}/fehlt-λ", 2),
        (f"compare|{folder}/out", 2),
        ("kein-λ", 2),
        (f"run|{folder}/out.toml|--λ", 2),
    ]


def test_every_command_and_every_error_is_shown_in_ascii(folder):
    given = commands(folder)
    done = subprocess.run(
        [sys.executable, "-c", EVERY],
        input="\n".join(line for line, _ in given).encode(),
        env={**os.environ, **C_LOCALE},
        capture_output=True,
        check=False,
    )
    shown = done.stdout + done.stderr
    assert done.returncode == 0, shown.decode()
    assert b"UnicodeEncodeError" not in shown
    assert b"Traceback" not in shown
    assert b"the path 'f\\xfcr \\u03bb' has letters that the encoding of file names here, ascii, lacks" in shown
    assert shown.isascii(), [line for line in shown.splitlines() if not line.isascii()]
    ended = [line for line in done.stdout.decode().splitlines() if line.startswith("ended")]
    assert ended == [f"ended {code}" for _, code in given]
