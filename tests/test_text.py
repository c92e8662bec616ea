"""What is printed can be shown by every terminal."""

import codecs
import io
import os
import subprocess
import sys

import numpy as np
import pytest

import dntk
from dntk._text import PLAIN, printable, shown
from dntk.distill.data import Random
from dntk.distill.gradients import Solution
from tests.libraries import LIBRARIES
from tests.networks import inputs, mlp

NUMPY = LIBRARIES[0]


class Stream(io.StringIO):
    """Standard output with an encoding."""

    def __init__(self, encoding):
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self):
        return self._encoding


def printed():
    """Everything of a fit that has a text of its own."""
    spec = dntk.DistilledNTK(mlp(NUMPY), data=Random(12), gradients=Solution(3), sketch=dntk.sketch.SparseSign(64))
    fit = spec.fit(inputs(NUMPY))
    certificate = fit.certificate
    yield from (fit, fit.losses, certificate, certificate.trace_error, *certificate.stages)
    yield dntk.sketch.SparseSign(64).error(30, confidence=0.95)
    yield dntk.sketch.choose(mlp(NUMPY), error=0.2, n=30)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "no such encoding", None])
def test_texts_hold_only_what_standard_output_can_show(encoding, monkeypatch):
    things = list(printed())
    whole = [str(thing) for thing in things]
    monkeypatch.setattr(sys, "stdout", Stream(encoding))
    for thing, before in zip(things, whole, strict=True):
        text = f"{thing}"
        if encoding in ("ascii", "latin-1", "cp1252"):
            text.encode(encoding)
            assert len(text) >= len(before)
        else:
            assert text == before
    if encoding == "ascii":
        assert any(not text.isascii() for text in whole)
        assert "30 points -> 12 kept" in str(things[0])


def test_what_has_no_words_keeps_its_number():
    assert "λ ≤ √2, 漢 \udc80".encode("ascii", PLAIN) == b"lambda <= sqrt2, \\u6f22 \\udc80"
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", PLAIN)
    assert codecs.lookup_error(PLAIN)
    assert printable(lambda self: self)("λ") == shown("λ")


def test_commands_and_prints_work_in_a_terminal_of_ascii(tmp_path):
    code = "from dntk.bounds import Bound\n"
    code += "print(Bound(value=1.0, theorem='\\u2016K\\u2016 \\u2264 \\u03bb'))"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert b"||K|| <= lambda" in done.stdout
    missing = str(tmp_path / "missing λ")
    command = [
        sys.executable,
        "-m",
        "dntk.cli",
        "reproduce",
        "--quick",
        "--data-dir",
        missing,
        "--out",
        str(tmp_path / "o"),
    ]
    refused = subprocess.run(
        command, env={**environment, "PYTHONIOENCODING": "ascii:strict"}, capture_output=True, check=False
    )
    assert refused.returncode == 2, refused.stderr
    assert b"is no folder" in refused.stderr
    assert not list(tmp_path.iterdir())


def test_home_directories_are_expanded_wherever_a_path_is_taken(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    fit = dntk.DistilledNTK(mlp(NUMPY), data=Random(12), gradients=None, sketch=None, ridge=1e-2).fit(inputs(NUMPY))
    fit.save("~/fit")
    assert dntk.load("~/fit").losses == fit.losses
    x = np.random.default_rng(0).normal(size=(9, 3))
    dntk.solve.accumulate([(x, x)], checkpoint="~/sums")
    data = dntk.distill.data.TangentResidual(2, steps=1).distill(mlp(NUMPY), inputs(NUMPY), checkpoint="~/run")
    data.save("~/data")
    assert dntk.distill.data.DistilledData.load("~/data").step == data.step
    expected = {"fit", "sums", "run", "data"}
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        pass
    else:
        data.grid("~/grid.png", shape=(2, 3))
        fit.report("~/report.html")
        expected |= {"grid.png", "report.html"}
        assert (tmp_path / "grid.png").read_bytes()[:4] == b"\x89PNG"
    assert expected <= {p.name for p in tmp_path.iterdir()}
