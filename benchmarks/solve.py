"""Ridge regression by dntk, SciPy and scikit-learn on the same features, paired in one process.

Median seconds, ratio to dntk, share of the machine's float32 product rate (counting 2nk² operations), and the relative
error of the weights against float64. Then a path of 50 ridges, against one solve.

Run: python benchmarks/solve.py [--points 50000] [--features 1024] [--repeats 5] [--json results.json]
"""

import argparse
import json
from pathlib import Path

import numpy as np
import scipy.linalg
import torch
from measure import interleaved, relative_error, summary, timed
from sklearn.linear_model import Ridge

import dntk
from dntk.backend import backend_of


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=50_000)
    parser.add_argument("--features", type=int, default=1024)
    parser.add_argument("--targets", type=int, default=10)
    parser.add_argument("--relative-ridge", type=float, default=1e-4, help="λ in units of the largest eigenvalue")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = contest(arguments)
    for name, row in rows.items():
        print(f"{name:28}" + "  ".join(f"{key} {value:.3g}" for key, value in row.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


def contest(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """All contestants on one problem."""
    n, k = arguments.points, arguments.features
    rng = np.random.default_rng(0)
    scales = (1 + np.arange(k)) ** -0.5
    x = (rng.standard_normal((n, k), dtype=np.float32) * scales).astype(np.float32)
    y = (x @ rng.standard_normal((k, arguments.targets)) + rng.standard_normal((n, arguments.targets))).astype("f4")
    wide = x.astype(np.float64)
    gram = wide.T @ wide
    ridge = arguments.relative_ridge * float(np.linalg.eigvalsh(gram)[-1])
    exact = torch.asarray(np.linalg.solve(gram + ridge * np.eye(k), wide.T @ y).T)
    del wide
    phi, targets = dntk.TangentFeatures(torch.asarray(x)), torch.asarray(y)
    grid = [ridge * 10**e for e in np.linspace(-2, 2, 50)]
    square = torch.randn(2048, 2048)

    def dense() -> torch.Tensor:
        system = x.T @ x + np.float32(ridge) * np.eye(k, dtype=np.float32)
        return torch.asarray(scipy.linalg.solve(system, x.T @ y, assume_a="pos").T)

    def scikit_learn() -> torch.Tensor:
        return torch.asarray(Ridge(alpha=ridge, solver="cholesky", fit_intercept=False).fit(x, y).coef_)

    solvers = {
        "dntk ridge": lambda: dntk.solve.ridge(phi, targets, ridge=ridge).weights,
        "SciPy Cholesky": dense,
        "scikit-learn Ridge": scikit_learn,
    }
    works = {
        **solvers,
        "dntk path of 50": lambda: dntk.solve.ridge_path(phi, targets, grid),
        "dntk leave-one-out of 50": lambda: dntk.solve.ridge(phi, targets, ridge=grid),
        "product 2048": lambda: backend_of(square).inner(square, square),
    }
    errors = {name: relative_error(solve(), exact) for name, solve in solvers.items()}
    for work in works.values():
        timed(work)
    seconds = interleaved(works, dict.fromkeys(works, arguments.repeats))
    medians = {name: summary(times)["median_s"] for name, times in seconds.items()}
    rate = 2 * 2048**3 / medians["product 2048"]
    rows = {}
    for name, median in medians.items():
        row = {"seconds": median, "ratio": median / medians["dntk ridge"]}
        if name in errors:
            row |= {"share_of_product_rate": 2 * n * k * k / median / rate, "error": errors[name]}
        rows[name] = row
    return rows


if __name__ == "__main__":
    main()
