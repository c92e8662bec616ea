"""Pages in headless Chromium: what does not fit, what the console says, and screenshots.

``python -m tests.browser SITE_OR_PAGE --out FOLDER`` looks at pages at two widths, writes pictures of them, types
queries into the search of a site, and ends with 1 if a page does not fit, its console says something, or a query does
not find its page.
"""

import argparse
import dataclasses
import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests import site_search

WIDTHS = (1200, 390)
"""A screen on a desk, and a phone."""

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PROBE = """<script>addEventListener("load", () => setTimeout(() => {
  const width = document.documentElement.clientWidth;
  const held = e => { for (let p = e; p && p !== document.body; p = p.parentElement) { const s = getComputedStyle(p);
    if (/auto|scroll/.test(s.overflowX) || s.position === "fixed" || s.visibility === "hidden") return true; }
    return false; };
  const wide = [...document.querySelectorAll("body *")].filter(e => {
    const r = e.getBoundingClientRect();
    const seen = r.width > 2 && r.height > 2 && r.left < width && !e.closest("math, svg");
    return seen && r.right > width + 1 && !held(e); });
  const name = e => e.tagName.toLowerCase() + "." + e.className + ": " + e.textContent.trim().slice(0, 60);
  const bad = wide.map(name);
  if (document.documentElement.scrollWidth > width + 1 && !bad.length) bad.push("the page itself");
  parent.postMessage({page: PAGE, wide: bad.slice(0, 5)}, "*");
}, 200));</script>"""
_HARNESS = """<!doctype html><meta charset="utf-8">
<style>body { margin: 0 } iframe { border: 0; display: block }</style><body><script>const found = {};
addEventListener("message", e => { found[e.data.page] = e.data.wide;
  document.getElementById("found").textContent = JSON.stringify(found); });</script><pre id="found" hidden></pre>"""


@dataclasses.dataclass(frozen=True)
class Seen:
    """Of every page what sticks out on the right, and all that the console said."""

    wide: dict[str, list[str]]
    console: list[str]


def browser() -> str | None:
    """The command of a Chromium, if there is one."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


def look(root: Path, pages: Iterable[str], *, width: int, dark: bool = False) -> Seen:
    """Load pages of the folder ``root`` in frames of this width, all at once.

    Raises
    ------
    RuntimeError
        A page did not answer.
    """
    names = list(pages)
    with tempfile.TemporaryDirectory() as made:
        copy = Path(made) / "site"
        shutil.copytree(root, copy)
        frames = [f'<iframe src="{html.escape(name)}" width="{width}" height="900"></iframe>' for name in names]
        for name in names:
            text = (copy / name).read_text()
            (copy / name).write_text(text.replace("</body>", _PROBE.replace("PAGE", json.dumps(name)) + "</body>"))
        (copy / "look.html").write_text(_HARNESS + "".join(frames))
        run = _run(copy / "look.html", "--dump-dom", "--window-size=1300,1000", dark=dark)
    found = re.search(r'<pre id="found"[^>]*>(.*?)</pre>', run.stdout, re.S)
    wide = json.loads(html.unescape(found.group(1)) or "{}") if found else {}
    missing = sorted(set(names) - set(wide))
    if missing:
        msg = f"{missing} did not answer: {run.stderr[-2000:]}"
        raise RuntimeError(msg)
    console = [line for line in run.stderr.splitlines() if "CONSOLE" in line]
    return Seen(wide=wide, console=console)


def photograph(page: Path, out: Path, *, width: int, height: int, dark: bool = False) -> None:
    """A picture of a page in a frame of this width."""
    with tempfile.TemporaryDirectory() as made:
        frame = f'<iframe src="{page.resolve().as_uri()}" width="{width}" height="{height}"></iframe>'
        (Path(made) / "frame.html").write_text(_HARNESS + frame)
        size = f"--window-size={max(width, 500)},{height}"
        _run(Path(made) / "frame.html", f"--screenshot={out.resolve()}", size, "--hide-scrollbars", dark=dark)


def _run(page: Path, *options: str, dark: bool) -> subprocess.CompletedProcess[str]:
    command = browser()
    assert command is not None, "no Chromium is installed"
    every = ["--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    every += ["--enable-logging=stderr", "--virtual-time-budget=20000", "--disable-dev-shm-usage"]
    every += ["--blink-settings=preferredColorScheme=0"] if dark else []
    return subprocess.run([command, *every, *options, page.as_uri()], capture_output=True, text=True, timeout=300)


def main() -> int:
    """Look at a page, or at every page of a site."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("where", type=Path, help="a page, or the folder of a site")
    parser.add_argument("--out", type=Path, help="folder for pictures")
    parser.add_argument("--height", type=int, default=2000)
    asked = parser.parse_args()
    if browser() is None:
        print("no Chromium is installed: nothing was looked at")
        return 0
    single = asked.where.is_file()
    root = asked.where.parent if single else asked.where
    pages = [asked.where.name] if single else sorted(str(p.relative_to(root)) for p in root.rglob("*.html"))
    lost = site_search.faults(root, browser=browser() or "") if (root / "search").is_dir() else []
    print(*lost, sep="\n", end="\n" if lost else "")
    bad = bool(lost)
    for width in WIDTHS:
        seen = look(root, pages, width=width)
        for page, wide in seen.wide.items():
            for what in wide:
                print(f"{page} at {width}: {what}")
        print(*seen.console, sep="\n", end="")
        bad = bad or any(seen.wide.values()) or bool(seen.console)
        for page in pages if asked.out else ():
            asked.out.mkdir(parents=True, exist_ok=True)
            name = f"{page.replace('/', '-').removesuffix('.html')}-{width}.png"
            photograph(root / page, asked.out / name, width=width, height=asked.height)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
