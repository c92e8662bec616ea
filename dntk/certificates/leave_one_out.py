"""Exact leave-one-out errors as a statement of a certificate.

(y_i − f_i)/(1 − h_i) is the residual of point i when it is left out (Allen 1974): an equality, computed by
:mod:`dntk.solve.leave_one_out`. Its rounding grows with κ²; regressions therefore run in float64 where there is one.
"""

from dntk.bounds import Bound
from dntk.solve.ridge_fit import RidgeFit


def left_out_error(fit: RidgeFit) -> Bound:
    """Mean squared leave-one-out residual of a fit: what it expects of a point that it has not seen."""
    return Bound(value=fit.loo_error, theorem="leave-one-out, exact (Allen)")
