"""Choose digits to label, batch after batch, for a small convolutional PyTorch network; beside as many at random."""

import torch
from digits_pytorch import train
from sklearn.datasets import load_digits

import dntk
from dntk.distill.data import LCMD, DataSelector, Random


def main() -> None:
    """Twenty labels to begin with, then four batches of twenty."""
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8)[order] / 16
    y = torch.tensor(labels)[order]
    x, x_test, y, y_test = x[:1000], x[1000:], y[:1000], y[1000:]

    ways: dict[str, DataSelector] = {"at random": Random(20), "LCMD": LCMD(20)}
    for name, selector in ways.items():
        labelled = list(range(20))
        for _ in range(4):
            model = dntk.as_model(train(x[labelled], y[labelled]))
            phi = dntk.tangent_features(model, x, sketch=dntk.sketch.SparseSign(256, seed=0), outputs="sum")
            labelled += selector.select(phi, given=labelled).indices.tolist()
        final = dntk.as_model(train(x[labelled], y[labelled]))
        print(f"{len(labelled)} labels, {name}: accuracy {dntk.metrics.accuracy(final(x_test), y_test):.3f}")


if __name__ == "__main__":
    main()
