"""What dntk stands on: a bill of materials in CycloneDX's JSON, and whether every licence may be passed on.

``python .ci/licences.py SBOM.json``, in an environment where dntk is installed with the extras that are asked about.
Ends with 1 where a licence is unknown or asks for more than to be named.
"""

import importlib.metadata as metadata
import json
import pathlib
import re
import sys

PERMISSIVE = re.compile(
    r"apache|mit\b|bsd|psf|python software|isc\b|zlib|hpnd|mpl|mozilla|unlicense|cc0|boost|bsl|historical",
    re.IGNORECASE,
)
COPYLEFT = re.compile(r"\b(a|l)?gpl|general public|sspl|proprietary", re.IGNORECASE)
# Their metadata have no licence, or more than one line of it: read in their own files.
READ: dict[str, str] = {}


def closure(root: str, extras: set[str]) -> dict[str, metadata.Distribution]:
    """Installed distributions that ``root`` needs, with those of its extras, by normalised name."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [(root, frozenset(extras))]
    seen = set()
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for another platform, or of an extra that is not installed
        for line in found[name].requires or ():
            needed, asked, condition = _parsed(line)
            extra = re.search(r"extra\s*==\s*[\"']([\w.-]+)[\"']", condition)
            if extra is None or _normal(extra.group(1)) in wanted:
                waiting.append((needed, asked))
    return found


def licence_of(distribution: metadata.Distribution) -> str:
    """What its metadata say: an expression, else classifiers, else the first line of the text."""
    about = distribution.metadata
    named = [line.rpartition("::")[2].strip() for line in about.get_all("Classifier", []) if line.startswith("License")]
    named = [name for name in named if name != "OSI Approved"]
    expression, text = about.get("License-Expression"), (about.get("License") or "").strip()
    name = _normal(about["Name"])
    return READ.get(name) or expression or "; ".join(named) or text.partition("\n")[0][:80] or "unknown"


def refused(licence: str) -> bool:
    """Whether a licence is unknown or asks for more than to be named; of alternatives one may be taken."""
    options = re.split(r"\s+or\s+", licence, flags=re.IGNORECASE)
    return not any(PERMISSIVE.search(option) and not COPYLEFT.search(option) for option in options)


def bill(found: dict[str, metadata.Distribution], root: str) -> dict[str, object]:
    """CycloneDX 1.5."""
    parts = [
        {
            "type": "library",
            "name": each.metadata["Name"],
            "version": each.version,
            "purl": f"pkg:pypi/{name}@{each.version}",
            "bom-ref": name,
            "licenses": [{"license": {"name": licence_of(each)}}],
        }
        for name, each in sorted(found.items())
    ]
    needs = {
        name: sorted({_parsed(line)[0] for line in each.requires or ()} & set(found)) for name, each in found.items()
    }
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": next(part for part in parts if part["bom-ref"] == root)},
        "components": [part for part in parts if part["bom-ref"] != root],
        "dependencies": [{"ref": name, "dependsOn": needs[name]} for name in sorted(found)],
    }


def main() -> int:
    """Write the bill; name what may not be passed on."""
    found = closure("dntk", {"all"})
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "sbom.json")
    out.write_text(json.dumps(bill(found, "dntk"), indent=2) + "\n")
    bad = {name: licence_of(each) for name, each in sorted(found.items()) if refused(licence_of(each))}
    for name, licence in bad.items():
        print(f"{name}: {licence}")
    print(f"{out}: {len(found) - 1} distributions, {len(bad)} with a licence that is unknown or asks for more")
    return int(bool(bad))


def _parsed(line: str) -> tuple[str, frozenset[str], str]:
    """Name, extras and condition of a requirement."""
    head, _, condition = line.partition(";")
    match = re.match(r"\s*([\w.-]+)\s*(?:\[([^\]]*)\])?", head)
    assert match is not None, line
    return _normal(match[1]), frozenset(_normal(part) for part in (match[2] or "").split(",") if part), condition


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()


if __name__ == "__main__":
    sys.exit(main())
