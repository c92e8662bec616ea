"""Features whose chunks are in the memory of workers: how they are made, and how passes read them there."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from dntk import arrays
from dntk._progress import task
from dntk.backend import backend_of
from dntk.features.in_memory import TangentFeatures
from dntk.models import batches
from dntk.models.base import Model
from dntk.sketch import Sketch
from dntk.sketch.application import sketched_gradients
from dntk.stores import Layout, cluster_of
from dntk.stores.clusters import HeldArray
from dntk.stores.rows import PointRows
from dntk.types import Array, Batch, Inputs


def held_features(
    model: Model,
    x: Inputs,
    sketch: Sketch | None,
    cotangents: Float[Array, "q c"],
    *,
    layout: Layout,
    batch: int,
    client: Any,
) -> HeldArray:
    """Features of checked inputs by a bound sketch, in chunks as they would be on the disk."""
    rows = PointRows(functools.partial(_sketched, model, sketch, cotangents), batch, axis=1)
    with task("held features", total=batches.count(x), unit="points") as bar:
        return cluster_of(client).hold(rows, x, layout, bar.advance)


def _sketched(model: Model, sketch: Sketch | None, cotangents: Float[Array, "q c"], x: Batch) -> Float[Array, "q n k"]:
    return sketched_gradients(model, x, sketch, cotangents, batches.count(x))


@dataclasses.dataclass(frozen=True, eq=False)
class OfHeld:
    """A leaf of a pass that is given numbers of a chunk where others are given its features."""

    leaf: Callable[..., Any]
    like: Array
    sketch: Any

    def __call__(self, values: Any, *rows: Array) -> Any:
        """What the leaf makes of the chunk."""
        return self.leaf(TangentFeatures(placed(values, self.like), self.sketch), *rows)


def placed(host: Any, like: Array) -> Array:
    """A NumPy array in the library and on the device of another."""
    return backend_of(like).from_numpy(np.ascontiguousarray(host), device=arrays.device_of(like))
