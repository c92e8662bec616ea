"""What an answer is worth, measured in float64: errors of weights and predictions, likelihoods."""

from pathlib import Path
from typing import Any

import numpy as np
import scipy.linalg
from solve_gp_ways import Beliefs, primal
from solve_problems import Problem


def figures(contest: str, answer: Any, problem: Problem, folder: Path) -> dict[str, float]:
    """Figures of merit of one answer; none of a call that gives no answer."""
    if answer is None:
        return {}
    if contest == "path":
        return {"error": _path_error(answer, problem, folder)}
    if isinstance(answer, Beliefs):
        return _of_beliefs(answer, problem)
    # A linear predictor's weights are its predictions at the unit vectors.
    weights = np.asarray(answer(np.eye(problem.exact.shape[1]))).T
    query = problem.query.astype("f8")
    return {
        "error": relative(weights, problem.exact),
        "error_predictions": relative(np.asarray(answer(query)), query @ problem.exact.T),
    }


def relative(found: Any, reference: Any) -> float:
    """Frobenius norm of the difference over that of the reference."""
    found = np.asarray(found, dtype="f8")
    if found.shape != reference.shape:
        msg = f"`found` has shape {found.shape}, expected the reference's {reference.shape}."
        raise ValueError(msg)
    return float(np.linalg.norm(found - reference) / np.linalg.norm(reference))


def _path_error(weights: Any, problem: Problem, folder: Path) -> float:
    """The largest over the ridges."""
    gram, cross = np.load(folder / "gram.npy"), np.load(folder / "cross.npy")
    values, vectors = scipy.linalg.eigh(gram)
    turned = vectors.T @ cross
    exact = ((vectors @ (turned / (values[:, None] + ridge))).T for ridge in problem.grid)
    return max(relative(found, one) for found, one in zip(weights, exact, strict=True))


def _of_beliefs(found: Beliefs, problem: Problem) -> dict[str, float]:
    wide = (values.astype("f8") for values in (problem.x, problem.y, problem.query))
    exact = primal(*wide, problem.ridge)
    mean, variance = (np.asarray(values, dtype="f8") for values in (found.mean, found.variance))
    spread = variance + found.noise
    terms = np.log(2 * np.pi * spread) + (problem.query_y[:, 0] - mean) ** 2 / spread
    return {
        "error": relative(mean, exact.mean),
        "error_variance": relative(variance, exact.variance),
        "log_likelihood": found.log_likelihood,
        "error_log_likelihood": abs(found.log_likelihood / exact.log_likelihood - 1),
        "negative_log_likelihood": float(np.mean(terms) / 2),
    }
