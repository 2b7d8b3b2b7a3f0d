"""Where everything goes: nodes in columns from left to right, wires in the channels between them.

The method is that of layered graphs (Sugiyama, Tagawa & Toda 1981): a column is the longest way
from the input; the order within the columns is found by medians, so that few wires cross;
heights are the L1 isotonic regression on the neighbours' heights, so that wires are straight. Wires
run as on a circuit board: each value has one vertical track in a channel, from which it branches.
Nothing lies on top of anything else, by construction: places in a column keep their distance, and
no two values share a track.

All lengths are in units of `UNIT` pixels; y grows downward.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from math import ceil

from gatework.show.flow import Flow, Node, Wire

__all__ = ["UNIT", "Branch", "Layout", "Place", "layout_of"]

UNIT = 4.0
"""Pixels."""
CIRCLE, ELBOW = 3, 6
"""Radius of a circle; how far above or below its centre a wire arrives that enters from there."""
PORTS = 4
"""Distance between two wires that enter a box from the left."""
GAP, WIRE_GAP = 3, 2
TRACK, MARGIN = 3, 4
"""Distance between two tracks; room before the first and after the last."""
SWEEPS = 12
MOST_TRACKS = 11
"""Up to so many, the best order of tracks is found; for more, a good one."""
LETTER = 2.0
"""Width of a character."""
SMALL_LETTER = 1.4
"""Width of one that is written small."""


@dataclass
class Place:
    """A node, or a wire that passes through a column.

    Attributes:
        column: Counted from the left.
        source: The number of the node whose value it carries.
        node: The node; None for a wire that passes through.
        x: Its centre.
        y: Its centre.
        up: How far it reaches above its centre, wires that enter from there included.
        down: The same below.
        width: Of what is drawn.
        ports: For each wire of the node, where it enters, as its distance below the centre.
    """

    column: int
    source: int
    node: Node | None = None
    x: float = 0.0
    y: int = 0
    up: int = 1
    down: int = 1
    width: float = 0.0
    ports: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.passing = Wire(self.source)

    @property
    def reads(self) -> list[Wire]:
        """What it takes from the column before it."""
        return self.node.wires if self.node else [self.passing]

    @property
    def is_circle(self) -> bool:
        """Whether it is drawn as a circle, into which wires go from left, above or below."""
        return self.node is not None and is_circle(self.node)


@dataclass(frozen=True)
class Branch:
    """A wire across one channel.

    Attributes:
        points: Its corners, from left to right.
        source: The number of the node whose value it carries.
        wire: The wire that ends here; None when it goes on in the next column.
        memory: Whether it is part of the memory's path.
        gate: Whether it carries a gate to what it controls.
    """

    points: tuple[tuple[float, float], ...]
    source: int
    wire: Wire | None
    memory: bool
    gate: bool


@dataclass(frozen=True)
class Layout:
    """Places of all nodes, all wires, the points where wires branch, and the size of the whole."""

    places: tuple[Place, ...]
    branches: tuple[Branch, ...]
    joints: tuple[tuple[float, float, int], ...]
    width: float
    height: float


def is_circle(node: Node) -> bool:
    """A sum or product of two values is a circle, one of more a box."""
    return node.kind in ("sum", "product") and len(node.wires) <= 2 and len(node.label) == 1


def layout_of(flow: Flow) -> Layout:
    """Find a place for everything."""
    columns = _columns(flow)
    _mark_passing(columns)
    _order(columns)
    for number in range(1, len(columns)):
        _choose_ports(columns, number)
    _set_heights(columns)
    return _route(columns)


# ---- columns -----------------------------------------------------------------------------------

Columns = list[list[Place]]


def _columns(flow: Flow) -> Columns:
    """The nodes by column, with a place in every column that a wire passes through."""
    at = _column_numbers(flow.nodes)
    last = {n: at[n] for n in range(len(flow.nodes))}
    for reader, node in enumerate(flow.nodes):
        for wire in node.wires:
            last[wire.source] = max(last[wire.source], at[reader] - 1)
    columns: Columns = [[] for _ in range(max(at.values()) + 1)]
    for number, node in enumerate(flow.nodes):
        columns[at[number]].append(_node_place(at[number], number, node))
        for column in range(at[number] + 1, last[number] + 1):
            columns[column].append(Place(column, number))
    return columns


def _column_numbers(nodes: Sequence[Node]) -> dict[int, int]:
    at: dict[int, int] = {}
    for number, node in enumerate(nodes):
        at[number] = 1 + max((at[w.source] for w in node.wires), default=-1)
    last = max(at[n] for n, node in enumerate(nodes) if node.kind != "next") + 1
    for number, node in enumerate(nodes):
        if node.kind == "next":
            at[number] = last
        if node.kind == "learned":
            readers = [
                m for m, other in enumerate(nodes) for w in other.wires if w.source == number
            ]
            at[number] = min(at[m] for m in readers) - 1
    return at


def _node_place(column: int, number: int, node: Node) -> Place:
    if is_circle(node):
        name = LETTER * len(node.name) + 2 if node.name else 0
        return Place(column, number, node, width=2 * (CIRCLE + max(2, name)))
    half = 5 if node.kind == "map" or (node.name and node.kind != "next") else 4
    half = max(half, PORTS * (len(node.wires) - 1) // 2 + 3)
    least = 14 if node.kind == "map" else 9
    width = max(least, LETTER * max(len(node.label), len(node.name)) + 5)
    if node.axes:
        half, width = max(half, 5), max(width, ceil(SMALL_LETTER * len(node.axes)) + 5)
    return Place(column, number, node, width=width, up=half, down=half)


def _carriers(column: Sequence[Place]) -> dict[int, Place]:
    """Where each value is in a column: its node, or the wire that passes through."""
    return {p.source: p for p in column}


def _mark_passing(columns: Columns) -> None:
    """Tell the places that wires pass through what the wires that end further on are."""
    for column, before in zip(columns[:0:-1], columns[-2::-1], strict=True):
        carriers = _carriers(before)
        for place in column:
            for wire in place.reads:
                carrier = carriers[wire.source]
                if carrier.node is None:
                    carrier.passing.memory |= wire.memory
                    carrier.passing.gate |= wire.gate


def _memory_places(columns: Columns) -> set[int]:
    """The identities of the places that lie on the memory's path."""
    found: set[int] = set()
    for column, before in zip(columns[:0:-1], columns[-2::-1], strict=True):
        carriers = _carriers(before)
        for place in column:
            for wire in place.reads:
                if wire.memory:
                    found |= {id(place), id(carriers[wire.source])}
    return found


