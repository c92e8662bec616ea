"""Bad input, thrown at every public entry on every library: what is refused in words, and what happens else.

    python -m tests.bad_input [--library numpy --library torch ...] [--all] [--out counts.json]

Every argument of every entry is given everything of its kind that a person may pass by mistake. An answer is
``documented``, a TypeError or ValueError (or a file that is not there) which dntk itself raises and which names the
argument and what to do; ``right``, where the value means the same as a proper one and the result is the same;
``foreign``, any other exception; ``nonsense``, a result.
"""

import argparse
import collections
import json
from pathlib import Path

from tests.bad_input.scene import LIBRARIES
from tests.bad_input.trials import run


def main() -> None:
    """Count, and show what is neither documented nor right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", action="append", choices=LIBRARIES)
    parser.add_argument("--every", type=int, default=1, help="only every so manyth pair")
    parser.add_argument("--all", action="store_true", help="show every message")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    cases = run(tuple(chosen.library or LIBRARIES), every_nth=chosen.every)
    for case in cases:
        if chosen.all or case.outcome in ("foreign", "nonsense"):
            print(
                f"{case.outcome:10} {case.library:7} {case.entry}({case.argument}={case.value}): {case.message[:160]}"
            )
    counts = {library: collections.Counter(c.outcome for c in cases if c.library == library) for library in LIBRARIES}
    for library, count in counts.items():
        print(library, dict(count))
    total = collections.Counter(case.outcome for case in cases)
    refused = total["documented"] + total["foreign"] + total["nonsense"]
    print(f"{len(cases)} cases; {dict(total)}; documented {total['documented'] / max(1, refused):.2%} of what is bad")
    if chosen.out:
        chosen.out.write_text(json.dumps({name: dict(count) for name, count in counts.items()}, indent=2))


if __name__ == "__main__":
    main()
