"""Joining the shards of a result, whatever it is of."""

from pathlib import Path

from dntk._progress import task
from dntk.archive import expanded
from dntk.stores import chunk_files, manifest
from dntk.stores.folder import StoreFolder


def merge(path: str | Path) -> StoreFolder:
    """Join the shards in a folder: every chunk is read and compared with its record.

    Nothing is computed and no network is needed. A folder that is joined already is read again.

    Raises
    ------
    FileNotFoundError
        There is no store.
    dntk.StoreError
        A shard is missing or not done, and is named; a chunk is damaged, or of another run.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(40, 3))
    >>> model = dntk.MLP(weights=(rng.normal(size=(2, 3)),), biases=(None,))
    >>> for i in range(3):  # each in a process of its own
    ...     shard = dntk.tangent_features(model, x, sketch=None, store="parts", shard=(i, 3))
    >>> folder = dntk.merge("parts")
    >>> len(dntk.StoredFeatures("parts"))
    40
    """
    chunk_files.zarr()
    folder = expanded(path)
    stored = manifest.found(folder) if folder.is_dir() else None
    if stored is None:
        msg = f"there is no store in {folder}: pass the folder that was given as `store`."
        raise FileNotFoundError(msg)
    own = StoreFolder(folder, stored)
    with task("merge", total=len(own.layout), unit="chunks") as bar:
        own.verify_all(bar=bar) if own.is_whole else own.finish(bar=bar)
    return own
