"""How pages look: light or dark as the reader's system is, on wide and on narrow screens."""

INK = {
    "#000000": "ink",
    "#ffffff": "paper",
    "#dddddd": "grid",
    "#555555": "faint",
    "#1f5fa8": "blue",
    "#b3432b": "red",
    "#3c8a4f": "green",
    "#8a5fb0": "violet",
    "#b58a1b": "ochre",
    "#333333": "faint",
}
"""Colours of plots, and the names of what stands for them in a page."""

STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --card: #f3f5f8; --grid: #ddd; --faint: #555;
  --blue: #1f5fa8; --red: #b3432b; --green: #3c8a4f; --violet: #8a5fb0; --ochre: #8a6600; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #16181c; --card: #22262d; --grid: #3a3f47;
  --faint: #b4b8bf; --blue: #7db4f0; --red: #f09a84; --green: #86cf98; --violet: #c6a6e6; --ochre: #e0bb5a; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: var(--ink);
  background: var(--paper); overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .4rem; }
a { color: var(--blue); } code { background: var(--card); padding: .1rem .3rem; border-radius: .25rem; }
.lead { font-size: 1.1rem; }
nav ul { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1rem; }
.cards { list-style: none; padding: 0; display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr));
  gap: .8rem; } .cards li { background: var(--card); border-radius: .5rem; padding: .8rem 1rem; }
.cards strong { display: block; font-size: 1.5rem; }
.note { border-left: .25rem solid var(--ochre); padding: .2rem 0 .2rem .8rem; color: var(--faint); }
.scroll { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
caption { text-align: left; color: var(--faint); padding-bottom: .3rem; }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--grid); text-align: right; white-space: nowrap; }
thead th { white-space: normal; vertical-align: bottom; }
tbody th { font-weight: normal; } th:first-child, td:first-child { text-align: left; }
.words th, .words td { text-align: left; white-space: normal; vertical-align: top; }
.words td:last-child { overflow-wrap: anywhere; min-width: 11rem; } .words th:first-child { min-width: 9rem; }
.beside { display: flex; flex-wrap: wrap; gap: 0 2rem; align-items: flex-start; }
.beside > div { flex: 1 1 12rem; min-width: 0; } .beside > .scroll { flex: 0 1 auto; max-width: 100%; }
td img, th img { display: block; }
img { image-rendering: pixelated; height: auto; }
figure { margin: 1rem 0; } figcaption { color: var(--faint); font-size: .9rem; }
.plot { max-width: 44rem; } .plot svg { width: 100%; height: auto; fill: var(--ink); }
.images img { max-width: 100%; background: var(--card); }
details { margin: .4rem 0 1rem; } summary { cursor: pointer; color: var(--blue); }
@media (max-width: 40rem) { tbody th { white-space: normal; min-width: 7rem; } }
@media print { nav, summary { display: none; } }
"""
