"""One self-contained HTML page: words, tables and figures, with nothing to be fetched.

Readable on a phone, in print, in light and dark; every figure has a text in its place for those
who cannot see it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape as _escape

from gatework.data import Character
from gatework.printable import printable

__all__ = [
    "bright_text",
    "escape",
    "figure",
    "page",
    "paragraph",
    "preformatted",
    "section",
    "settings_table",
    "table",
]

STYLE = """
:root { color-scheme: light dark; --paper: #fdfdfb; --ink: #22262b; --quiet: #5d6570;
  --line: #d9dbd6; --tint: #f1f1ec; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181c; --ink: #e4e6e8;
  --quiet: #a2aab3; --line: #363c43; --tint: #1e2227; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 46rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .5rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
.lead { font-size: 1.1rem; }
figure { margin: 1rem 0; }
figure svg { display: block; width: 100%; height: auto; }
figure.wide > div { overflow-x: auto; }
figure.wide svg { min-width: 60rem; }
figure.page > div { overflow-x: auto; }
figure.page svg { min-width: 44rem; }
figure.cell > div { overflow-x: auto; }
figure.cell svg { width: auto; }
figcaption, .quiet { color: var(--quiet); font-size: .9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; white-space: nowrap; padding: .3rem .6rem;
  border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
th { color: var(--quiet); font-weight: 600; font-size: .9rem; vertical-align: bottom; }
pre { background: var(--tint); padding: .8rem; overflow-x: auto; font-size: .85rem;
  line-height: 1.4; border-radius: .3rem; }
.bright { font: .85rem/1.7 ui-monospace, monospace; margin: .1rem 0; overflow-wrap: anywhere;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.bright .peak { outline: 1.5px solid var(--ink); }
h3 { font-size: 1rem; margin: 1.5rem 0 .3rem; }
@media screen and (max-width: 40rem) { figure.cell svg { max-width: none !important; } }
@media print { :root { --paper: #fff; --ink: #000; --quiet: #333; --line: #bbb; --tint: #fff; }
  body { max-width: none; padding: 0; font-size: 10pt; } h2 { break-after: avoid; }
  figure, table { break-inside: avoid; } figure:not([class]) svg { max-height: 8cm; }
  figure.wide > div, figure.page > div { overflow: visible; }
  figure.wide svg, figure.page svg { min-width: 0; }
  pre { white-space: pre-wrap; border: 1px solid var(--line); } }
"""


def escape(text: str) -> str:
    """Return text for a page: what stands in it is neither a tag nor turns what is around it."""
    return _escape(printable(text))


def page(title: str, lead: str, sections: Iterable[str]) -> str:
    """Return the page.

    Args:
        title: its heading.
        lead: plain text; what the page says, in a sentence or two.
        sections: HTML, from the functions below.
    """
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
<p class="lead">{escape(lead)}</p>
{"".join(sections)}
</main>
</body>
</html>
"""


def section(title: str, *parts: str) -> str:
    """Return a heading and the parts under it."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{''.join(parts)}</section>\n"


def paragraph(text: str, *, quiet: bool = False) -> str:
    """Return plain text as a paragraph; quiet where it is meant for those who want details."""
    return f"<p{' class=quiet' if quiet else ''}>{escape(text)}</p>\n"


def preformatted(text: str) -> str:
    """Return text whose spaces and line ends matter."""
    return f'<pre tabindex="0" dir="auto">{escape(text)}</pre>\n'


def bright_text(characters: Sequence[Character], values: Sequence[float], peak: int) -> str:
    """Return a line of text, each byte of a character on a colour: green above zero, red below.

    Args:
        characters: of a passage; a byte of it for each value.
        values: what to show; the largest of them, up or down, has the full colour.
        peak: the byte whose character is to be framed.
    """
    largest = max((abs(v) for v in values), default=0.0) or 1.0
    colours = [_shade(value, largest) for value in values]
    marks = []
    for c in characters:
        shades = colours[c.first : c.first + c.width]
        kind = " class=peak" if c.first <= peak < c.first + c.width else ""
        marks.append(
            f'<span{kind} style="background:{_in_turn(shades, c)}">{escape(c.label)}</span>'
        )
    return f'<p class="bright" dir="auto">{"".join(marks)}</p>\n'


def _shade(value: float, largest: float) -> str:
    colour = "10 143 134" if value >= 0 else "209 96 61"
    return f"rgb({colour} / {0.85 * abs(value) / largest:.2f})"


def _in_turn(shades: Sequence[str], character: Character) -> str:
    """The colours of a character's bytes side by side, in the direction in which it is read."""
    if len(shades) == 1:
        return shades[0]
    stops = (
        f"{c} {100 * k / len(shades):.3g}% {100 * (k + 1) / len(shades):.3g}%"
        for k, c in enumerate(shades)
    )
    return f"linear-gradient(to {'left' if character.leftward else 'right'}, {', '.join(stops)})"


def figure(
    svg: str, alt: str, caption: str, *, wide: bool = False, whole: bool = False, cell: bool = False
) -> str:
    """Return a figure.

    Args:
        svg: the drawing, a measurement's or a cell's.
        alt: what it shows, for those who cannot see it.
        caption: plain text under it.
        wide: let it scroll sideways instead of shrinking.
        whole: as wide as the page; let it scroll on a screen that is narrower.
        cell: it is the picture of a cell, which has a size of its own.
    """
    kinds = {"wide": wide, "page": whole, "cell": cell}
    kind = next((f" class={name}" for name, is_so in kinds.items() if is_so), "")
    scroll = ' tabindex="0"' if kind else ""
    return (
        f"<figure{kind}>"
        f'<div role="img" aria-label="{escape(alt)}"{scroll}>{svg}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>\n"
    )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of plain text."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n" for row in rows
    )
    return (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody>\n</table></div>\n"
    )


def settings_table(settings: Mapping[str, object]) -> str:
    """Return a table of settings, their names as people write them."""
    rows = [(name.replace("_", " "), str(value)) for name, value in settings.items()]
    return table(("setting", "value"), rows)
