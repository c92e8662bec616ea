"""Distil the kernel of a small convolutional PyTorch network, and print what was lost."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import dntk
from dntk.distill.data import RPCholesky
from dntk.distill.gradients import Solution


def train(x: torch.Tensor, y: torch.Tensor) -> nn.Module:
    """Two convolutions and a linear layer, trained for a few seconds; in evaluation mode."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(15):
        for batch in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x[batch]), y[batch]).backward()
            optimizer.step()
    return net.eval()


def main() -> None:
    """Train, distil, measure on images that nothing was fitted to."""
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8)[order] / 16
    y = torch.tensor(labels)[order]
    x, x_test, y, y_test = x[:1000], x[1000:], y[:1000], y[1000:]

    model = dntk.as_model(train(x, y))
    distilled = dntk.DistilledNTK(
        model,
        data=RPCholesky(200, seed=0),
        sketch=dntk.sketch.SparseSign(2048, seed=0),
        gradients=Solution(5),
    ).fit(x)
    network = dntk.metrics.accuracy(model(x_test), y_test)
    print(f"{model.n_parameters} parameters; accuracy of the network {network:.3f}")
    print(f"distilled: {distilled.score(x_test, y_test):.3f}, ", end="")
    print(f"same class as the network: {distilled.fidelity(x_test):.3f}")
    print(f"trace residual of a test image {float(distilled.trust(x_test).mean()):.3f} on average")
    print(distilled.losses)


if __name__ == "__main__":
    main()
