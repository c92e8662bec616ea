"""The images of a run: one split per seed."""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dntk.random import uniforms
from dntk_studies import datasets
from dntk_studies.datasets import Dataset, Split
from dntk_studies.reproduce.settings import Settings

_FOLDERS = {"imagenette": "imagenette2-160", "imagewoof": "imagewoof2-160"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """NumPy images (n, channels, height, width) and labels (n,)."""

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.y)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Images:
    """NumPy images (n, channels, height, width) in [0, 1] and labels of one seed's split.

    ``pool`` is a part of ``train``; ``test`` is what results are measured on, ``tested`` the whole test part, on which
    the network's accuracy is stated.
    """

    train: Part
    pool: Part
    validation: Part
    test: Part
    tested: Part
    classes: int

    @property
    def image(self) -> tuple[int, int, int]:
        """Shape of one image."""
        c, h, w = self.train.x.shape[1:]
        return int(c), int(h), int(w)


def load_images(settings: Settings, seed: int, directory: Path | None) -> Images:
    """Split of one seed.

    Raises
    ------
    FileNotFoundError
        The data are missing; the message says where to get them.
    ValueError
        They are damaged, or fewer than the settings ask for.
    """
    data = _load(settings, seed, directory)
    train, validation, test = (_as_images(part) for part in (data.train, data.validation, data.test))
    classes = int(np.max(train.y)) + 1
    _require_enough(settings, train, test, classes)
    return Images(
        train=train,
        pool=_balanced(train, settings.pool, classes),
        validation=validation,
        test=_drawn(test, settings.test, seed),
        tested=test,
        classes=classes,
    )


def fingerprint(images: Images) -> str:
    """Digest of the labels and of the first images: changes when the data do."""
    digest = hashlib.sha256()
    for part in (images.train, images.tested):
        digest.update(np.ascontiguousarray(part.y).tobytes())
        digest.update(np.ascontiguousarray(part.x[:500]).tobytes())
    return digest.hexdigest()[:16]


def _load(settings: Settings, seed: int, directory: Path | None) -> Dataset:
    sizes: dict[str, Any] = {"train": settings.train, "validation": settings.validation, "seed": seed}
    if settings.data == "digits":
        return datasets.digits(**sizes)
    if settings.data == "cifar10":
        return datasets.cifar10(directory=directory, **sizes)
    if settings.data == "fashion-mnist":
        return datasets.fashion_mnist(directory=directory, **sizes)
    return datasets.image_folder(_folder(settings.data, directory), size=settings.pixels, **sizes)


def _folder(data: str, directory: Path | None) -> Path:
    """The folder with train/ and val/: ``directory`` itself, or the archive's own folder inside."""
    if directory is None:
        msg = (
            f"--data {data} needs --data-dir DIR: the folder {_FOLDERS[data]} (or one like it, train/CLASS/picture and "
            "val/CLASS/picture) of https://github.com/fastai/imagenette, unpacked."
        )
        raise FileNotFoundError(msg)
    inside = directory / _FOLDERS[data]
    return inside if inside.is_dir() else directory


def _as_images(part: Split) -> Part:
    """NumPy arrays; the digits are flat, and get their two axes and a channel."""
    x, y = np.asarray(part.x), np.asarray(part.y)
    if x.ndim == 2:
        side = round(x.shape[1] ** 0.5)
        x = np.reshape(x, (-1, 1, side, side))
    return Part(x=x, y=y)


def _require_enough(settings: Settings, train: Part, test: Part, classes: int) -> None:
    counts = np.bincount(train.y, minlength=classes)
    if int(np.min(counts)) < settings.per_class:
        msg = (
            f"class {int(np.argmin(counts))} has {int(np.min(counts))} training images, but {settings.per_class} per "
            "class are distilled: the data are incomplete."
        )
        raise ValueError(msg)
    if len(test.y) < 1:
        msg = "the data have no test images."
        raise ValueError(msg)


def _balanced(part: Part, size: int, classes: int) -> Part:
    """The first points of every class, ``size`` in all (fewer where a class has fewer), in their order."""
    chosen = np.zeros(len(part.y), dtype=bool)
    for label in range(classes):
        chosen[np.flatnonzero(part.y == label)[: size // classes]] = True
    return Part(x=part.x[chosen], y=part.y[chosen])


def _drawn(part: Part, size: int, seed: int) -> Part:
    order = np.argsort(uniforms(seed=seed, stream="reproduce-test", count=len(part.y)), kind="stable")[:size]
    return Part(x=part.x[order], y=part.y[order])


def indices_by_class(labels: npt.NDArray[Any], classes: int) -> list[Any]:
    """Positions of the points of every class."""
    return [np.flatnonzero(labels == label) for label in range(classes)]


def interleaved(per_class: list[Any]) -> Any:
    """The first of every class, then the second of every class, ...: any prefix of whole rounds is balanced."""
    return np.stack(per_class, axis=1).reshape(-1)
