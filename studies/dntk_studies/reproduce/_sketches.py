"""Which sketch a network gets."""

from dntk.sketch import Mixed, Sketch, SparseSign
from dntk_studies.networks import TrainingPlan
from dntk_studies.reproduce.settings import Settings

_UNREDUCED = 2**30  # wider than any layer


def sketch_of(settings: Settings, plan: TrainingPlan, seed: int, dim: int | None = None) -> Sketch:
    """The sketch for a network: mixed where layers see many positions, as that needs least work there; else sparse.

    The last layer sees one position, where reduced activations would be a poor sketch: it is hashed as it is.
    """
    k = dim or settings.sketch_dim
    if plan.architecture == "mlp":
        return SparseSign(k, nonzeros=min(settings.nonzeros, k), seed=seed)
    return Mixed(k, inner=min(64, k), seed=seed, widths=(("head.weight", _UNREDUCED),))
