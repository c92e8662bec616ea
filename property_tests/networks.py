"""Random multilayer perceptrons of a library: those of :mod:`dntk.testing`, few shapes where shapes are compiled."""

from hypothesis import strategies as st

from dntk.testing.networks import ACTIVATIONS, POINTS, WIDTHS, Network, models
from property_tests.strategies import dtypes_of
from tests.libraries import Library

__all__ = ["ACTIVATIONS", "WIDTHS", "Network", "networks"]


def networks(library: Library, activations: list[str] | tuple[str, ...] = ACTIVATIONS) -> st.SearchStrategy[Network]:
    """Networks of a library; few shapes where shapes are compiled."""
    few = library.module == "jax"
    return models(
        library,
        dtypes=dtypes_of(library),
        widths=[(2, 4, 3)] if few else WIDTHS,
        points=[4] if few else POINTS,
        activations=activations[:1] if few else activations,
        biases=st.just(True) if few else None,
    )
