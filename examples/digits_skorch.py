"""Distil the kernel of a PyTorch network that skorch has trained, as an estimator of scikit-learn."""

import importlib.util
import sys

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import dntk

NEEDED = ("torch", "skorch")


def main() -> None:
    """Train with skorch, distil, compare."""
    import skorch
    import torch

    images, labels = load_digits(return_X_y=True)
    x = (images / 16).astype(np.float32)
    x, x_test, y, y_test = train_test_split(x, labels, train_size=1000, random_state=0)

    torch.manual_seed(0)
    layers = (torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    net = skorch.NeuralNetClassifier(
        torch.nn.Sequential(*layers), criterion=torch.nn.CrossEntropyLoss, lr=0.3, max_epochs=30, verbose=0
    ).fit(x, y)
    print(f"network: accuracy {net.score(x_test, y_test):.3f}")

    # skorch leaves its module in training mode; dntk takes it in the mode in which it predicts.
    few = dntk.DistilledNTKClassifier(net.module_.eval(), data=dntk.distill.data.KMeans(200)).fit(x, y)
    same = np.mean(few.predict(x_test) == net.predict(x_test))
    print(f"kernel regression on 200 points: accuracy {few.score(x_test, y_test):.3f}, {same:.1%} as the network")
    print(few.fit_.losses)


if __name__ == "__main__":
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        print(f"skipped: this example needs {', '.join(missing)}: pip install {' '.join(missing)}")
        sys.exit()
    main()
