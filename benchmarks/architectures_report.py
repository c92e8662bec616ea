"""The page of results of ``architectures.py``."""

import statistics
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

HEAD = """# Public architectures

Networks of torchvision, timm and transformers with random weights, given to `dntk.as_model` as they come. Made by

```sh
pip install torchvision timm transformers
python benchmarks/architectures.py
```

which measures one network after the other, keeps `benchmarks/results/architectures.json`, and writes this page from it.
Images are 32 to 224 pixels wide; widths of language models are 128. The kernel is the mean over ten outputs at three
inputs, in float32.

- **closed form**: share of the parameters whose gradients for all inputs come from one forward pass and one backward
  pass per output; others take passes for every input. `model.gradient_forms(x)` says the same of your network, with
  reasons.
- **× floor**: time of `dntk.ntk` over that of one forward pass and ten backward passes for the batch, which form no
  per-input gradient; best of a few in turn, one thread, on a machine that did other work at the same time.
- **error**: relative Frobenius norm against plain autograd in float64, one input at a time. **autograd**: the same of
  plain autograd in float32: what the network itself loses in float32.
"""

COLUMNS = (
    "| network | library | parameters | closed form | × floor | error | autograd |\n"
    "|---|---|---:|---:|---:|---:|---:|\n"
)


def page(results: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> str:
    """The page in Markdown; ``names`` of all networks."""
    done = {name: found for name, found in results.items() if "error" in found}
    lines = [HEAD, COLUMNS + "".join(_row(name, found) for name, found in done.items()), _summary(done)]
    failed = [f"- {name}: {results.get(name, {}).get('why_not', 'no run yet')}\n" for name in names if name not in done]
    return "\n".join([*lines, *(["Not measured:\n", "".join(failed)] if failed else [])]).rstrip() + "\n"


def _row(name: str, found: Mapping[str, Any]) -> str:
    times = found["seconds"] / found["floor_seconds"]
    return (
        f"| {name} | {found['library']} | {found['parameters']:,} | {found['share']:.2%} | {times:.1f} | "
        f"{found['error']:.0e} | {found['autograd_error']:.0e} |\n"
    )


def _summary(done: Mapping[str, Mapping[str, Any]]) -> str:
    if not done:
        return ""
    total = sum(found["parameters"] for found in done.values())
    closed = sum(found["parameters"] * found["share"] for found in done.values())
    whole = sum(found["share"] == 1 for found in done.values())
    times = statistics.median(found["seconds"] / found["floor_seconds"] for found in done.values())
    text = (
        f"{whole} of {len(done)} networks are in closed form altogether, and {closed / total:.2%} of all their "
        f"{total:,} parameters. The median cost is {times:.1f} times the floor.\n"
    )
    left = list(_left(done))
    return "\n".join([text, *(["What goes input by input:\n", *left] if left else [])]) + "\n"


def _left(done: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, found in done.items():
        for reason in dict.fromkeys(why for _, why in found["per_input"]):
            names = [parameter for parameter, why in found["per_input"] if why == reason]
            shown = ", ".join(f"`{parameter}`" for parameter in names[:2]) + (", ..." if len(names) > 2 else "")
            yield f"- {name}: {len(names)} of {found['tensors']} ({shown}), because {reason}."