# ---- order within a column ---------------------------------------------------------------------


def _order(columns: Columns) -> None:
    """Order each column so that few wires cross; the memory's path runs at the top."""
    memory = _memory_places(columns)
    columns[0].sort(
        key=lambda p: (id(p) not in memory, p.node is not None and p.node.kind == "input")
    )
    best, fewest = [list(c) for c in columns], 1 << 30
    for sweep in range(SWEEPS):
        downward = sweep % 2 == 0
        numbers = range(1, len(columns)) if downward else range(len(columns) - 2, 0, -1)
        for number in numbers:
            other = columns[number - 1] if downward else columns[number + 1]
            centre = _barycentres(columns[number], other, downward)
            columns[number].sort(key=lambda p, c=centre: (id(p) not in memory, c[id(p)]))  # type: ignore[misc]
        _swap_neighbours(columns, memory)
        crossings = sum(_crossings(a, b) for a, b in pairwise(columns))
        if crossings < fewest:
            best, fewest = [list(c) for c in columns], crossings
    columns[:] = best


def _barycentres(column: Sequence[Place], other: Sequence[Place], left: bool) -> dict[int, float]:
    """For each place, the mean position of its neighbours in another column."""
    position = {id(p): float(k) for k, p in enumerate(column)}
    sums: dict[int, list[float]] = defaultdict(list)
    for a, b in _pairs(other, column) if left else _pairs(column, other):
        here, there = (b, a) if left else (a, b)
        sums[id(here)].append(float(other.index(there)))
    return {k: sum(sums[k]) / len(sums[k]) if sums[k] else v for k, v in position.items()}


