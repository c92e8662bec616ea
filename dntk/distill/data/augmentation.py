"""Flips, crops and shifts of images as linear maps, so that gradients go back through them in closed form.

Each is separable: an image X becomes R X Cᵀ, with matrices of its own that flip, cut and enlarge (bilinearly), and
roll its rows and columns. The adjoint, which gradients take, is Rᵀ G C.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from dntk import arrays
from dntk.backend import backend_of
from dntk.random import uniforms
from dntk.types import Array

_DRAWS = 7  # uniform numbers per image and step


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random crops enlarged to the whole size, flips along the width, and cyclic shifts.

    Parameters
    ----------
    area
        Least and largest share of the image that a crop keeps.
    aspect
        Least and largest ratio of a crop's width to its height, relative to the image's.
    flip
        Probability of a flip.
    shift
        Largest cyclic shift of each side, as a share of it.
    channels_last
        Whether images are (m, h, w, c), as in JAX, not (m, c, h, w).
    """

    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    shift: float = 1 / 7
    channels_last: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.area[0] <= self.area[1] <= 1 or not 0 < self.aspect[0] <= self.aspect[1]:
            msg = f"`area`={self.area} must be shares and `aspect`={self.aspect} ratios, the smaller ones first."
            raise ValueError(msg)
        if not 0 <= self.flip <= 1 or not 0 <= self.shift <= 1:
            msg = f"`flip`={self.flip} must be a probability, and `shift`={self.shift} a share of the side."
            raise ValueError(msg)

    def maps(self, x: Array, *, seed: int, step: int) -> "SeparableMaps":
        """The maps of one step, one for every image; a function of seed and step alone.

        Raises
        ------
        ValueError
            ``x`` holds no images.
        """
        if x.ndim not in (3, 4):
            msg = f"`augmentation` needs images, (m, h, w) or with channels, got shape {tuple(x.shape)}: pass None."
            raise ValueError(msg)
        height, width = x.shape[1:3] if self.channels_last or x.ndim == 3 else x.shape[2:4]
        count = x.shape[0] * _DRAWS
        draws = uniforms(seed=seed, stream=f"augmentation-{step}", count=count).reshape(-1, _DRAWS)
        area = self.area[0] + (self.area[1] - self.area[0]) * draws[:, 0]
        low, high = np.log(self.aspect)
        ratio = np.exp((low + (high - low) * draws[:, 1]) / 2)
        sides = np.minimum(1, np.sqrt(area) / ratio), np.minimum(1, np.sqrt(area) * ratio)
        rows = _resampling(height, sides[0], draws[:, 2], draws[:, 3], np.zeros(len(draws), dtype=bool), self.shift)
        columns = _resampling(width, sides[1], draws[:, 4], draws[:, 5], draws[:, 6] < self.flip, self.shift)
        backend, place = backend_of(x), arrays.device_of(x)
        xp = arrays.namespace(x)
        left, right = (xp.astype(backend.from_numpy(m, device=place), x.dtype) for m in (rows, columns))
        return SeparableMaps(rows=left, columns=right, channels_last=self.channels_last)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SeparableMaps:
    """X ↦ R X Cᵀ, with R (m, h, h) and C (m, w, w) of every image."""

    rows: Array
    columns: Array
    channels_last: bool

    def forward(self, x: Array) -> Array:
        """The changed images."""
        return self._applied(x, self.rows, self.columns)

    def adjoint(self, gradient: Array) -> Array:
        """The gradient in the images, of one in the changed images."""
        return self._applied(gradient, self.rows.mT, self.columns.mT)

    def __getitem__(self, images: slice) -> "SeparableMaps":
        """Maps of some of the images."""
        return dataclasses.replace(self, rows=self.rows[images, :, :], columns=self.columns[images, :, :])

    def _applied(self, x: Array, rows: Array, columns: Array) -> Array:
        xp = arrays.namespace(x)
        if x.ndim == 3:
            return rows @ x @ columns.mT
        first = xp.permute_dims(x, (0, 3, 1, 2)) if self.channels_last else x
        moved = rows[:, None, :, :] @ first @ columns.mT[:, None, :, :]
        return xp.permute_dims(moved, (0, 2, 3, 1)) if self.channels_last else moved


def _resampling(
    side: int,
    share: npt.NDArray[np.float64],
    place: npt.NDArray[np.float64],
    roll: npt.NDArray[np.float64],
    flipped: npt.NDArray[np.bool_],
    shift: float,
) -> npt.NDArray[np.float64]:
    """Matrices (m, side, side): pixel i of the result is an interpolation between two of the image."""
    length = share * side
    start = place * (side - length)
    offsets = np.floor(roll * (2 * np.floor(shift * side) + 1)) - np.floor(shift * side)
    steps = (np.arange(side)[None, :] - offsets[:, None]) % side
    steps = np.where(flipped[:, None], side - 1 - steps, steps)
    source = np.clip(start[:, None] + (steps + 0.5) * share[:, None] - 0.5, 0, side - 1)
    below = np.minimum(np.floor(source).astype(np.int64), max(0, side - 2))
    upper = source - below
    matrices = np.zeros((len(share), side, side))
    images, pixels = np.indices(below.shape)
    matrices[images, pixels, below] = 1 - upper
    matrices[images, pixels, np.minimum(below + 1, side - 1)] += upper
    return matrices
