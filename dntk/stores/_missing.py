"""What a folder lacks, in words that say what to run."""

import itertools
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from dntk.archive import Stored, StoreError
from dntk.stores.layout import Layout
from dntk.stores.shards import Shard

_NAMED = 20
"""Shards that an error names at most."""


def require_none_missing(folder: Path, layout: Layout, records: Mapping[int, Stored]) -> None:
    """Raise ``StoreError`` unless there are records of all chunks; shards that lack some are named."""
    total = len(layout)
    if len(records) == total:
        return
    first = layout.slices(next(number for number in itertools.count() if number not in records))
    msg = (
        f"{folder} lacks {total - len(records)} of {total} chunks, the first of them "
        f"[{', '.join(f'{part.start}:{part.stop}' for part in first)}]: run {_lacking(records, total)} again, it goes "
        "on where it was."
    )
    raise StoreError(msg)


def _lacking(records: Mapping[int, Stored], chunks: int) -> str:
    """What has to run again, so that there are all of so many chunks."""
    counts = Counter(found.manifest["shard"][1] for found in records.values())
    total = counts.most_common(1)[0][0] if counts else 1
    if not 1 < total <= chunks:
        return "the call that makes them"
    shards = (Shard(i, total) for i in range(total))
    lacking = [shard.index for shard in shards if any(one not in records for one in shard.numbers(chunks))]
    more = f" and {len(lacking) - _NAMED} others" if len(lacking) > _NAMED else ""
    return f"shard {', '.join(map(str, lacking[:_NAMED]))}{more} of {total}"
