"""The routines that every kernel calls, whatever the cell: products, packing, sums over rows.

They are compiled once per processor and precision. All addresses are in elements, all matrices
row by row with a leading dimension ("ld": the distance of two rows); a list of rows is i64 [count].

Letters: K the length of sums, W lanes of a vector, V vectors of a block, `most` of them at most.

    product_V       C[count, V·W] (+)= A[rows, K] · panel            (x Wᵀ, h Uᵀ, dG W)
    contract_V      C[count, V·W] (+)= A[rows, count]ᵀ · panel       (dGᵀ x)
    dot             C[count, units] (+)= A[rows, K] · W[units, K]ᵀ, W as it lies
    spread          C[count, columns] (+)= A[rows, K] · W[K, columns], W as it lies
    gather          panel[count, V·W] = columns of some rows, zeros behind the last column
    transpose       panel[K, V·W] = some rows as columns, anything behind the last row
    sum_rows        sums of columns over some rows
    put             copy or add a block, no further than its last column
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from gatework.backends.cpu.vector.ir import Builder, Module
from gatework.backends.cpu.vector.masks import across, lane_mask, masked_load, masked_store
from gatework.backends.cpu.vector.target import Target
from gatework.backends.cpu.vector.tile import Tile
from gatework.backends.cpu.vector.values import Element, Index, Value, Vector

PARAMETERS = {
    "product": "ptr c, ptr a, i64 lda, ptr rows, i64 count, ptr panel, i64 k, i1 add",
    "contract": "ptr c, i64 ldc, ptr a, i64 lda, ptr rows, i64 count, ptr panel, i64 k, i1 add",
    "dot": "ptr c, ptr a, i64 lda, ptr rows, i64 count, ptr w, i64 ldw, i64 units, i64 k, i1 add",
    "spread": "ptr c, ptr a, i64 lda, ptr rows, i64 count, ptr w, i64 ldw, i64 cols, i64 k, i1 add",
    "gather": "ptr panel, ptr from, i64 ld, ptr rows, i64 count, i64 columns",
    "transpose": "ptr panel, ptr from, i64 ld, i64 rows, i64 k",
    "sum_rows": "ptr to, ptr from, i64 ld, ptr rows, i64 count, i64 columns",
    "put": "ptr to, i64 ld, ptr from, i64 pitch, i64 rows, i64 columns, i1 add",
}
CHUNK = 64  # terms of a sum before it is added to another one, for accuracy


def names(widest: int) -> list[str]:
    """The names of all routines."""
    widths = range(1, widest + 1)
    return [*(f"{stem}_{w}" for stem in ("product", "contract") for w in widths), *_WRITERS]


def parameters(name: str) -> list[tuple[str, str]]:
    """Types and names of a routine's parameters."""
    stem = name.rstrip("_0123456789")
    pairs = (p.split() for p in PARAMETERS[stem].split(", "))
    return [(type_, parameter) for type_, parameter in pairs]


def write(name: str, module: Module, target: Target, element: Element) -> None:
    """Write the routine of a name, such as "product_4" or "gather"."""
    vector = target.vector(element)
    if name in _WRITERS:
        with module.function(name, parameters(name), exported=True) as (b, arguments):
            _WRITERS[name](b, vector, target.tile_vectors, *arguments)
        return
    stem, width = name.split("_")
    _write_products(stem, module, vector, target.tile_rows, int(width))


def call_routine(b: Builder, name: str, *arguments: Value) -> None:
    """Call one of the routines from a kernel."""
    b.module.declare(name, "void", [t for t, _ in parameters(name)])
    b.call_local(name, *arguments)


# ---- products ----------------------------------------------------------------------------------


def _write_products(stem: str, module: Module, vector: Vector, most: int, width: int) -> None:
    """The tiles of one width V, of 1 to `most` rows, and the loop over rows that calls them.

    product     C[count, V·W] (+)= A[rows, K] · panel[K, V·W], the rows of C side by side
    contract    C[count, V·W] (+)= A[rows, count]ᵀ · panel[K, V·W], K listed rows of A
    """
    tiles = [Tile(vector, r, width, by_rows=stem == "product") for r in range(1, most + 1)]
    for tile in tiles:
        tile.write(module)
    name = f"{stem}_{width}"
    with module.function(name, parameters(name), exported=True) as (b, arguments):
        if stem == "product":
            c, a, lda, rows, count, panel, k, add = arguments
            ldc: Index = width * vector.lanes
        else:
            c, ldc, a, lda, rows, count, panel, k, add = arguments
        for r, at in _row_tiles(b, count, most):
            to = b.at(c, vector.element, b.mul(at, ldc))
            index = b.at(rows, "i64", at) if stem == "product" else rows
            start = a if stem == "product" else b.at(a, vector.element, at)
            b.call_local(tiles[r - 1].name, to, ldc, start, lda, index, panel, k, add)


