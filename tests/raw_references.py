"""References that stand in built pages as they were written, ``[name][]``, because nothing of that name is documented.

python tests/raw_references.py site
"""

import pathlib
import re
import sys

_RAW = re.compile(r"\[(?:<code>)?[\w.`]+(?:</code>)?\]\[(?:|\w+\.[\w.]+)\]")
_CODE = re.compile(r"<pre.*?</pre>", re.DOTALL)


def raw_references(folder: pathlib.Path) -> list[str]:
    """Page and text of every reference that has not become a link; programs on the pages are left out."""
    found = []
    for page in sorted(folder.rglob("*.html")):
        text = _CODE.sub("", page.read_text(encoding="utf-8"))
        found += [f"{page.relative_to(folder)}: {match.group(0)}" for match in _RAW.finditer(text)]
    return found


if __name__ == "__main__":
    left = raw_references(pathlib.Path(sys.argv[1]))
    sys.exit("\n".join(["references that are no links:", *left]) if left else 0)
