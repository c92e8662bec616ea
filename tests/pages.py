"""Pages whose Python runs, every fence in order in one namespace, with what it prints under it.

``python -m tests.pages docs/tutorial.md …`` (``make pages`` for all) runs pages and writes under every fence what it
printed. Tests run them again and compare the words: numbers depend on the machine, and a page that rests on one has a
test that says so. So do the words of a fence after ``<!-- varies -->``. Pictures that a page saves as ``NAME.svg`` and
shows as ``assets/NAME.svg`` are renewed as well.
"""

import contextlib
import importlib.util
import io
import os
import pathlib
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass

from threadpoolctl import threadpool_limits

ROOT = pathlib.Path(__file__).parent.parent
_ABOVE = r"(?:<!-- needs: (?P<needs>[\w ]+) -->\n)?(?P<varies><!-- varies -->\n)?"
_UNDER = r"(?P<under>\n```text\n(?P<shown>.*?)^```\n)?"
FENCE = re.compile(rf"^{_ABOVE}```python\n(?P<code>.*?)^```\n{_UNDER}", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?%?")
_UNIT = re.compile(r"#\s*(?:ms|s|min|h|kB|MB|GB|KiB|MiB|GiB)\b")


@dataclass(frozen=True)
class Ran:
    """What a page's Python left behind, and what stands under each fence beside what it printed, by line."""

    names: dict
    printed: dict[int, tuple[str, str]]

    def differences(self) -> list[str]:
        """Fences under which other words stand than they printed."""
        return [
            f"line {line} prints\n{printed}\nand the page shows\n{shown or 'nothing'}"
            for line, (printed, shown) in self.printed.items()
            if printed and not agree(printed, shown)
        ]


def words(text: str) -> str:
    """Text without spaces, numbers, and units of time and size."""
    return "".join(_UNIT.sub("#", _NUMBER.sub("#", text)).split())


def agree(printed: str, shown: str) -> bool:
    """Whether the words are the same; ``…`` stands for any that a page leaves out."""
    parts = map(re.escape, words(shown).split("…"))
    return re.fullmatch(".*".join(parts), words(printed)) is not None


def run(page: pathlib.Path) -> Ran:
    """Run all fences; errors carry the page's own line numbers. One that needs what is not installed is left out."""
    text = page.read_text(encoding="utf-8")
    names: dict = {"__name__": page.name}
    printed = {}
    with threadpool_limits(1):  # small matrices: threads of several test processes would only wait
        for fence in FENCE.finditer(text):
            if not all(map(importlib.util.find_spec, (fence["needs"] or "").split())):
                continue
            line = text.count("\n", 0, fence.start("code"))
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                exec(compile("\n" * line + fence["code"], page, "exec"), names)
            shown = "…" if fence["varies"] else fence["shown"] or ""
            printed[line] = ("\n".join(map(str.rstrip, said.getvalue().rstrip().splitlines())), shown)
    return Ran(names, printed)


def renewed(text: str, ran: Ran) -> str:
    """The page with what its fences printed; what stood there where that was nothing, or was shortened by hand."""

    def block(fence: re.Match) -> str:
        printed, shown = ran.printed.get(text.count("\n", 0, fence.start("code")), ("", ""))
        if not printed or (shown.strip() != "…" and "…" in shown and agree(printed, shown)):
            return fence[0]
        end = fence.start("under") if fence["under"] else fence.end()
        return f"{text[fence.start() : end]}\n```text\n{printed}\n```\n"

    return FENCE.sub(block, text)


def main() -> None:
    """Renew the pages that were named."""
    for name in sys.argv[1:]:
        page = pathlib.Path(name).resolve()
        with tempfile.TemporaryDirectory() as made:
            os.chdir(made)
            ran = run(page)
            os.chdir(ROOT)
            text = renewed(page.read_text(encoding="utf-8"), ran)
            for picture in re.findall(r"\]\(assets/([\w-]+\.svg)\)", text):
                if (pathlib.Path(made) / picture).exists():
                    shutil.copy(pathlib.Path(made) / picture, page.parent / "assets" / picture)
        page.write_text(text, encoding="utf-8")
        print(name, flush=True)


if __name__ == "__main__":
    main()