def _row_tiles(b: Builder, count: Value, most: int) -> Iterator[tuple[int, Value]]:
    """Cut rows into tiles of nearly equal height: the height and the first row of each."""
    tiles = b.index(b.div(b.add(count, most - 1), most))
    done = b.slot("i64", 8)
    b.store(b.index(0), done, 8)
    with b.loop(tiles) as i:
        at = b.load(done, "i64", 8)
        left = b.sub(tiles, i)
        height = b.index(b.div(b.sub(b.add(b.sub(count, at), left), 1), left))
        for r in b.cases(height, range(1, most + 1)):
            yield r, at
        b.store(b.index(b.add(at, height)), done, 8)


# ---- products with weights as they lie: for so few rows that packing costs more than it saves ----


class Operands(NamedTuple):
    """What `dot` and `spread` are called with: C[height, columns] (+)= A[rows, K] · W or · Wᵀ.

    Attributes:
        c: C, whose rows lie as far apart as those of a block: V·W elements.
        a: A.
        lda: The distance of two rows of A.
        rows: The rows of A that are multiplied.
        height: How many these are: the rows of C.
        w: The first row, or column, of the matrix W that belongs to the block.
        ldw: The distance of two rows of W.
        columns: The columns of C, at most a block's: rows of W for `dot`, columns for `spread`.
        k: K.
        add: Whether to add to what C holds.
    """

    c: Value
    a: Value
    lda: Value
    rows: Value
    height: Value
    w: Value
    ldw: Value
    columns: Value
    k: Value
    add: Value


def _dot(b: Builder, vector: Vector, most: int, *operands: Value) -> None:
    """C[count, columns] (+)= A[rows, K] · W[columns, K]ᵀ.

    A few columns at a time, each with a vector of sums of its own, [W] over K, which is added up at
    the end. Behind the last column the sums of that column again, which nobody reads.
    """
    c, a, lda, rows, count, w, ldw, units, k, add = Operands(*operands)
    together = min(4, vector.lanes)
    pitch = b.mul(_vectors(b, vector, units, most), vector.lanes)
    sums = [b.slot(vector.type) for _ in range(together)]
    with b.loop(count) as i, b.loop(units, step=together) as u:
        row = _listed(b, vector, a, lda, rows, i)
        weights = [_row_start(b, vector, w, ldw, units, b.add(u, j)) for j in range(together)]
        for total in sums:
            b.store(vector.const(0), total, 64)
        with b.loop(k, step=vector.lanes) as at:
            mask = lane_mask(b, vector, b.sub(k, at))
            x = masked_load(b, vector, b.at(row, vector.element, at), mask)
            for total, weight in zip(sums, weights, strict=True):
                y = masked_load(b, vector, b.at(weight, vector.element, at), mask)
                b.store(b.fma(x, y, b.load(total, vector.type, 64)), total, 64)
        to = b.at(b.at(c, vector.element, b.mul(i, pitch)), vector.element, u)
        for j, total in enumerate(sums):
            place = b.at(to, vector.element, j)
            old = b.select(add, b.load(place, vector.element), Value("0.0", vector.element))
            whole = across(b, vector, b.load(total, vector.type, 64), "fadd")
            b.store(b.fadd(old, whole), place)


