"""Which sketch a network gets."""

from dntk.reproduce.recipe import TrainingPlan
from dntk.reproduce.settings import Settings
from dntk.sketch import Mixed, Sketch, SparseSign


def sketch_of(settings: Settings, plan: TrainingPlan, seed: int, dim: int | None = None) -> Sketch:
    """The sketch for a network: mixed where layers see many positions, as that needs least work there; else sparse."""
    k = dim or settings.sketch_dim
    if plan.architecture in ("resnet18", "vit"):
        return Mixed(k, inner=min(64, k), seed=seed)
    return SparseSign(k, nonzeros=min(settings.nonzeros, k), seed=seed)
