"""A drawing: in the colours of a page, as a file, in a notebook; its texts in any language.

matplotlib is loaded when something is drawn, so that a measurement can say at no cost how it looks.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from html import escape, unescape
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from gatework.printable import identifier, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

__all__ = [
    "GRID",
    "INK",
    "LEAST_DRAWN",
    "Plot",
    "canvas",
    "empty_figure",
    "finished",
    "fitting",
    "in_style",
    "line_name",
    "name_lines",
    "short_names",
    "styled",
]

INK, GRID, PAPER_GRID = "#010203", "#040506", "#d9dbd6"
"""Two that stand for the page's own colours, which only the page knows, and what the second is in a
file."""
LETTER = 10
"""The points of a letter that has room enough."""
LEAST_DRAWN = 1e-8
"""On a logarithmic axis of shares, what is below is not drawn."""
LINES = (
    ("#d1603d", "-"),
    ("#2f7fc1", "--"),
    ("#3c9a6a", "-."),
    ("#a56cc1", ":"),
    ("#b58900", (0, (5, 1))),
    ("#6b7480", (0, (3, 1, 1, 1, 1, 1))),
)
"""Colour and dash of each line: told apart on paper and dark glass, and without colour."""
STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": GRID,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "savefig.transparent": True,
}

_Item = TypeVar("_Item")
_Given = ParamSpec("_Given")


@dataclass(frozen=True, eq=False)
class Plot:
    """A drawing, for a page, a file or a notebook, which shows it by itself.

    Attributes:
        figure: The drawing as matplotlib has it.
        name: Unlike that of any other drawing on the same page.
        letters: What texts of the figure stand for, and its size in points, where no font of this
            machine has the letters; in an SVG, which is shown with other fonts, they are there.
    """

    figure: Figure
    name: str
    letters: Mapping[str, tuple[str, float]] = field(default_factory=dict)

    @property
    def in_page(self) -> str:
        """An SVG element in the colours of the page that it stands in."""
        svg = _svg(self)
        for stand_in, colour in ((INK, "currentColor"), (GRID, "var(--line)")):
            svg = svg.replace(stand_in, colour)
        return svg

    @property
    def svg(self) -> str:
        """An SVG file: dark on white."""
        svg = _svg(self).replace(GRID, PAPER_GRID)
        return svg.replace("<svg ", '<svg style="background:#fff" ', 1)

    def save(self, path: str | Path) -> None:
        """Write the drawing to a file.

        Args:
            path: Its name ends with .svg or .png.

        Raises:
            ValueError: It ends with something else.
        """
        path = Path(path)
        if path.suffix == ".svg":
            path.write_text(self.svg, encoding="utf-8")
        elif path.suffix == ".png":
            with _on_paper(self.figure):
                self.figure.savefig(
                    path, format="png", dpi=150, facecolor="white", transparent=False
                )
        else:
            raise ValueError(f"{str(path)!r} should end with .svg or .png")

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return f'<div role="img" aria-label="{escape(self.name)}">{self.svg}</div>'


@contextmanager
def _on_paper(figure: Figure) -> Iterator[None]:
    """A figure whose grid has the colour of a file's while it is written."""
    from matplotlib.lines import Line2D

    lines: Any = figure.findobj(lambda a: isinstance(a, Line2D) and a.get_color() == GRID)
    for line in lines:
        line.set_color(PAPER_GRID)
    try:
        yield
    finally:
        for line in lines:
            line.set_color(GRID)


def in_style(draw: Callable[_Given, Plot]) -> Callable[_Given, Plot]:
    """Make a function draw in the style of all drawings."""

    @wraps(draw)
    def drawn(*args: _Given.args, **options: _Given.kwargs) -> Plot:
        import matplotlib as mpl

        with mpl.rc_context(STYLE):
            return draw(*args, **options)

    return drawn


def empty_figure(width: float, height: float) -> Figure:
    """Return a figure of so many inches."""
    from matplotlib.figure import Figure

    return Figure((width, height), layout="constrained")


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of so many inches and its axes."""
    figure = empty_figure(width, height)
    axes = figure.subplots()
    axes.grid(linewidth=0.6)
    return figure, axes


def styled(lines: Mapping[str, _Item]) -> Iterable[tuple[tuple[str, _Item], dict[str, Any]]]:
    """Pair each line, by its name as it can be drawn, with its colour and dash."""
    for i, (name, line) in enumerate(lines.items()):
        colour, dash = LINES[i % len(LINES)]
        yield (_label(name), line), {"color": colour, "linestyle": dash, "linewidth": 2}


def _label(name: str) -> str:
    """A name as matplotlib takes it, which leaves out lines whose names begin with "_"."""
    text = printable(name)
    return f" {text}" if text.startswith("_") else text


def name_lines(axes: Axes) -> None:
    """Say which line is which; a name is no formula, whatever stands in it."""
    for text in axes.legend().get_texts():
        text.set_parse_math(False)


def line_name(name: str, value: str) -> str:
    """The name of a line: of the model, where there are several, and of the value in it."""
    return " ".join(filter(None, [name, value]))


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Full names of values, such as "layer.l0.c", without the layer where all are of the same.

    Example:
        >>> short_names(["layer.l0.c", "layer.l0.h"])
        {'layer.l0.c': 'c', 'layer.l0.h': 'h'}
        >>> short_names(["layer.l0.c", "layer.l1.c"])
        {'layer.l0.c': 'l0.c', 'layer.l1.c': 'l1.c'}
    """
    parts = {name: name.split(".") for name in names}
    least = min(map(len, parts.values()), default=0)
    same = 0
    while same < least - 1 and len({tuple(p[: same + 1]) for p in parts.values()}) == 1:
        same += 1
    return {name: ".".join(p[same:]) for name, p in parts.items()}


def fitting(text: str, room: float) -> float:
    """The size of a text that fits into so many inches, in points."""
    from gatework.lens.letters import cells

    return min(LETTER, 72 * room / (0.7 * cells(text)))


def finished(figure: Figure, name: str, room: Mapping[Text, float] = MappingProxyType({})) -> Plot:
    """A drawing whose texts can be drawn with the fonts of this machine.

    Args:
        figure: the drawing.
        name: of it.
        room: of those of its texts that have no more of it, in inches.
    """
    from gatework.lens.letters import spell_out

    letters: dict[str, tuple[str, float]] = {}
    for text, whole in spell_out(figure).items():
        letters[text.get_text()] = whole, float(text.get_fontsize())
        if text in room:
            text.set_fontsize(fitting(text.get_text(), room[text]))
    return Plot(figure, name, letters)


def _svg(plot: Plot) -> str:
    """Return the drawing as an SVG element that may stand in a page with others.

    Its ids begin with the plot's name.
    """
    import matplotlib as mpl

    buffer, name = io.StringIO(), identifier(plot.name)
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        plot.figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<image\b[^>]*?) id="[^"]*"', r"\1", svg)  # equal images have equal ids
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    return re.sub(
        r"(<text [^>]*?font(?:-size)?: )[\d.]+px([^>]*>)([^<]*)", _lettered(plot.letters), svg
    )


def _lettered(letters: Mapping[str, tuple[str, float]]) -> Callable[[re.Match[str]], str]:
    """Puts letters into the place of their code points."""

    def put(found: re.Match[str]) -> str:
        if unescape(found[3]) not in letters:
            return found[0]
        whole, size = letters[unescape(found[3])]
        return f"{found[1]}{size:g}px{found[2]}{escape(whole)}"

    return put
