"""Sketches as plain values, and back."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from dntk.archive import schema
from dntk.sketch.gaussian import Gaussian
from dntk.sketch.kronecker import Kronecker
from dntk.sketch.layout import ParameterMatrix
from dntk.sketch.mask import Mask
from dntk.sketch.mixed import Mixed
from dntk.sketch.rademacher import Rademacher
from dntk.sketch.sparse_sign import SparseSign
from dntk.sketch.srht import SRHT
from dntk.sketch.tensor_sketch import TensorSketch

FAMILIES: dict[str, type] = {
    family.__name__: family for family in (Gaussian, Kronecker, Mask, Mixed, Rademacher, SRHT, SparseSign, TensorSketch)
}
"""Sketches that can be read again, by name."""
FORM = schema.tagged("family", {name: schema.fields_of(family) for name, family in FAMILIES.items()})
"""What :func:`described` returns."""


def described(sketch: Any) -> dict[str, Any]:
    """Family and settings of a sketch; ``TypeError`` for one of another package."""
    if type(sketch).__name__ not in FAMILIES:
        msg = f"cannot store the sketch {sketch!r}: only {', '.join(FAMILIES)} are known when it is read."
        raise TypeError(msg)
    return {"family": type(sketch).__name__, **dataclasses.asdict(sketch)}


def rebuilt(description: Mapping[str, Any]) -> Any:
    """The sketch that :func:`described` described."""
    fields = dict(description)
    family = FAMILIES[fields.pop("family")]
    if fields.get("layout") is not None:
        fields["layout"] = tuple(ParameterMatrix(**matrix) for matrix in fields["layout"])
    if "widths" in fields:
        fields["widths"] = tuple((name, width) for name, width in fields["widths"])
    return family(**fields)
