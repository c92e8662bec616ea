"""The array of a folder; every chunk is compared with its record before numbers of it are used."""

import dataclasses
from typing import Any

from dntk.stores.folder import StoreFolder


@dataclasses.dataclass(frozen=True, eq=False)
class VerifiedArray:
    """A whole Zarr array of ours, read by slices.

    Zarr's checksum of a chunk says that its file was not damaged. That the file is another's, of an old run or of
    another place in this one, only the record of the chunk tells. A chunk is looked at once by every object of this
    class: O(bytes of the chunk).
    """

    folder: StoreFolder
    array: Any
    _sound: set[int] = dataclasses.field(default_factory=set, repr=False)

    @staticmethod
    def of(folder: StoreFolder) -> "VerifiedArray":
        """The array of a folder that is whole; ``dntk.StoreError`` where its description is damaged."""
        return VerifiedArray(folder, folder.array())

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return self.folder.layout.shape

    @property
    def chunks(self) -> tuple[int, ...]:
        """Shape of a chunk."""
        return self.folder.layout.chunks

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> Any:
        """Of the numbers on the disk."""
        return self.array.dtype

    @property
    def store_path(self) -> Any:
        """Where the array is."""
        return self.array.store_path

    def __getitem__(self, part: tuple[slice, ...]) -> Any:
        """Numbers as Zarr reads them; ``dntk.StoreError`` where a chunk of them is not what its record says."""
        for number in self.folder.layout.touched(part):
            if number not in self._sound:
                self.folder.verify(number)
                self._sound.add(number)
        return self.array[part]
