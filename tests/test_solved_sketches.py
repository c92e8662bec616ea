"""A solve remembers by which sketch its features were made, so that features of another are refused."""

import numpy as np
import pytest

import dntk
from dntk.distill.gradients import Krylov, Streaming
from dntk.sketch import SparseSign
from dntk.solve import nystrom, ridge, same_span

OWN, OTHER = (SparseSign(6, nonzeros=2, seed=seed, n_parameters=40) for seed in (1, 2))


def features(sketch, points=9, seed=0):
    return dntk.TangentFeatures(np.random.default_rng(seed).normal(size=(2, points, 6)), sketch)


def targets(points=9):
    return np.random.default_rng(1).normal(size=(points, 2))


SOLVES = {
    "dual": lambda: ridge(features(OWN, 4), targets(4), ridge=0.1),
    "primal": lambda: ridge(features(OWN), targets(), ridge=0.1),
    "synthetic gradients": lambda: ridge(Krylov(3).distill(features(OWN), targets()), ridge=0.1),
    "same span": lambda: same_span(Krylov(3).distill(features(OWN), targets()), ridge=0.1),
    "nystrom": lambda: nystrom(features(OWN), targets(), [0, 3, 4], ridge=0.1),
    "streamed": lambda: Streaming(3).stream([(features(OWN), targets())]).solve(0.1),
}


@pytest.mark.parametrize("way", SOLVES)
def test_a_fit_takes_features_of_its_own_sketch_alone(way):
    fit = SOLVES[way]()
    assert fit.sketch == OWN
    assert fit.predict(features(OWN, seed=5)).shape == (9, 2)
    with pytest.raises(ValueError, match="sketch"):
        fit.predict(features(OTHER, seed=5))