def _spread(b: Builder, vector: Vector, most: int, *operands: Value) -> None:
    """C[count, columns] (+)= A[rows, K] · W[K, columns].

    All columns of the block at once, in `most` vectors of sums, so that a row of W is read in one
    piece. Lanes behind the last column are masked: neither read nor written.
    """
    c, a, lda, rows, count, w, ldw, columns, k, add = Operands(*operands)
    lanes = vector.lanes
    pitch = b.mul(_vectors(b, vector, columns, most), lanes)
    sums = [b.slot(vector.type) for _ in range(most)]
    masks = [lane_mask(b, vector, b.sub(columns, v * lanes)) for v in range(most)]
    with b.loop(count) as i:
        row = _listed(b, vector, a, lda, rows, i)
        to = b.at(c, vector.element, b.mul(i, pitch))
        places = [b.at(to, vector.element, v * lanes) for v in range(most)]
        for place, mask, total in zip(places, masks, sums, strict=True):
            old = masked_load(b, vector, place, mask)
            b.store(b.select(add, old, vector.const(0)), total, 64)
        with b.loop(k) as inner:
            x = b.broadcast(b.load(b.at(row, vector.element, inner), vector.element), vector)
            line = b.at(w, vector.element, b.mul(ldw, inner))
            for v, (mask, total) in enumerate(zip(masks, sums, strict=True)):
                y = masked_load(b, vector, b.at(line, vector.element, v * lanes), mask)
                b.store(b.fma(x, y, b.load(total, vector.type, 64)), total, 64)
        for place, mask, total in zip(places, masks, sums, strict=True):
            masked_store(b, vector, b.load(total, vector.type, 64), place, mask)


# ---- packing -----------------------------------------------------------------------------------


def _vectors(b: Builder, vector: Vector, columns: Value, most: int) -> Value:
    """V: the vectors that so many columns need, but no more than a block has."""
    needed = b.div(b.add(columns, vector.lanes - 1), vector.lanes)
    return b.index(b.smaller(needed, most))


def _gather(
    b: Builder, vector: Vector, most: int, panel: Value, from_: Value, ld: Value, rows: Value,
    count: Value, columns: Value,
) -> None:  # fmt: skip
    """panel[count, V·W] = from[rows, columns], zeros behind the last column.

    What is behind the block's last vector is left out.
    """
    vectors, lanes = _vectors(b, vector, columns, most), vector.lanes
    with b.loop(count) as i:
        start = _listed(b, vector, from_, ld, rows, i)
        to = b.at(panel, vector.element, b.mul(b.mul(i, vectors), lanes))
        with b.loop(vectors) as v:
            at = b.mul(v, lanes)
            mask = lane_mask(b, vector, b.sub(columns, at))
            value = masked_load(b, vector, b.at(start, vector.element, at), mask)
            b.store(value, b.at(to, vector.element, at))


def _transpose(
    b: Builder, vector: Vector, most: int, panel: Value, from_: Value, ld: Value, rows: Value,
    k: Value,
) -> None:  # fmt: skip
    """panel[K, V·W] = from[rows, K]ᵀ: W rows become W columns of the panel.

    As far as whole vectors go along K, squares [W, W] are transposed in registers; what is left of
    K is copied number by number. Behind the last row stands that row again.
    """
    vectors, lanes = _vectors(b, vector, rows, most), vector.lanes
    pitch = b.mul(vectors, lanes)  # of two rows of the panel
    whole = b.mul(b.div(k, lanes), lanes)
    with b.loop(vectors) as v:
        first = b.mul(v, lanes)
        to = b.at(panel, vector.element, first)
        starts = [_row_start(b, vector, from_, ld, rows, b.add(first, j)) for j in range(lanes)]
        with b.loop(whole, step=lanes) as at:
            square = [b.load(b.at(row, vector.element, at), vector.type) for row in starts]
            for i, line in enumerate(transposed(b, vector, square)):
                b.store(line, b.at(to, vector.element, b.mul(b.add(at, i), pitch)))
        with b.loop(k, start=whole) as at:
            line = b.at(to, vector.element, b.mul(at, pitch))
            for j, row in enumerate(starts):
                number = b.load(b.at(row, vector.element, at), vector.element)
                b.store(number, b.at(line, vector.element, j))


def _row_start(
    b: Builder, vector: Vector, from_: Value, ld: Value, rows: Value, row: Index
) -> Value:
    """Where a row starts; behind the last row that row again, whose sums nobody reads."""
    existing = b.smaller(row, b.sub(rows, 1))
    return b.at(from_, vector.element, b.mul(existing, ld))


def _listed(b: Builder, vector: Vector, from_: Value, ld: Value, rows: Value, i: Index) -> Value:
    """Where the i-th of the listed rows starts."""
    row = b.load(b.at(rows, "i64", i), "i64", 8)
    return b.at(from_, vector.element, b.mul(row, ld))


