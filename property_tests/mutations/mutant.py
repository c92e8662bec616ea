"""One way to break the source, and the test that must notice."""

import dataclasses
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Mutant:
    """A substitution in one file, which has to apply exactly once.

    ``test`` is what pytest is given: one property on NumPy wherever that shows the fault.
    """

    file: str
    old: str
    new: str
    why: str
    test: str

    @property
    def name(self) -> str:
        """File and meaning."""
        return f"{self.file}: {self.why}"

    def fault(self, root: pathlib.Path = ROOT) -> str:
        """Why the substitution does not apply, if it does not."""
        path = root / self.file
        if not path.is_file():
            return f"there is no {self.file}"
        times = path.read_text(encoding="utf-8").count(self.old)
        if times != 1:
            return f"its text is found {times} times in {self.file}, expected once"
        if self.old == self.new:
            return "it changes nothing"
        test = self.test.partition("::")[0]
        return "" if (root / test).is_file() else f"there is no {test}"

    def apply(self, root: pathlib.Path) -> str:
        """Break the file below ``root`` and return its sound text."""
        path = root / self.file
        sound = path.read_text(encoding="utf-8")
        path.write_text(sound.replace(self.old, self.new), encoding="utf-8")
        return sound
