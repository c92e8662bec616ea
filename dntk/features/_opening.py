"""What features can be read from."""

from pathlib import Path
from typing import Any

from dntk._checks import kind_of
from dntk.archive import expanded
from dntk.sketch import description
from dntk.stores import StoreFolder, chunk_files
from dntk.stores._verified import VerifiedArray


def opened(source: Any) -> tuple[Any, str, Any]:
    """The array, the name of its numbers, and the sketch that made them if that is known."""
    if isinstance(source, str | Path) and (expanded(source) / "zarr.json").is_file():
        source = chunk_files.foreign(expanded(source))
    elif isinstance(source, str | Path):
        chunk_files.zarr()
        folder = StoreFolder.opened(source, "features")
        with folder.stored.building():
            about = folder.stored.manifest["about"]
            sketch = None if about.get("sketch") is None else description.rebuilt(about["sketch"])
        return VerifiedArray.of(folder), folder.layout.dtype, sketch
    if not all(hasattr(source, name) for name in ("shape", "dtype", "ndim")):
        msg = f"`source` is {kind_of(source)}: pass the folder of stored features, a Zarr array or a memory map."
        raise TypeError(msg)
    kind = str(source.dtype)
    if source.ndim not in (2, 3) or 0 in source.shape or kind not in ("float16", "float32", "float64"):
        msg = (
            f"`source` has shape {tuple(source.shape)} and dtype {kind}: expected floating-point numbers of shape "
            "(outputs, points, features) or (points, features), none 0."
        )
        raise ValueError(msg)
    return source, kind, None
