"""Memory and disk that a run needs, estimated and compared with what is there before anything is computed."""

import dataclasses
import os
import shutil
from pathlib import Path

from dntk._text import printable
from dntk.models.batching import BUDGET
from dntk_studies.networks import Trainer
from dntk_studies.reproduce.images import Images
from dntk_studies.reproduce.settings import Settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Needs:
    """Bytes of memory and disk."""

    memory: int
    disk: int

    @printable
    def __str__(self) -> str:
        return f"about {_size(self.memory)} of memory and {_size(self.disk)} of disk"


def estimate(settings: Settings, images: Images, trainer: Trainer) -> Needs:
    """Needs of a run.

    Memory: the images of two seeds; sketched features of the pool in float32, and in float64 with the two arrays of
    their size that leave-one-out makes; gradient blocks; the framework. Disk: features of every scene and, with the
    optimiser's state, the networks.
    """
    classes, m = images.classes, settings.per_class * images.classes
    pool = len(images.pool.y) if settings.full_seeds else m
    features = 4 * classes * max(pool, m) * settings.sketch_dim
    one_image = 4 * images.image[0] * images.image[1] * images.image[2]
    stored = one_image * (len(images.train.y) + len(images.pool.y) + len(images.tested.y))
    parameters = {plan: trainer.parameters(plan, images.image, classes) for plan, _ in settings.runs()}
    reduced = min(settings.sketch_dim, m) if settings.sketch_dim > 2 * m else settings.sketch_dim
    scene = 4 * classes * reduced * (m + settings.validation + settings.test)
    networks = sum(2 * 12 * parameters[plan] for plan, _ in settings.runs())
    distilled = 9 * one_image * m * settings.seeds
    return Needs(
        memory=2 * stored + 7 * features + BUDGET + 2**30,
        disk=2 * scene * len(settings.runs()) + networks + distilled + 2**26,
    )


def require(needs: Needs, folder: Path) -> None:
    """Raise ``OSError`` where this machine has less free."""
    memory = available_memory()
    if memory is not None and memory < needs.memory:
        msg = (
            f"the run needs about {_size(needs.memory)} of memory, and {_size(memory)} are available: use --quick, or "
            "a machine with more."
        )
        raise OSError(msg)
    disk = shutil.disk_usage(_existing(folder)).free
    if disk < needs.disk:
        msg = (
            f"the run needs about {_size(needs.disk)} of disk, and {_size(disk)} are free where --out {folder} is: "
            "free some, or pass a folder on another disk."
        )
        raise OSError(msg)


def available_memory() -> int | None:
    """Bytes that can be allocated without swapping; ``None`` where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as stream:
            for line in stream:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
