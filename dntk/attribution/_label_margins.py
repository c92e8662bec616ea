"""Labels that the other points speak against, by the kernel regression without each point."""

from jaxtyping import Float, Integer

from dntk import arrays
from dntk._checks import positive_integer
from dntk._target_checks import check_labels
from dntk.attribution._leave_one_out import leave_one_out
from dntk.features import TangentFeatures, require_features
from dntk.solve.rules import Ridge
from dntk.targets import one_hot
from dntk.types import Array


def label_margins(
    features: TangentFeatures,
    labels: Integer[Array, " n"],
    *,
    n_classes: int | None = None,
    ridge: Ridge = "loo",
) -> Float[Array, " n"]:
    """Margin of every point's label in the kernel regression on the labels of all other points.

    f₋ᵢ(x_i)[y_i] − max f₋ᵢ(x_i)[c] over the other classes, of the regression on one-hot labels, exactly and without
    refitting. Negative where the others would call the point otherwise: ``argsort`` puts the labels to look at first.
    Unlike :meth:`AttributionFit.self_influence` it still sees wrong labels that the network has learnt by heart.

    Parameters
    ----------
    features
        Of the n points, in memory. One set for all classes is enough and cheapest, ``dntk.tangent_features(model, x,
        outputs="sum")``; else one for each class.
    labels
        Integers (n,).
    n_classes
        C; the largest label and one if not given.
    ridge
        As for :func:`dntk.solve.ridge`, one for all classes.

    Returns
    -------
    Margins (n,), in float64 where the device has it.

    Raises
    ------
    TypeError, ValueError
        Labels that are not integers, of one class or of another number of points; as :func:`leave_one_out`.

    Notes
    -----
    O(n·k·min(n, k)) with one set of features. Out-of-sample predictions against given labels: Northcutt, Jiang and
    Chuang, *Confident learning*, JAIR 2021, where networks are trained again for each part of the data.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> labels = rng.integers(0, 3, 60)
    >>> phi = dntk.TangentFeatures(np.eye(3)[labels][None] + 0.1 * rng.normal(size=(1, 60, 3)))
    >>> labels[7] = (labels[7] + 1) % 3
    >>> int(np.argmin(dntk.attribution.label_margins(phi, labels)))
    7
    """
    require_features("features", features)
    check_labels("labels", labels, points=len(features))
    xp = arrays.require_same_place(features=features.values, labels=labels)
    several = features.n_outputs if features.n_outputs > 1 else int(xp.max(labels)) + 1
    classes = several if n_classes is None else positive_integer("n_classes", n_classes)
    targets = one_hot(labels, classes, like=features.values)
    held_out = leave_one_out(features, targets, ridge=ridge).held_out()
    own = targets > 0
    outside = xp.full_like(held_out, -xp.inf)
    given = xp.max(xp.where(own, held_out, outside), axis=1)
    return given - xp.max(xp.where(own, outside, held_out), axis=1)
