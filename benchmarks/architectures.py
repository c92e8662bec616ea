"""How dntk differentiates forty public architectures, and at what cost and error: the table of docs/architectures.md.

One process a network, at most a minute each; results are kept, so that another run measures only what is missing.
Needs torchvision, timm and transformers; a network whose library is missing has a line that says so.

Run: python benchmarks/architectures.py [--networks NAME ...] [--json FILE] [--page FILE] [--again]
"""

import argparse
import json
import sys
from pathlib import Path

from architectures_networks import ARCHITECTURES
from architectures_report import page
from measure import in_child
from rich.progress import track

HERE = Path(__file__).parent


def main() -> None:
    """Measure what is missing, keep it, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(ARCHITECTURES), choices=list(ARCHITECTURES))
    parser.add_argument("--json", type=Path, default=HERE / "results" / "architectures.json")
    parser.add_argument("--page", type=Path, default=HERE.parent / "docs" / "architectures.md")
    parser.add_argument("--again", action="store_true", help="measure what is there, too")
    parser.add_argument("--time-limit", type=float, default=120.0, help="seconds for one network")
    arguments = parser.parse_args()
    found = json.loads(arguments.json.read_text()) if arguments.json.exists() else {}
    missing = [name for name in arguments.networks if arguments.again or "error" not in found.get(name, {})]
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    for name in track(missing, "networks"):
        command = [sys.executable, str(HERE / "architectures_child.py"), name]
        found[name] = in_child(command, time_limit=arguments.time_limit)
        ordered = {key: found[key] for key in ARCHITECTURES if key in found}
        arguments.json.write_text(json.dumps(ordered, indent=1) + "\n")
    arguments.page.write_text(page(found, ARCHITECTURES))


if __name__ == "__main__":
    main()
