"""Distil images for a convolutional network on the digits, three ways, and compare what their kernels keep."""

import torch
from digits_pytorch import train
from sklearn.datasets import load_digits

import dntk
from dntk.distill.data import RPCholesky, TangentResidual, Wasserstein


def main() -> None:
    """Train; choose 20 images, make 20 images, and make 10 images, one of every class."""
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8)[order] / 16
    y = torch.tensor(labels)[order]
    x, x_test, y, y_test = x[:500], x[500:], y[:500], y[500:]
    model = dntk.as_model(train(x, y))
    sketch = dntk.sketch.SparseSign(1024, seed=0)
    print(f"accuracy of the network {dntk.metrics.accuracy(model(x_test), y_test):.3f}")

    sources = {
        "20 real images (RPCholesky)": RPCholesky(20),
        "20 images by the tangent residual": TangentResidual(
            20, steps=40, sketch=sketch, outputs="sum", limits=(0.0, 1.0)
        ),
        "10 images by Wasserstein metrics": Wasserstein(
            1, steps=200, learning_rate=0.15, augmentation=None, limits=(0.0, 1.0)
        ),
    }
    for name, source in sources.items():
        distilled = dntk.DistilledNTK(model, data=source, sketch=sketch, ridge=1e-3).fit(x)
        lost, cost = distilled.losses.data_trace_residual, distilled.ledger["data"]
        print(f"{name}: {lost:.1%} of the trace lost, fidelity {distilled.fidelity(x_test):.3f}, ", end="")
        print(f"{cost.jacobian_rows} Jacobian rows and {cost.seconds:.1f} s to distil")


if __name__ == "__main__":
    main()
