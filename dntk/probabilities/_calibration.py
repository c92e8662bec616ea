"""Scale and temperature of least negative log-likelihood on held-out labels."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Integer

from dntk._checks import require_kind
from dntk.metrics import negative_log_likelihood
from dntk.probabilities.links import Link, MonteCarlo, Probit, check_moments, root_mean_square
from dntk.types import Array

LinkT = TypeVar("LinkT", Probit, MonteCarlo)
_ROUNDS, _SIDE = 6, 9


def calibrated(
    link: LinkT, mean: Float[Array, "n c"], deviation: Float[Array, "n c"], labels: Integer[Array, " n"]
) -> LinkT:
    """The link with the scale and temperature of least negative log-likelihood on points that were held out.

    Two numbers from n labels. ``scale=0`` is among those tried: never worse there
    than the temperature alone. Grids in logarithms that are drawn together six times; 540 evaluations of the link.

    Raises
    ------
    TypeError, ValueError
        As of :meth:`Link.probabilities`; labels that are no classes; no points; predictions that are all zero.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(2, size=200)
    >>> mean = 8 * (np.eye(2)[labels] + rng.normal(size=(200, 2)))  # far too sure of itself
    >>> deviation, plain = np.ones((200, 2)), dntk.probabilities.Probit()
    >>> link = dntk.probabilities.calibrated(plain, mean, deviation, labels)
    >>> before, after = (
    ...     dntk.metrics.negative_log_likelihood(each.probabilities(mean, deviation), labels)
    ...     for each in (plain, link)
    ... )
    >>> after < before
    True
    """
    require_kind("link", link, Link, expected="Probit(...) or MonteCarlo(...)")
    check_moments(mean, deviation)
    size, spread = root_mean_square(mean), root_mean_square(deviation)
    if size == 0:
        what = "has no points" if mean.shape[0] == 0 else "is zero everywhere"
        msg = f"`mean` {what}: pass predictions at held-out points with their labels."
        raise ValueError(msg)

    def tried(log_t: float, log_a: float | None) -> tuple[float, float, float]:
        temperature = size * 10.0**log_t
        scale = 0.0 if log_a is None or spread == 0 else 10.0**log_a * temperature / spread
        one = dataclasses.replace(link, scale=scale, temperature=temperature)
        return negative_log_likelihood(one.probabilities(mean, deviation), labels), scale, temperature

    both = _least(lambda place: tried(place[0], place[1]), 2)
    alone = _least(lambda place: tried(place[0], None), 1)
    _, scale, temperature = min(alone, both)
    return dataclasses.replace(link, scale=scale, temperature=temperature)


def _least(tried: Callable[[Sequence[float]], tuple[float, float, float]], axes: int) -> tuple[float, float, float]:
    """What is least on grids of four powers of ten, drawn together around the best place so far."""
    best, centre, width = tried([0.0] * axes), [0.0] * axes, 2.0
    for _ in range(_ROUNDS):
        offsets = itertools.product(np.linspace(-width, width, _SIDE).tolist(), repeat=axes)
        places = [[middle + step for middle, step in zip(centre, move, strict=True)] for move in offsets]
        values = [tried(place) for place in places]
        least = min(range(len(places)), key=lambda i: values[i][0])
        centre, width, best = places[least], width / 3, min(best, values[least])
    return best
