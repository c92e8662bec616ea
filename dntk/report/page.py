"""One HTML page with everything in it: text, tables, pictures and plots as embedded SVG. No script, no request."""

import html
import itertools
import re
from collections.abc import Sequence
from pathlib import Path

from dntk.archive import write_whole
from dntk.ledger import StageCost
from dntk.report.style import INK, STYLE


def paragraph(text: str, *, lead: bool = False) -> str:
    """A paragraph of plain text; the ``lead`` is what is read first."""
    kind = ' class="lead"' if lead else ""
    return f"<p{kind}>{html.escape(text)}</p>"


def note(text: str, call: str = "") -> str:
    """What is missing or to be known, and the call that would change it."""
    said = f" <code>{html.escape(call)}</code>" if call else ""
    return f'<p class="note">{html.escape(text)}{said}</p>'


def heading(text: str) -> str:
    """A section's heading."""
    return f"<h2>{html.escape(text)}</h2>"


def section(name: str, title: str, parts: Sequence[str]) -> str:
    """A part of the page that its navigation leads to; ``name`` is a word that no other section has."""
    body = "\n".join(parts)
    head = f'<h2 id="{name}-title">{html.escape(title)}</h2>'
    return f'<section id="{name}" aria-labelledby="{name}-title">{head}\n{body}</section>'


def contents(entries: Sequence[tuple[str, str]]) -> str:
    """Links to sections, by name and title."""
    links = "".join(f'<li><a href="#{name}">{html.escape(title)}</a></li>' for name, title in entries)
    return f'<nav aria-label="Contents"><ul>{links}</ul></nav>'


def cards(entries: Sequence[tuple[str, str]]) -> str:
    """Numbers that matter most, each with what it is."""
    every = "".join(f"<li><strong>{html.escape(value)}</strong> {html.escape(text)}</li>" for value, text in entries)
    return f'<ul class="cards">{every}</ul>'


def table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", *, words: bool = False) -> str:
    """A table whose first column names the row; others are numbers, or ``words``, which are wrapped.

    Cells are text, or what :func:`picture` returns.
    """
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in header)
    body = "".join(f"<tr>{_named(row[0])}{''.join(map(_cell, row[1:]))}</tr>" for row in rows)
    said = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    label = html.escape(caption or f"Table of {', '.join(header)}")
    kind = ' class="words"' if words else ""
    inside = f"<table{kind}>{said}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{inside}</div>'


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def picture(png: str, label: str, *, width: int) -> Markup:
    """A picture from a ``data:`` address of :func:`dntk.report.images.as_address`, with what it shows in words."""
    return Markup(f'<img src="{png}" alt="{html.escape(label)}" width="{width}">')


def figure(svg: str, caption: str, label: str = "") -> str:
    """A plot with its caption; in the page's colours, light or dark. ``label`` says in words what it shows."""
    said = html.escape(label or caption)
    drawn = svg.replace("<svg", f'<svg role="img" aria-label="{said}"', 1)
    for color, name in INK.items():
        drawn = drawn.replace(color, f"var(--{name})")
    return f'<figure class="plot">{drawn}<figcaption>{html.escape(caption)}</figcaption></figure>'


def pictured(shown: Markup, caption: str) -> str:
    """A picture with its caption."""
    return f'<figure class="images">{shown}<figcaption>{html.escape(caption)}</figcaption></figure>'


def beside(title: str, parts: Sequence[str], right: str) -> str:
    """Under a small heading: parts, and next to them, where there is room, a table."""
    left = "\n".join(parts)
    return f'<h3>{html.escape(title)}</h3><div class="beside"><div>{left}</div>{right}</div>'


def folded(summary: str, part: str) -> str:
    """What is shown when it is asked for."""
    return f"<details><summary>{html.escape(summary)}</summary>{part}</details>"


def cost_cells(cost: StageCost) -> tuple[str, ...]:
    """A stage's costs as text."""
    return (
        cost.stage,
        f"{cost.jacobian_rows:,}",
        f"{cost.flops / 1e9:.2f}",
        f"{cost.nbytes / 1e6:.2f}",
        f"{cost.seconds:.2f}",
    )


def write_page(path: str | Path, title: str, parts: Sequence[str], navigation: str = "") -> None:
    """Write the page whole or not at all; an older one at ``path`` stays if writing fails."""
    numbers = itertools.count(1)
    body = re.sub("<svg.*?</svg>", lambda found: _own_names(found.group(), next(numbers)), "\n".join(parts), flags=re.S)
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head>\n"
        f"<body><header><h1>{html.escape(title)}</h1></header>\n{navigation}<main>\n{body}\n</main></body></html>\n"
    )
    write_whole(Path(path), page.encode())


def _own_names(svg: str, number: int) -> str:
    """The plot with identifiers that no other plot of the page has."""
    prefix = f"plot{number}-"
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}", svg)


def _named(cell: str) -> str:
    return f'<th scope="row">{cell if isinstance(cell, Markup) else html.escape(cell)}</th>'


def _cell(cell: str) -> str:
    return f"<td>{cell if isinstance(cell, Markup) else html.escape(cell)}</td>"
