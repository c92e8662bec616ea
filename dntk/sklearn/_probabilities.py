"""Class probabilities from a regression on one-hot targets."""

from jaxtyping import Float

from dntk import arrays
from dntk.types import Array


def class_probabilities(outputs: Float[Array, "n c"], error: float) -> Float[Array, "n k"]:
    """Probabilities of K classes, K = max(2, C): least squares estimates of their frequencies, none of them zero.

    The regression of centred one-hot targets estimates P(c | x) by f_c + 1/C; the nearest point p of the simplex makes
    probabilities of that (a single output with targets ∓½ stands for two, ∓f). ``error`` is the mean squared
    leave-one-out residual per output. If that came from a share ε of labels drawn at random, it were 2ε(C − 1)/C²; with
    this ε, 1 at most, (1 − ε)p + ε/C is returned. The class of the largest output has the largest probability.

    Source of the projection: Duchi et al. (2008); its threshold is the largest mean excess of the k largest entries.
    """
    xp = arrays.namespace(outputs)
    centred = xp.concat([-outputs, outputs], axis=1) if outputs.shape[1] == 1 else outputs
    classes = centred.shape[1]
    frequencies = centred + 1 / classes
    largest = xp.sort(frequencies, axis=1, descending=True)
    sizes = xp.arange(1, classes + 1, dtype=outputs.dtype, device=arrays.device_of(outputs))
    threshold = xp.max((xp.cumulative_sum(largest, axis=1) - 1) / sizes, axis=1, keepdims=True)
    nearest = xp.clip(frequencies - threshold, min=0.0)
    nearest = nearest / xp.sum(nearest, axis=1, keepdims=True)
    mixed = min(1.0, error * classes**2 / (2 * (classes - 1)))
    return (1 - mixed) * nearest + mixed / classes
