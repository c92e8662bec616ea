"""What is known of the points of stored features, row ids and losses say, beside them as Arrow."""

import hashlib
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dntk._checks import kind_of
from dntk.archive import StoreError, locked, present, written_whole
from dntk.backend import backend_of
from dntk.features.stored import StoredFeatures
from dntk.models.nests import is_array
from dntk.stores import StoreFolder

FILE = "points.arrow"
_OWNER, _DIGEST = b"dntk.owner", b"dntk.sha256"


def annotate(phi: StoredFeatures, columns: Mapping[str, Any]) -> Path:
    """Write columns with a value for each point beside stored features, as a file of Arrow, and return its path.

    The file is ``points.arrow`` in the folder, in the IPC format that pandas, Polars, DuckDB and Spark read; it appears
    whole or not at all. Columns that are there already stay, also when others come later.

    Parameters
    ----------
    phi
        All features of a folder, no slice of them.
    columns
        By name: an array (n,) of numbers, on any device, or n texts; of the order that the points have.

    Raises
    ------
    TypeError
        Features that are not in a folder; a column of something else.
    ValueError
        A column of another length, or one whose name is there with other values.
    dntk.StoreError
        The file that is there is damaged, or of other features.
    ImportError
        pyarrow is not installed.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    >>> model = dntk.MLP(weights=(rng.normal(size=(2, 3)),), biases=(None,))
    >>> phi = dntk.tangent_features(model, x, sketch=None, store="features")
    >>> losses = ((model(x) - y) ** 2).sum(axis=1)
    >>> path = dntk.annotate(phi, {"id": [f"image {i}" for i in range(40)], "loss": losses})
    >>> dntk.annotations(phi[10:12]).column_names, dntk.annotations(phi[10:12])["id"].to_pylist()
    (['id', 'loss'], ['image 10', 'image 11'])
    """
    arrow, folder = _arrow(), _folder_of(phi)
    if phi.points != (0, folder.layout.shape[1]):
        msg = f"`phi` is a slice of the features in {folder.folder}: annotate all of them, dntk.StoredFeatures(path)."
        raise ValueError(msg)
    new = {name: _column(arrow, name, values, len(phi)) for name, values in columns.items()}
    path = folder.folder / FILE
    with locked(path):
        there = _read(arrow, folder) if present(path) else None
        known = {} if there is None else {name: there[name] for name in there.column_names}
        for name in known.keys() & new.keys():
            if not known[name].equals(arrow.chunked_array([new[name]])):
                msg = f"the column {name!r} is in {path} with other values: choose another name, or remove the file."
                raise ValueError(msg)
        table = arrow.table(known | new).combine_chunks()
        described = {_OWNER: folder.owner.encode(), _DIGEST: _digest(arrow, table).encode()}
        with written_whole(path) as stream:
            stream.write(_encoded(arrow, table.replace_schema_metadata(described)))
    return path


def annotations(phi: StoredFeatures) -> Any:
    """The columns of :func:`annotate` for these features, as a ``pyarrow.Table``; of a slice its rows.

    Raises
    ------
    FileNotFoundError
        There are none.
    TypeError
        Features that are not in a folder.
    dntk.StoreError
        The file is damaged, or of other features.
    ImportError
        pyarrow is not installed.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> model = dntk.MLP(weights=(rng.normal(size=(2, 3)),), biases=(None,))
    >>> phi = dntk.tangent_features(model, rng.normal(size=(40, 3)), sketch=None, store="features")
    >>> path = dntk.annotate(phi, {"id": np.arange(100, 140)})
    >>> dntk.annotations(dntk.StoredFeatures("features"))["id"][3].as_py()
    103
    """
    arrow, folder = _arrow(), _folder_of(phi)
    if not present(folder.folder / FILE):
        msg = f"there is no {FILE} in {folder.folder}: write it by dntk.annotate(phi, columns)."
        raise FileNotFoundError(msg)
    return _read(arrow, folder).slice(phi.points[0], len(phi))


def _arrow() -> Any:
    try:
        importlib.import_module("pyarrow.ipc")
        return importlib.import_module("pyarrow")
    except ImportError as error:
        msg = 'columns beside stored features need pyarrow, which is not installed: pip install "dntk[arrow]".'
        raise ImportError(msg) from error


def _folder_of(phi: Any) -> StoreFolder:
    if not isinstance(phi, StoredFeatures) or phi.path is None or not present(phi.path / "manifest"):
        msg = (
            f"`phi` is {kind_of(phi)}, with no folder of its own: pass features that were made with store='folder', or "
            "dntk.StoredFeatures('folder')."
        )
        raise TypeError(msg)
    return StoreFolder.opened(phi.path, "features")


def _column(arrow: Any, name: str, values: Any, points: int) -> Any:
    """An array of Arrow without missing values."""
    host = np.asarray(backend_of(values).to_numpy(values)) if is_array(values) else values
    texts = not is_array(host) and isinstance(host, list | tuple) and all(isinstance(one, str) for one in host)
    if not texts and not (is_array(host) and host.ndim == 1 and host.dtype.kind in "biufU"):
        found = f"shape {tuple(host.shape)}, dtype {host.dtype}" if is_array(host) else kind_of(host)
        msg = f"`columns[{name!r}]` is {found}: pass an array ({points},) of numbers, or a list of {points} texts."
        raise TypeError(msg)
    if len(host) != points:
        msg = f"`columns[{name!r}]` has {len(host)} values, and there are {points} points: pass one for each."
        raise ValueError(msg)
    return arrow.array(host)


def _read(arrow: Any, folder: StoreFolder) -> Any:
    """The whole table, compared with its digest and its features."""
    path = folder.folder / FILE
    try:
        with arrow.OSFile(str(path)) as stream:
            table = arrow.ipc.open_file(stream).read_all()
    except (arrow.ArrowInvalid, OSError) as error:
        msg = f"{path} cannot be read ({error}): remove it, and write its columns again."
        raise StoreError(msg) from error
    described = table.schema.metadata or {}
    plain = table.replace_schema_metadata(None).combine_chunks()
    if described.get(_OWNER) != folder.owner.encode() or plain.num_rows != folder.layout.shape[1]:
        msg = f"{path} is of other features than those in {folder.folder}: remove it, and write its columns again."
        raise StoreError(msg)
    if described.get(_DIGEST) != _digest(arrow, plain).encode():
        msg = f"{path} is damaged, its digest is another: remove it, and write its columns again."
        raise StoreError(msg)
    return plain


def _encoded(arrow: Any, table: Any) -> bytes:
    sink = arrow.BufferOutputStream()
    with arrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _digest(arrow: Any, table: Any) -> str:
    """SHA-256 of names, types and values."""
    return hashlib.sha256(_encoded(arrow, table)).hexdigest()
