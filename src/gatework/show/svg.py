"""The picture: a layout written as SVG, in colours for light, dark and print."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from gatework.lang.definition import Cell
from gatework.lang.printing import equations
from gatework.show.flow import Node, flow_of
from gatework.show.layout import CIRCLE, UNIT, Branch, Layout, Place, layout_of

__all__ = ["cell_svg"]

PADDING, LEGEND, CORNER = 16.0, 30.0, 5.0
LETTER = 6.6
"""Pixels of a character of the legend."""

STYLE = """
.gw{--paper:#fdfdfb;--ink:#22262b;--quiet:#6b7480;--wire:#7a838e;--memory:#0a8f86;
--gate:#c07a00;--gate-fill:#ffe9bd;--map:#4a6da7;--map-fill:#e3ebf8;--state-fill:#eceee9;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
@media screen and (prefers-color-scheme:dark){.gw{--paper:#15181c;--ink:#e8eaec;--quiet:#a2aab3;
--wire:#8a939e;--memory:#37c9bb;--gate:#e9ae3a;--gate-fill:#43350f;--map:#86a8e0;
--map-fill:#1f2d47;--state-fill:#272c33}}
.gw .paper{fill:var(--paper)}
.gw .wire{fill:none;stroke:var(--wire);stroke-width:1.5}
.gw .wire.gate{stroke:var(--gate)}
.gw .wire.memory{stroke:var(--memory);stroke-width:4}
.gw .head{fill:var(--wire)}.gw .head.gate{fill:var(--gate)}.gw .head.memory{fill:var(--memory)}
.gw .shape{fill:var(--paper);stroke:var(--ink);stroke-width:1.5}
.gw .map .shape{fill:var(--map-fill);stroke:var(--map)}
.gw .state .shape{fill:var(--state-fill);stroke:var(--quiet)}
.gw .isgate .shape{fill:var(--gate-fill);stroke:var(--gate)}
.gw .on .shape{stroke:var(--memory);stroke-width:2.5}
.gw text{fill:var(--ink);font-size:13px;text-anchor:middle;dominant-baseline:central}
.gw .name{font-weight:700;font-size:14px}
.gw .quiet{fill:var(--quiet);font-size:11px}
.gw .legend{text-anchor:start;fill:var(--quiet);font-size:12px}
"""


def cell_svg(cell: Cell) -> str:
    """Draw the data flow of one step of a cell.

    Gates, the values between 0 and 1 that multiply something, are boxes of their own colour; the
    memory's path, from a state to its new value by arithmetic alone, is a thick line. Drawn from
    the equations, so any cell can be drawn. The colours follow the reader's choice of light or
    dark, and are light in print.

    Returns:
        An SVG element that may be a file of its own or stand in a page.

    Example:
        >>> from gatework import cells
        >>> cell_svg(cells.gru).startswith("<svg")
        True
    """
    flow = flow_of(cell)
    layout = layout_of(flow)
    legend = _legend(layout)
    legend_width = sum(22 + 10 + LETTER * len(words) + 14 for _, words in legend)
    width = max(UNIT * layout.width, legend_width) + 2 * PADDING
    left = (width - UNIT * layout.width) / 2
    height = UNIT * layout.height + 2 * PADDING + LEGEND
    body = "".join(
        [
            *_wires(layout),
            *(
                f'<circle class="head{_kind(layout, s)}" cx="{_n(x)}" cy="{_n(y)}" r="2.6"/>'
                for x, y, s in layout.joints
            ),
            *(_node(place, layout) for place in layout.places),
        ]
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="gw" role="img" '
        f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}" '
        f'style="max-width:100%;height:auto">'
        f"<title>{escape(f'Data flow of one step of {cell.name}')}</title>"
        f"<desc>{escape('; '.join(equations(cell)))}</desc>"
        f"<style>{STYLE}</style>"
        f'<rect class="paper" width="{width:g}" height="{height:g}" rx="8"/>'
        f'<g transform="translate({left:g} {PADDING:g})">{body}</g>'
        f'<g transform="translate({PADDING:g} {height - LEGEND / 2 - 4:g})">'
        f"{_legend_svg(legend)}</g>"
        "</svg>\n"
    )


def _n(value: float) -> str:
    return f"{UNIT * value:g}"


# ---- wires -------------------------------------------------------------------------------------


def _wires(layout: Layout) -> Iterable[str]:
    for kind in ("", " gate", " memory"):  # what matters most is drawn last
        for branch in layout.branches:
            if _branch_kind(branch) == kind:
                yield f'<path class="wire{kind}" d="{_path(branch.points)}"/>'
                if branch.wire is not None:
                    yield _head(branch, kind)


def _branch_kind(branch: Branch) -> str:
    return " memory" if branch.memory else " gate" if branch.gate else ""


def _kind(layout: Layout, source: int) -> str:
    kinds = {_branch_kind(b) for b in layout.branches if b.source == source}
    return next((k for k in (" memory", "", " gate") if k in kinds), "")


def _path(points: Iterable[tuple[float, float]]) -> str:
    """Straight lines with rounded corners."""
    xy = [(UNIT * x, UNIT * y) for x, y in points]
    parts = [f"M{xy[0][0]:g} {xy[0][1]:g}"]
    for before, corner, after in zip(xy, xy[1:], xy[2:], strict=False):
        a, b = _towards(corner, before), _towards(corner, after)
        parts.append(f"L{a[0]:g} {a[1]:g}Q{corner[0]:g} {corner[1]:g} {b[0]:g} {b[1]:g}")
    parts.append(f"L{xy[-1][0]:g} {xy[-1][1]:g}")
    return "".join(parts)


def _towards(corner: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """A point a little away from a corner, at most half way to the next."""
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = abs(dx) + abs(dy)
    share = min(CORNER, length / 2) / length if length else 0.0
    return corner[0] + share * dx, corner[1] + share * dy


def _head(branch: Branch, kind: str) -> str:
    """The tip of an arrow, and the sign with which a value enters."""
    (px, py), (qx, qy) = branch.points[-2:]
    x, y = UNIT * qx, UNIT * qy
    size = 7.0 if kind == " memory" else 5.5
    half = size * 0.6
    if px == qx:  # from above or below
        back = y + (size if py > qy else -size)
        tip = f"M{x:g} {y:g}L{x - half:g} {back:g}L{x + half:g} {back:g}Z"
        sign_at = (x + 8, back + (5 if py > qy else -5))
    else:
        tip = f"M{x:g} {y:g}L{x - size:g} {y - half:g}L{x - size:g} {y + half:g}Z"
        sign_at = (x - 9, y - 9)
    sign = branch.wire.sign if branch.wire else ""
    mark = f'<text x="{sign_at[0]:g}" y="{sign_at[1]:g}">{sign}</text>' if sign else ""
    return f'<path class="head{kind}" d="{tip}"/>{mark}'


# ---- nodes -------------------------------------------------------------------------------------


def _node(place: Place, layout: Layout) -> str:
    node = place.node
    assert node is not None
    x, y = UNIT * place.x, UNIT * place.y
    kinds = {"state": "state", "input": "state", "next": "state", "learned": "state", "map": "map"}
    classes = [kinds.get(node.kind, "op")]
    classes += ["isgate"] if node.gate else []
    classes += ["on"] if _on_memory(place, layout) else []
    name = f' data-name="{escape(node.name)}"' if node.name else ""
    return (
        f'<g class="{" ".join(classes)}"{name}><title>{escape(node.equation)}</title>'
        f"{_shape(place, x, y)}{_label(node, place, x, y)}</g>"
    )


def _on_memory(place: Place, layout: Layout) -> bool:
    node = place.node
    assert node is not None
    return any(w.memory for w in node.wires) or any(
        b.memory and b.source == place.source for b in layout.branches
    )


def _shape(place: Place, x: float, y: float) -> str:
    if place.is_circle:
        return f'<circle class="shape" cx="{x:g}" cy="{y:g}" r="{UNIT * CIRCLE:g}"/>'
    node = place.node
    assert node is not None
    width, height = UNIT * place.width, UNIT * 2 * place.up
    radius = 5 if node.kind == "map" else min(height, width) / 2
    if node.kind not in ("map", "state", "input", "next"):
        radius = min(radius, 14)
    return (
        f'<rect class="shape" x="{x - width / 2:g}" y="{y - height / 2:g}" '
        f'width="{width:g}" height="{height:g}" rx="{radius:g}"/>'
    )


def _label(node: Node, place: Place, x: float, y: float) -> str:
    label = escape(node.label)
    if node.kind in ("state", "input", "next") and node.axes:
        return (
            f'<text class="name" x="{x:g}" y="{y - 8:g}">{label}</text>'
            f'<text class="quiet" x="{x:g}" y="{y + 9:g}">{escape(node.axes)}</text>'
        )
    if node.kind in ("state", "input", "next"):
        return f'<text class="name" x="{x:g}" y="{y:g}">{label}</text>'
    if not node.name:
        return f'<text x="{x:g}" y="{y:g}">{label}</text>'
    if place.is_circle:
        at = x + UNIT * CIRCLE + 3, y - UNIT * CIRCLE - 2
        name = f'<text class="name" style="text-anchor:start" x="{at[0]:g}" y="{at[1]:g}">'
        return f'<text x="{x:g}" y="{y:g}">{label}</text>{name}{escape(node.name)}</text>'
    return (
        f'<text class="name" x="{x:g}" y="{y - 8:g}">{escape(node.name)}</text>'
        f'<text class="small" x="{x:g}" y="{y + 8:g}">{label}</text>'
    )


# ---- legend ------------------------------------------------------------------------------------


def _legend(layout: Layout) -> list[tuple[str, str]]:
    nodes = [p.node for p in layout.places if p.node]
    lines = []
    if any(n.gate for n in nodes):
        lines.append(("isgate", "gate, 0 closed to 1 open"))
    if any(n.kind == "map" for n in nodes):
        lines.append(("map", "learned map"))
    if any(b.memory for b in layout.branches):
        lines.append(("memory", "the memory's path"))
    lines.append(("op", "unit by unit"))
    return lines


def _legend_svg(lines: Iterable[tuple[str, str]]) -> str:
    parts, x = [], 0.0
    for kind, words in lines:
        if kind == "memory":
            mark = f'<path class="wire memory" d="M{x:g} 0h22"/>'
        elif kind == "op":
            mark = f'<g class="op"><circle class="shape" cx="{x + 13:g}" cy="0" r="8"/></g>'
        else:
            mark = (
                f'<g class="{kind}"><rect class="shape" x="{x + 2:g}" y="-8" width="20" '
                'height="16" rx="3"/></g>'
            )
        parts.append(f'{mark}<text class="legend" x="{x + 30:g}" y="0">{words}</text>')
        x += 22 + 10 + LETTER * len(words) + 14
    return "".join(parts)