def transposed(b: Builder, vector: Vector, square: list[Value]) -> list[Value]:
    """A square of vectors transposed: blocks change places across the diagonal, halving."""
    lanes, half = vector.lanes, vector.lanes // 2
    while half:
        upper = [i if not i & half else lanes + i - half for i in range(lanes)]
        lower = [i + half if not i & half else lanes + i for i in range(lanes)]
        for i in range(lanes):
            if not i & half:
                one, other = square[i], square[i + half]
                square[i] = _shuffle(b, vector, one, other, upper)
                square[i + half] = _shuffle(b, vector, one, other, lower)
        half //= 2
    return square


def _shuffle(b: Builder, vector: Vector, one: Value, other: Value, order: list[int]) -> Value:
    """Lanes of two vectors, [W] of 2W, in this order."""
    mask = ", ".join(f"i32 {i}" for i in order)
    return b.op(
        f"shufflevector {vector.type} {one.text}, {vector.type} {other.text}, "
        f"<{vector.lanes} x i32> <{mask}>",
        vector.type,
    )


# ---- sums and copies ---------------------------------------------------------------------------


def _sum_rows(
    b: Builder, vector: Vector, most: int, to: Value, from_: Value, ld: Value, rows: Value,
    count: Value, columns: Value,
) -> None:  # fmt: skip
    """to[columns] = Σ over rows of from[rows, columns], a vector of columns at a time.

    In three levels, so that no sum has many more terms than `CHUNK`: four parts take the rows of a
    chunk in turn, their sum is added to one of CHUNK² rows, that one to the total.
    """
    chunks, total, big = CHUNK * CHUNK, b.slot(vector.type), b.slot(vector.type)
    parts = [b.slot(vector.type) for _ in range(4)]

    def clear(*slots: Value) -> None:
        for slot in slots:
            b.store(vector.const(0), slot, 64)

    def into(slot: Value, value: Value) -> None:
        b.store(b.fadd(b.load(slot, vector.type, 64), value), slot, 64)

    with b.loop(columns, step=vector.lanes) as at:
        mask = lane_mask(b, vector, b.sub(columns, at))
        column = b.at(from_, vector.element, at)

        def value(i: Index) -> Value:
            return masked_load(b, vector, _listed(b, vector, column, ld, rows, i), mask)

        clear(total)
        with b.loop(count, step=chunks) as start:
            clear(big)
            end = b.smaller(count, b.add(start, chunks))
            with b.loop(end, start=start, step=CHUNK) as first:
                clear(*parts)
                last = b.smaller(end, b.add(first, CHUNK))
                fours = b.add(first, b.mul(b.div(b.sub(last, first), 4), 4))
                with b.loop(fours, start=first, step=4) as i:
                    for k, part in enumerate(parts):
                        into(part, value(b.add(i, k)))
                with b.loop(last, start=fours) as i:
                    into(parts[0], value(i))
                one, two, three, four = (b.load(p, vector.type, 64) for p in parts)
                into(big, b.fadd(b.fadd(one, two), b.fadd(three, four)))
            into(total, b.load(big, vector.type, 64))
        to_here = b.at(to, vector.element, at)
        masked_store(b, vector, b.load(total, vector.type, 64), to_here, mask)


def _put(
    b: Builder, vector: Vector, most: int, to: Value, ld: Value, from_: Value, pitch: Value,
    rows: Value, columns: Value, add: Value,
) -> None:  # fmt: skip
    """to[rows, columns] (+)= from[rows, columns], rows `ld` apart in `to`, `pitch` in `from`.

    Lanes behind the last column are masked: neither read nor written.
    """
    with b.loop(rows) as i, b.loop(columns, step=vector.lanes) as at:
        mask = lane_mask(b, vector, b.sub(columns, at))
        source = b.at(b.at(from_, vector.element, b.mul(i, pitch)), vector.element, at)
        target = b.at(b.at(to, vector.element, b.mul(i, ld)), vector.element, at)
        value = masked_load(b, vector, source, mask)
        old = masked_load(b, vector, target, mask)
        value = b.fadd(value, b.select(add, old, vector.const(-0.0)))  # -0 + 0 would be 0
        masked_store(b, vector, value, target, mask)


_WRITERS: dict[str, Callable[..., None]] = {
    "dot": _dot,
    "spread": _spread,
    "gather": _gather,
    "transpose": _transpose,
    "sum_rows": _sum_rows,
    "put": _put,
}
