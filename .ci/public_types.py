"""What pyright's strict mode knows of the public names, from a program that touches all of them as a user's would.

``python .ci/public_types.py``. ``pyright --verifytypes`` would not do: it takes no types from jaxtyping, which every
shape is written with.
"""

import importlib
import inspect
import json
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.public_names import PUBLIC  # noqa: E402


def program() -> str:
    """A module that imports every public name, and reads every public member of the classes among them."""
    lines = []
    for place, names in PUBLIC.items():
        if any(part.startswith("_") for part in place.split(".")):
            continue
        for name in names.split():
            alias = f"{place}.{name}".replace(".", "_")
            lines.append(f"from {place} import {name} as {alias}")
            found = getattr(importlib.import_module(place), name)
            lines.append(f"print({alias})")
            if inspect.isclass(found) and found.__module__.startswith("dntk"):
                members = {**vars(found), **vars(found).get("__annotations__", {})}
                given = ", ".join(["int"] * len(getattr(found, "__parameters__", ())))
                lines.append(f"def of_{alias}(it: {alias}{f'[{given}]' if given else ''}) -> None:")
                lines.append("    print(it)")
                lines += [f"    print(it.{member})" for member in members if _is_ours(member)]
    return "\n".join(lines) + "\n"


def _is_ours(member: str) -> bool:
    """Whether a member is public, and none that scikit-learn writes, ``set_score_request`` and its like."""
    return not member.startswith("_") and not (member.startswith("set_") and member.endswith("_request"))


def main() -> int:
    """Check the program."""
    with tempfile.TemporaryDirectory() as made:
        folder = pathlib.Path(made)
        (folder / "program.py").write_text(program())
        paths = [str(ROOT / part) for part in ("", "backends", "studies")]
        strict = {"typeCheckingMode": "strict", "pythonVersion": "3.11", "extraPaths": paths}
        (folder / "pyrightconfig.json").write_text(json.dumps(strict))
        command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        lines = (folder / "program.py").read_text().splitlines()
    told = json.loads(done.stdout)
    for each in told["generalDiagnostics"]:
        print(f"{lines[each['range']['start']['line']]}: {each['message'].splitlines()[0]}")
    print(f"{len(lines)} lines, {told['summary']['errorCount']} errors")
    return int(told["summary"]["errorCount"] > 0)


if __name__ == "__main__":
    sys.exit(main())
