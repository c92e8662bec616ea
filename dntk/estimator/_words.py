"""A fit in a line."""

from dntk.certificates import Certificate
from dntk.estimator.state import FittedState


def described(state: FittedState) -> str:
    """Points, what was kept of them, and what that is worth."""
    losses, made = state.losses, state.certificate
    features = "all parameters" if state.sketch is None else type(state.sketch).__name__
    return (
        f"Fit({losses.points:,} points → {losses.kept_points:,} kept → {state.weights.shape[1]:,} features "
        f"({features}) → {losses.gradients:,} gradients {'for all outputs' if state.is_joint else 'per output'}; "
        f"ridge {state.ridge:.3g}; fidelity in sample "
        f"{losses.fidelity:.2%}; certificate: "
        f"{headline(made()) if made.is_made else 'not made yet, read .certificate'})"
    )


def headline(certificate: Certificate) -> str:
    """What the certificate says of the whole, in a line."""
    lost = float(certificate.trace_error) / certificate.trace if certificate.trace > 0 else 0.0
    text = f"trace error at most {lost:.2%}"
    if certificate.prediction_error is not None:
        text += f", root mean square distance to the regression at most {float(certificate.prediction_error):.3g}"
    return f"{text}, with probability {certificate.confidence:.6g}"
