"""Distil a network on the digits and write what came out as one page: report.html, its charts beside it."""

import sys
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

import dntk
from dntk.distill.data import RPCholesky
from dntk.distill.gradients import Solution


def main() -> None:
    """Train, distil, and tell of it in the folder that is named, or in a new one."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(images))
    x, y = (images[order] / 16).astype(np.float32), labels[order]
    x, x_test, y, y_test = x[:1000], x[1000:1200], y[:1000], y[1000:1200]
    model = dntk.as_model(MLPClassifier((32,), max_iter=200, random_state=0, tol=1e-2).fit(x, y))

    specification = dntk.DistilledNTK(model, RPCholesky(100), gradients=Solution(10))
    fit = specification.fit(x)
    page = Path(sys.argv[1] if len(sys.argv) > 1 else mkdtemp()) / "report.html"
    fit.report(page, x=x_test, y=y_test, points=x, image_shape=(8, 8), plan=specification.plan(x), files=True)
    print(f"{page}: {page.stat().st_size / 1e3:.0f} kB, fidelity {fit.fidelity(x_test):.1%}")


if __name__ == "__main__":
    main()
