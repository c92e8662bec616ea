"""What was read from an archive: a checked manifest and arrays, with errors that name the file."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from dntk import arrays
from dntk.archive.errors import StoreError
from dntk.backend import Backend
from dntk.types import Array

UNSOUND = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""What building something of numbers that cannot be ends in."""

_KINDS = {"floating": "f", "integral": "iu", "any": "fiub"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stored:
    """Manifest and NumPy arrays of an archive.

    ``narrow`` names the arrays that were bfloat16: NumPy has no such numbers, so they are float32 here.
    """

    path: Path
    manifest: Mapping[str, Any]
    arrays: Mapping[str, Any]
    narrow: frozenset[str] = frozenset()

    def array(self, name: str, axes: str, sizes: dict[str, int], *, kind: str = "floating") -> Any:
        """An array whose axes are checked by letter, ``"c s k"``; ``...`` at the end stands for any others.

        Sizes of letters that are new are noted in ``sizes``.

        Raises
        ------
        StoreError
            There is none of that name, or it is empty or of another shape or kind (``floating``, which is finite too,
            ``integral``, ``any``).
        """
        if name not in self.arrays:
            self.refuse(f"has no array {name!r}")
        value, letters = self.arrays[name], axes.split()
        free = letters[-1:] == ["..."]
        letters = letters[: len(letters) - free]
        shape = value.shape[: len(letters)]
        known = tuple(sizes.get(letter, size) for letter, size in zip(letters, shape, strict=False))
        if len(shape) < len(letters) or shape != known or (value.ndim > len(letters) and not free) or 0 in value.shape:
            self.refuse(f"has an array {name!r} of shape {value.shape}, expected ({', '.join(axes.split())})")
        if value.dtype.kind not in _KINDS[kind]:
            self.refuse(f"has an array {name!r} of {value.dtype}, expected {kind} numbers")
        if kind == "floating" and not bool(arrays.namespace(value).all(arrays.namespace(value).isfinite(value))):
            self.refuse(f"has an array {name!r} that is not finite")
        sizes |= dict(zip(letters, shape, strict=True))
        return value

    def place(self, name: str, backend: Backend, *, device: Any = None) -> Array:
        """An array of another library, in bfloat16 where it was that and the library has it."""
        value = backend.from_numpy(self.arrays[name], device=device)
        if name not in self.narrow:
            return value
        xp = arrays.namespace(value)
        kind = getattr(xp, "bfloat16", None)
        return value if kind is None else xp.astype(value, kind)

    def refuse(self, complaint: str) -> NoReturn:
        """Raise a ``StoreError`` that names the file."""
        msg = f"{self.path} {complaint}: the file was edited or is foreign; make and save it again."
        raise StoreError(msg)

    @contextlib.contextmanager
    def building(self) -> Iterator[None]:
        """Errors of what is built from the manifest as errors of the file."""
        try:
            yield
        except (StoreError, ImportError):
            raise
        except UNSOUND as error:
            msg = f"{self.path} describes what cannot be ({error}): the file was edited; make and save it again."
            raise StoreError(msg) from error
