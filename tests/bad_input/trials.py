"""Every bad value at every entry of a library."""

import importlib.util
import warnings
from collections.abc import Iterator

from tests.bad_input.entries import entries
from tests.bad_input.judge import tried
from tests.bad_input.scene import LIBRARIES, Bad, Case, Entry, Scene
from tests.bad_input.values import KINDS


def every(scene: Scene) -> Iterator[tuple[Entry, Bad]]:
    """All pairs of entries and bad values."""
    for entry in entries():
        for bad in KINDS[entry.kind](scene):
            yield entry, bad


def run(libraries: tuple[str, ...] = LIBRARIES, every_nth: int = 1, offset: int = 0) -> list[Case]:
    """Outcomes, of every ``every_nth`` pair from ``offset`` on."""
    cases = []
    for library in libraries:
        if importlib.util.find_spec(library) is None:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scene = Scene(library)
        pairs = list(every(scene))[offset::every_nth]
        cases += [tried(scene, entry, bad) for entry, bad in pairs]
    return cases
