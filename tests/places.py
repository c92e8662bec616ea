"""The array libraries of the tests as places of dntk.testing."""

from dntk.backend import backend_of
from dntk.testing import Place
from tests.libraries import Library


def place_of(library: Library) -> Place:
    """Backend and device of a library."""
    return Place(backend_of(library.array([1.0], "float32")), library.place())
