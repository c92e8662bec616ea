"""What an answer to bad input is: documented, right, foreign or nonsense."""

import dataclasses
import math
import re
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import dntk
from dntk.backend import backend_of
from tests.bad_input.scene import Bad, Case, Entry, Scene


def tried(scene: Scene, entry: Entry, bad: Bad) -> Case:
    """What an entry makes of a bad value."""
    message = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = entry.call(scene, bad.value)
            if bad.name in entry.accepts:
                outcome = "right"
            elif bad.same is None:
                outcome, message = "nonsense", repr(found)[:200]
            else:
                outcome = "right" if _same(found, entry.call(scene, bad.same)) else "nonsense"
    except Exception as error:
        outcome, message = _judged(error, entry.argument), f"{type(error).__name__}: {error}"
        if bad.same is not None:  # a number that is needlessly refused
            outcome = "foreign"
    return Case(scene.library, entry.name, entry.argument, bad.name, outcome, message)


_REMEDY = re.compile(
    r"[Ee]xpected|[Pp]ass |must be|[Cc]onvert|[Uu]se |at most|ask for|[Ww]rap|[Ll]eave|[Rr]emove|[Ff]ill|make |[Pp]ad |"
    r"pick|choose|collect|put its|take |[Ss]ubtract|[Aa]dd |need|move it|"
    r"must have|has one entry per input"
)


def _judged(error: Exception, argument: str) -> str:
    """``documented`` where dntk itself says it, names the argument and a remedy."""
    frames = traceback.extract_tb(error.__traceback__)
    own = "/dntk" in frames[-1].filename.replace("\\", "/")
    kinds = (TypeError, ValueError, IndexError, FileNotFoundError, dntk.StoreError)
    known = isinstance(error, kinds) and not isinstance(error, UnicodeError)
    text = str(error)
    named = (
        "`" in text
        or argument in text
        or argument == "path"
        or text.startswith(("examples ", "the network fails on inputs", "the source of points ", "the batch is "))
        or "is no source of points" in text
    )
    return "documented" if own and known and named and _REMEDY.search(text) else "foreign"


def _same(found: Any, expected: Any) -> bool:
    """Whether two results are equal to the last bit."""
    if dataclasses.is_dataclass(found) and not isinstance(found, type):
        names = [f.name for f in dataclasses.fields(found) if f.compare and f.name != "seconds"]  # no two take as long
        return all(_same(getattr(found, name), getattr(expected, name)) for name in names)
    if np.isscalar(found) and np.isscalar(expected):
        return bool(found == expected or (found != found and expected != expected))
    if getattr(found, "shape", ()) != getattr(expected, "shape", ()):
        return False
    if hasattr(found, "shape") and hasattr(found, "dtype") and hasattr(expected, "dtype"):
        pair = [np.asarray(backend_of(a).to_numpy(a)) for a in (found, expected)]
        return pair[0].shape == pair[1].shape and bool(np.array_equal(*pair, equal_nan=True))
    if isinstance(found, tuple | list):
        return len(found) == len(expected) and all(map(_same, found, expected))
    if callable(found) or type(found).__module__.startswith("dntk"):
        return type(found) is type(expected)
    return bool(found == expected) or (isinstance(found, float) and math.isnan(found) and math.isnan(expected))


def _shown(value: Any) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if hasattr(value, "shape") and hasattr(value, "dtype") and type(value).__module__.partition(".")[0] != "dntk":
        return f"{type(value).__name__} {str(value.dtype)[:24]} {tuple(value.shape)}"
    if isinstance(value, list | tuple) and len(str(value)) > 30:
        return f"a {type(value).__name__} of {len(value)}"
    if value is None or isinstance(value, str | bytes | int | float | complex | list | tuple | dict | Path):
        return repr(value)[:40]
    return f"{type(value).__module__.partition('.')[0]} {type(value).__name__}"