def _pairs(left: Sequence[Place], right: Sequence[Place]) -> list[tuple[Place, Place]]:
    """The places of two adjacent columns that a wire joins."""
    carriers = _carriers(left)
    return [(carriers[w.source], p) for p in right for w in p.reads if w.source in carriers]


def _crossings(left: Sequence[Place], right: Sequence[Place]) -> int:
    a = {id(p): k for k, p in enumerate(left)}
    b = {id(p): k for k, p in enumerate(right)}
    joined = [(a[id(p)], b[id(q)]) for p, q in _pairs(left, right)]
    return sum(p < r and q > s for p, q in joined for r, s in joined)


def _swap_neighbours(columns: Columns, memory: set[int]) -> None:
    """Swap neighbours in a column as long as that saves crossings."""
    for number in range(1, len(columns)):
        column = columns[number]

        def cost(number: int = number) -> int:
            around = columns[max(0, number - 1) : number + 2]
            return sum(_crossings(a, b) for a, b in pairwise(around))

        now = cost()
        for k in range(len(column) - 1):
            if (id(column[k]) in memory) != (id(column[k + 1]) in memory):
                continue
            column[k], column[k + 1] = column[k + 1], column[k]
            then = cost()
            if then < now:
                now = then
            else:
                column[k], column[k + 1] = column[k + 1], column[k]


# ---- where wires enter -------------------------------------------------------------------------


def _choose_ports(columns: Columns, number: int) -> None:
    """Choose for each node of a column where its wires enter, in the order they come from."""
    before = columns[number - 1]
    position = {p.source: k for k, p in enumerate(before)}
    nodes = {p.source for p in before if p.node}
    for place in columns[number]:
        if place.node is None:
            place.ports = [0]
        elif place.is_circle and len(place.node.wires) == 2:
            _circle_ports(place, position, nodes)
        else:
            wires = place.node.wires
            ranked = sorted(range(len(wires)), key=lambda k: position[wires[k].source])
            if place.node.label in ("<", "≤"):
                ranked = list(range(len(wires)))
            middle = PORTS * (len(wires) - 1) // 2
            place.ports = [PORTS * ranked.index(k) - middle for k in range(len(wires))]
            if place.is_circle:
                place.up = place.down = CIRCLE


def _circle_ports(place: Place, position: Mapping[int, int], nodes: set[int]) -> None:
    assert place.node is not None
    wires = place.node.wires

    def rank(k: int) -> tuple[bool, bool, int]:
        wire = wires[k]
        return not wire.memory, wire.source not in nodes, position[wire.source]

    first = min(range(2), key=rank)
    above = position[wires[1 - first].source] < position[wires[first].source]
    place.ports = [0, 0]
    place.ports[1 - first] = -ELBOW if above else ELBOW
    place.up = ELBOW + 1 if above else CIRCLE
    place.down = CIRCLE if above else ELBOW + 1
    if place.node.name:
        place.up = max(place.up, CIRCLE + 4)


# ---- heights -----------------------------------------------------------------------------------

Wish = tuple[int, int]
"""A height, and how much it is wished for."""


def _set_heights(columns: Columns) -> None:
    for column in columns:
        _settle(column, lambda place: [])
    for sweep in range(2 * SWEEPS):
        forward = sweep % 2 == 0
        both = sweep >= 4
        order = range(len(columns)) if forward else range(len(columns) - 1, -1, -1)
        for number in order:
            left = _wishes(columns, number, before=True) if both or forward else {}
            right = _wishes(columns, number, before=False) if both or not forward else {}
            _settle(
                columns[number],
                lambda p, a=left, b=right: [*a.get(id(p), ()), *b.get(id(p), ())],  # type: ignore[misc]
            )
    top = min(p.y - p.up for column in columns for p in column)
    for column in columns:
        for place in column:
            place.y -= top


