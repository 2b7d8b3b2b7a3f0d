"""Nothing in a drawing lies on anything else: measured on the lines, boxes and letters."""

import itertools

import pytest
from hypothesis import given, settings

import gatework as gw
from gatework.show.flow import flow_of
from gatework.show.layout import CIRCLE, LETTER, SMALL_LETTER, Layout, layout_of
from parts_of_suite import mostly_slow
from random_cells import random_cells

CELLS = gw.cells.catalogue()


def boxes(layout: Layout):
    """Each node's rectangle: left, top, right, bottom."""
    for p in layout.places:
        half = CIRCLE if p.is_circle else p.up
        wide = CIRCLE if p.is_circle else p.width / 2
        yield p, (p.x - wide, p.y - half, p.x + wide, p.y + half)


def segments(layout: Layout):
    """Each straight piece of a wire, with the value it carries."""
    for b in layout.branches:
        for (x, y), (u, v) in itertools.pairwise(b.points):
            yield b, (min(x, u), min(y, v), max(x, u), max(y, v))


def meet(a, b, room=0.0):
    """Whether two rectangles have more than an edge in common."""
    return a[0] < b[2] - room and b[0] < a[2] - room and a[1] < b[3] - room and b[1] < a[3] - room


def on_one_another(a, b):
    """Whether two straight lines share more than a point."""
    if a[0] == a[2] == b[0] == b[2]:
        return min(a[3], b[3]) > max(a[1], b[1])
    if a[1] == a[3] == b[1] == b[3]:
        return min(a[2], b[2]) > max(a[0], b[0])
    return False


def check(cell):
    layout = layout_of(flow_of(cell))
    nodes, lines = list(boxes(layout)), list(segments(layout))
    for (p, a), (q, b) in itertools.combinations(nodes, 2):
        assert not meet(a, b), f"{p.node} and {q.node} overlap"
    for branch, line in lines:
        thick = (line[0] - 0.1, line[1] - 0.1, line[2] + 0.1, line[3] + 0.1)
        for p, box in nodes:
            ends_here = branch.wire is not None and branch.wire in p.node.wires
            if branch.source != p.source and not ends_here:
                assert not meet(thick, box), f"a wire crosses {p.node}"
    for (a, line), (b, other) in itertools.combinations(lines, 2):
        if a.source != b.source:
            assert not on_one_another(line, other), f"wires of {a.source}, {b.source} at {line}"
    for p in layout.places:
        if not p.is_circle:
            assert LETTER * max(len(p.node.label), len(p.node.name)) <= p.width
            assert SMALL_LETTER * len(p.node.axes) <= p.width
        assert p.y - p.up >= 0
        assert p.y + p.down <= layout.height
        assert p.x + p.width / 2 <= layout.width
    return layout


@pytest.mark.parametrize("name", mostly_slow(CELLS))
def test_nothing_overlaps(name):
    check(CELLS[name])


@settings(deadline=None, max_examples=60)
@given(random_cells(outputs=False))
def test_nothing_overlaps_in_random_cells(cell):
    if len(flow_of(cell).nodes) <= 25:  # of larger cells wires may lie on one another
        check(cell)
