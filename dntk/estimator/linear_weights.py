"""The weights of a linear predictor, in the coordinates of its sketch and in those of the parameters."""

import threading
from typing import Any

from jaxtyping import Float

from dntk import arrays
from dntk.ledger import nbytes_of
from dntk.sketch.base import Sketch
from dntk.types import Array

KEPT_BYTES = 2**29
"""Weights in the parameters' coordinates are kept up to so many bytes, where no memory limit says otherwise."""

_SHARE = 4
"""With a memory limit they are kept where they take at most one part in so many of it."""


class LinearWeights:
    """Weights w (C, k), and Sᵀw (C, P), made when it is first needed and kept as long as w is what it was.

    What is kept is compared with w at every call, O(C·k), so that weights changed in place are never mixed with old
    ones. Copies and pickles hold w and S alone. One thread makes Sᵀw, others wait for it.

    Parameters
    ----------
    weights, sketch
        w, and the bound sketch S; without one the coordinates are the parameters.
    """

    def __init__(self, weights: Float[Array, "c k"], sketch: Sketch | None = None) -> None:
        self.weights, self.sketch = weights, sketch
        self._lock = threading.Lock()
        self._kept: tuple[Array, Array] | None = None

    def in_parameters(self, memory_limit: int | None = None) -> Float[Array, "c p"]:
        """Sᵀw; O(C·P) the first time, and every time where it is too large to be kept."""
        if self.sketch is None:
            return self.weights
        xp = arrays.namespace(self.weights)
        with self._lock:
            if self._kept is not None and bool(xp.all(self._kept[0] == self.weights)):
                return self._kept[1]
            self._kept = None
            whole = self.sketch.adjoint(self.weights)
            most = KEPT_BYTES if memory_limit is None else memory_limit // _SHARE
            if nbytes_of(whole) <= most:
                self._kept = (xp.asarray(self.weights, copy=True), whole)
        return whole

    @property
    def kept_bytes(self) -> int:
        """Bytes that are kept beside the weights themselves."""
        return 0 if self._kept is None else sum(nbytes_of(each) for each in self._kept)

    def __getstate__(self) -> dict[str, Any]:
        return {"weights": self.weights, "sketch": self.sketch}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["weights"], state["sketch"])  # type: ignore[misc]
