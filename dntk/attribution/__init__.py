"""Which training points made a prediction: scores of their gradients, and exact leave-one-out of the regression."""

from dntk.attribution._label_margins import label_margins
from dntk.attribution._leave_one_out import LeftOut, leave_one_out
from dntk.attribution.attribution import Attribution
from dntk.attribution.explanation import Explanation, explain
from dntk.attribution.fit import AttributionFit, Ranking
from dntk.attribution.functionals import Functional, Losses, Margins
from dntk.attribution.smoother import Smoother

__all__ = [
    "Attribution",
    "AttributionFit",
    "Explanation",
    "Functional",
    "LeftOut",
    "Losses",
    "Margins",
    "Ranking",
    "Smoother",
    "explain",
    "label_margins",
    "leave_one_out",
]
