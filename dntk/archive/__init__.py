"""Files that appear whole or not at all, and archives: arrays and a manifest in one file under one checksum.

An archive is a safetensors file that any reader of that format opens. Its metadata hold the manifest, JSON that is
checked against a schema, and a SHA-256 of every other byte of the file. Nothing in it is executed.
"""

from dntk.archive import schema
from dntk.archive._locks import locked
from dntk.archive.digests import checksum, fingerprint, to_host
from dntk.archive.errors import StoreError
from dntk.archive.files import collect, collect_below, collect_beside, expanded, present, write_whole, written_whole
from dntk.archive.formats import Format, packed, read, unpacked, write
from dntk.archive.stored import Stored

__all__ = [
    "Format",
    "StoreError",
    "Stored",
    "checksum",
    "collect",
    "collect_below",
    "collect_beside",
    "expanded",
    "fingerprint",
    "locked",
    "packed",
    "present",
    "read",
    "schema",
    "to_host",
    "unpacked",
    "write",
    "write_whole",
    "written_whole",
]
