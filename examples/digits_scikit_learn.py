"""Distil the kernel of a scikit-learn network step by step, and print what each step lost."""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import dntk
from dntk.distill.data import Random, RPCholesky
from dntk.distill.gradients import LocalGlobal, Principal, Solution

POINTS, GRADIENTS = 200, 5


def main() -> None:
    """Train, sketch, choose points, choose gradients, predict."""
    images, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(images / 16, labels, train_size=1000, random_state=0)
    net = MLPClassifier((64,), max_iter=400, random_state=0).fit(x, y)
    model = dntk.as_model(net)
    logits, logits_test = model(x), model(x_test)
    print(f"network: {model.n_parameters} parameters, accuracy {net.score(x_test, y_test):.3f}")

    sketch = dntk.sketch.SparseSign(1024, seed=0)
    phi = dntk.tangent_features(model, x, sketch=sketch)
    phi_test = dntk.tangent_features(model, x_test, sketch=sketch)
    print(f"kernel: truncation rank {dntk.spectrum.truncation_rank(phi)} of {len(phi)} points")

    for selector in (Random(POINTS, seed=0), RPCholesky(POINTS, seed=0)):
        core = selector.select(phi)
        lost = float(core.residual_trace[-1]) / core.trace
        print(f"{selector}: {lost:.2%} of the trace lost")

    small, targets = phi[core.indices], logits[core.indices]
    fit = dntk.solve.ridge(small, targets, ridge="loo")
    share = dntk.metrics.fidelity(fit.predict(phi_test), logits_test)
    print(f"{POINTS} gradients per output: fidelity {share:.3f}")

    for name, distiller in {
        "LocalGlobal": LocalGlobal(size=GRADIENTS, clusters=3),
        "Principal": Principal(GRADIENTS),
        "Solution": Solution(GRADIENTS, ridge=fit.ridge),
    }.items():
        grads = distiller.distill(small, targets)
        predictions = dntk.solve.same_span(grads, ridge=fit.ridge).predict(phi_test)
        print(
            f"{grads.size} gradients by {name}: "
            f"fidelity {dntk.metrics.fidelity(predictions, logits_test):.3f}, "
            f"{grads.trace_residual:.1%} of the trace lost"
        )


if __name__ == "__main__":
    main()
