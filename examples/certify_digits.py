"""Ask for a loss instead of sizes: distil the kernel of a network on the digits within tolerances, and certify it."""

import torch
from digits_pytorch import train
from sklearn.datasets import load_digits

import dntk
from dntk.distill.data import RPCholesky


def main() -> None:
    """Train; find the smallest sizes for three tolerances; read the last certificate."""
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8)[order] / 16
    y = torch.tensor(labels)[order]
    x, x_test, y, y_test = x[:500], x[500:], y[:500], y[500:]
    model = dntk.as_model(train(x, y))
    print(f"accuracy of the network {dntk.metrics.accuracy(model(x_test), y_test):.3f}")

    for tolerance in (0.4, 0.2, 0.1):
        distilled = dntk.DistilledNTK(model, data=RPCholesky(32), ridge=1e-2, tolerance=tolerance).fit(x)
        print(f"tolerance {distilled.tolerance}, fidelity {distilled.fidelity(x_test):.3f}")

    certificate = distilled.certificate
    print(certificate)
    lower, upper = certificate.eigenvalue_intervals
    print(f"largest eigenvalue between {float(lower[0]):.4g} and {float(upper[0]):.4g}")
    low, high = certificate.dropped_residual
    print(f"gradients of dropped images outside the span: {float(low[0]):.1%} to {float(high[0]):.1%}")


if __name__ == "__main__":
    main()
