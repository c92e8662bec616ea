"""The search of the built documentation: a query typed into its field in headless Chromium, and what it lists.

The site is served on this machine: the search runs in a worker, which pages from a folder cannot start.
"""

import functools
import http.server
import json
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

QUERIES = {
    "certificate": "reference/certificates.html",
    "my own pytorch network": "your_network.html",
    "out of memory": "bigger_than_memory.html",
    "uncertainty": "probabilities.html",
}
"""What a reader may type, and a page that has to be listed."""

PATIENCE = 120.0
"""Seconds for Chromium to start, index the site and answer."""

_TYPED = """<!doctype html><meta charset="utf-8"><iframe id="site" src="index.html" width="1200" height="900"></iframe>
<script>const wait = ms => new Promise(done => setTimeout(done, ms));
document.getElementById("site").addEventListener("load", async event => {
  const page = event.target.contentDocument, field = page.querySelector("input.md-search__input"), told = {};
  let before = "";
  for (const query of QUERIES) {
    field.focus();
    field.value = query;
    field.dispatchEvent(new KeyboardEvent("keyup", {bubbles: true}));
    for (let i = 0, last = ""; i < 100; i++) {  // until the list is another, and stays as it is
      await wait(200);
      const links = [...page.querySelectorAll(".md-search-result__link")].map(a => new URL(a.href).pathname);
      if (links.length && String(links) === last && last !== before) break;
      last = String(told[query] = links);
    }
    before = String(told[query]);
  }
  await fetch("/told", {method: "POST", body: JSON.stringify(told)});
});</script>"""


class _Site(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and takes what the page found."""

    def __init__(self, *request, told: dict, answered: threading.Event, **options) -> None:
        self.told, self.answered = told, answered
        super().__init__(*request, **options)

    def do_POST(self) -> None:
        self.told.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()
        self.answered.set()

    def log_message(self, *_: object) -> None:
        """Nothing."""


def listed(root: Path, queries: list[str], *, browser: str) -> dict[str, list[str]]:
    """Pages, with what they jump to left out, that the search of the site in ``root`` lists for every query.

    Raises
    ------
    RuntimeError
        The page did not answer.
    """
    told: dict[str, list[str]] = {}
    answered = threading.Event()
    with tempfile.TemporaryDirectory() as made:
        copy = Path(made) / "site"
        shutil.copytree(root, copy)
        (copy / "typed.html").write_text(_TYPED.replace("QUERIES", json.dumps(queries)))
        handler = functools.partial(_Site, told=told, answered=answered, directory=str(copy))
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
            options += ["--remote-debugging-port=0", f"--user-data-dir={made}/profile"]  # it stays until it is ended
            address = f"http://127.0.0.1:{server.server_address[1]}/typed.html"
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            with subprocess.Popen([browser, *options, address], **quiet) as running:
                answered.wait(PATIENCE)
                running.terminate()
            server.shutdown()
    if not answered.is_set():
        msg = f"the search of {root} did not answer within {PATIENCE:.0f} s"
        raise RuntimeError(msg)
    return {query: [link.strip("/") for link in links] for query, links in told.items()}


def faults(root: Path, *, browser: str) -> list[str]:
    """Queries whose page the search does not list."""
    found = listed(root, list(QUERIES), browser=browser)
    return [
        f"the search for {query!r} does not list {page}, but {found.get(query)}"
        for query, page in QUERIES.items()
        if page not in found.get(query, [])
    ]