def _wishes(columns: Columns, number: int, before: bool) -> dict[int, list[Wish]]:
    """The heights at which each place's wires to one neighbouring column would be straight."""
    wishes: dict[int, list[Wish]] = defaultdict(list)
    left, right = (number - 1, number) if before else (number, number + 1)
    if left < 0 or right == len(columns):
        return wishes
    carriers = _carriers(columns[left])
    for place in columns[right]:
        for wire, port in zip(place.reads, place.ports, strict=True):
            source = carriers[wire.source]
            weight = _weight(source, place, wire, port)
            if before:
                wishes[id(place)].append((source.y - port, weight))
            else:
                wishes[id(source)].append((place.y + port, weight))
    return wishes


def _weight(source: Place, place: Place, wire: Wire, port: int) -> int:
    if wire.memory:
        return 60
    if place.node is None:
        return 12 if source.node is None else 6
    if place.is_circle:
        return 4 if port == 0 else 2
    return 3 if len(place.ports) == 1 else 1


def _settle(column: Sequence[Place], wishes: Callable[[Place], list[Wish]]) -> None:
    """Move the places of a column as near to their wishes as order and distance allow.

    Pool adjacent violators with weighted medians, which minimises Σ weight · |y - wish|.
    """
    offsets, offset = [], 0
    for k, place in enumerate(column):
        if k:
            offset += _distance(column[k - 1], place)
        offsets.append(offset)
    blocks: list[tuple[int, list[Wish], int]] = []  # value, wishes, how many places
    for place, offset in zip(column, offsets, strict=True):
        wanted = [(y - offset, w) for y, w in wishes(place)] or [(place.y - offset, 1)]
        blocks.append((_median(wanted), wanted, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (_, a, n), (_, b, m) = blocks[-2:]
            blocks[-2:] = [(_median(a + b), a + b, n + m)]
    heights = [value for value, _, count in blocks for _ in range(count)]
    for place, height, offset in zip(column, heights, offsets, strict=True):
        place.y = height + offset


def _distance(above: Place, below: Place) -> int:
    gap = WIRE_GAP if above.node is None and below.node is None else GAP
    return above.down + gap + below.up


def _median(wishes: Iterable[Wish]) -> int:
    ordered = sorted(wishes)
    half, seen = sum(w for _, w in ordered) / 2, 0
    for y, weight in ordered:
        seen += weight
        if seen >= half:
            return y
    raise ValueError("no wishes")


# ---- wires -------------------------------------------------------------------------------------


@dataclass
class _Net:
    """One value in one channel: the height at which it comes, and those at which it goes."""

    source: int
    y: int
    ends: list[tuple[Place, Wire, int]]
    track: int = 0

    @property
    def is_straight(self) -> bool:
        return all(y == self.y for _, _, y in self.ends)

    @property
    def heights(self) -> list[int]:
        return [self.y, *(y for _, _, y in self.ends)]


def _route(columns: Columns) -> Layout:
    branches: list[Branch] = []
    joints: list[tuple[float, float, int]] = []
    x = 0.0
    for number, column in enumerate(columns):
        width = max((p.width for p in column), default=0.0)
        for place in column:
            place.x = x + width / 2
        right = x + width
        if number + 1 == len(columns):
            x = right
            break
        nets = _nets(column, columns[number + 1])
        tracks = _assign_tracks([n for n in nets if not n.is_straight])
        x = right + 2 * MARGIN + TRACK * max(0, tracks - 1)
        next_width = max(p.width for p in columns[number + 1])
        for net in nets:
            carrier = _carriers(column)[net.source]
            start = carrier.x if carrier.node is None else carrier.x + _reach(carrier)
            track = right + MARGIN + TRACK * net.track
            for place, wire, y in net.ends:
                place.x = x + next_width / 2
                points = _corners(start, net.y, track, y, place)
                ends = wire if place.node else None
                branches.append(Branch(points, net.source, ends, wire.memory, wire.gate))
            joints += [(track, y, net.source) for y in _joint_heights(net)]
    height = max(p.y + p.down for column in columns for p in column)
    places = tuple(p for column in columns for p in column if p.node)
    return Layout(places, tuple(branches), tuple(joints), x, height)


def _nets(left: Sequence[Place], right: Sequence[Place]) -> list[_Net]:
    carriers = _carriers(left)
    nets: dict[int, _Net] = {}
    for place in right:
        for wire, port in zip(place.reads, place.ports, strict=True):
            net = nets.setdefault(wire.source, _Net(wire.source, carriers[wire.source].y, []))
            net.ends.append((place, wire, place.y + port))
    return list(nets.values())


def _reach(place: Place) -> float:
    """From the centre of a node to where its wire begins."""
    return CIRCLE if place.is_circle else place.width / 2


def _corners(
    start: float, y: int, track: float, end: int, place: Place
) -> tuple[tuple[float, float], ...]:
    """From a node or a passing wire on the left to a place on the right."""
    points: list[tuple[float, float]] = [(start, y)]
    if end != y:
        points += [(track, y), (track, end)]
    if place.node is None:
        return (*points, (place.x, end))
    if place.is_circle and end != place.y:
        rim = place.y + (CIRCLE if end > place.y else -CIRCLE)
        return (*points, (place.x, end), (place.x, rim))
    return (*points, (place.x - _reach(place), end))


def _joint_heights(net: _Net) -> list[int]:
    """Where on its track a value branches: ends that are not the track's own."""
    if net.is_straight:
        return []
    low, high = min(net.heights), max(net.heights)
    ends = {y for _, _, y in net.ends}
    inner = {y for y in {*ends, net.y} if low < y < high}
    through = {net.y} if net.y in (low, high) and net.y in ends else set()
    return sorted(inner | through)


def _assign_tracks(nets: list[_Net]) -> int:
    """Give each value a track, so that few wires cross and none lie on one another."""
    costs = [[_cost(a, b) for b in nets] for a in nets]
    order = _best_order(costs) if len(nets) <= MOST_TRACKS else _good_order(costs)
    for track, k in enumerate(order):
        nets[k].track = track
    return len(nets)


def _cost(a: _Net, b: _Net) -> int:
    """What it costs to have a's track left of b's: crossings; very much where they would touch."""
    if a is b:
        return 0
    leaving = [y for _, _, y in a.ends]
    touching = sum(b.y == y for y in leaving)
    crossing = int(min(a.heights) < b.y < max(a.heights))
    crossing += sum(min(b.heights) < y < max(b.heights) for y in leaving)
    return crossing + 1000 * touching


def _best_order(costs: Sequence[Sequence[int]]) -> list[int]:
    """The order of least cost, by dynamic programming over the sets of what stands to the left."""
    count = len(costs)

    @cache
    def best(placed: int) -> tuple[int, tuple[int, ...]]:
        rest = [k for k in range(count) if not placed >> k & 1]
        if not rest:
            return 0, ()
        options = []
        for k in rest:
            cost, order = best(placed | 1 << k)
            options.append((cost + sum(costs[k][m] for m in rest), (k, *order)))
        return min(options)

    return list(best(0)[1])


def _good_order(costs: Sequence[Sequence[int]]) -> list[int]:
    order: list[int] = []
    for k in range(len(costs)):  # insert each where it costs least

        def total(at: int, k: int = k) -> int:
            return sum(costs[m][k] for m in order[:at]) + sum(costs[k][m] for m in order[at:])

        order.insert(min(range(len(order) + 1), key=total), k)
    return order
