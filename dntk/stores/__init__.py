"""Arrays on the disk that are computed chunk by chunk, by one process or by many that do not talk to each other.

A folder holds a Zarr array, whose chunks have checksums, a manifest that says what it is of, and a record of every
chunk. A chunk counts when its record is there, which is written after it: a kill at any moment leaves what was whole.
"""

from dntk.stores._merge import merge
from dntk.stores._tree import FAN, merged_in_tree
from dntk.stores.clusters import Cluster, cluster_of
from dntk.stores.folder import StoreFolder
from dntk.stores.job import Job, Made, made
from dntk.stores.layout import Layout
from dntk.stores.manifest import Wanted
from dntk.stores.place import Store, StoredShard, require_store
from dntk.stores.shards import Shard, shard_of

__all__ = [
    "FAN",
    "Cluster",
    "Job",
    "Layout",
    "Made",
    "Shard",
    "Store",
    "StoreFolder",
    "StoredShard",
    "Wanted",
    "cluster_of",
    "made",
    "merge",
    "merged_in_tree",
    "require_store",
    "shard_of",
]
