"""Interrupt a fit, as Ctrl-C or a kill would, and go on where it was."""

import tempfile
from collections.abc import Callable

import torch
from digits_pytorch import train
from sklearn.datasets import load_digits

import dntk
from dntk.distill.data import RPCholesky


class OutOfTime(Exception):
    """Raised by the callback below: what it raises ends the call."""


def until(stage: str) -> Callable[[dntk.ProgressEvent], None]:
    """A callback that stops a fit when a stage of it begins."""

    def told(event: dntk.ProgressEvent) -> None:
        if event.task == stage:
            raise OutOfTime

    return told


def main() -> None:
    """Train; fit until the gradients are to be distilled, and once more, to the end."""
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16, torch.tensor(labels)
    spec = dntk.DistilledNTK(dntk.as_model(train(x[:500], y[:500])), data=RPCholesky(100))
    with tempfile.TemporaryDirectory() as folder:
        try:
            with dntk.progress(until("gradients")):
                spec.fit(x[:500], checkpoint=f"{folder}/run")
        except OutOfTime:
            print("stopped before the gradients were distilled")
        with dntk.progress(print, interval=1.0):
            fit = spec.fit(x[:500], checkpoint=f"{folder}/run")
    print(f"went on to the end, fidelity {fit.fidelity(x[500:]):.3f}")


if __name__ == "__main__":
    main()
