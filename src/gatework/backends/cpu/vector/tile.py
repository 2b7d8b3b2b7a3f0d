"""The register tile: C[R, V·W] (+)= A[R, K] · P[K, V·W], with every sum in a register.

Letters: R rows and V vectors of W lanes of the tile, K the length of the sums, P a panel: K rows
of V vectors, one after the other. A is read number by number in one of two orders:
"rows", a[index[r]·lda + k], where a row of the tile is any row in memory (x Wᵀ, h Uᵀ, dG W), or
"columns", a[index[k]·lda + r], where a row of the tile is a column of any rows (dGᵀ x).

Few rows leave the multiply-adders waiting for each other; those tiles keep several sets of
accumulators, set s taking every k ≡ s, and add them up at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

from gatework.backends.cpu.vector.ir import Builder, Module
from gatework.backends.cpu.vector.values import Index, Value, Vector

LATENT = 12  # independent multiply-adds that keep two units of latency 4 busy, with some margin


@dataclass(frozen=True)
class Tile:
    """One variant of the tile."""

    vector: Vector
    rows: int
    vectors: int
    by_rows: bool = True

    @property
    def name(self) -> str:
        """The name of the function that computes it."""
        order = "rows" if self.by_rows else "columns"
        return f"tile_{order}_{self.rows}x{self.vectors}"

    @property
    def sets(self) -> int:
        """Sets of accumulators."""
        return max(1, min(4, LATENT // (self.rows * self.vectors)))

    def write(self, module: Module) -> None:
        """Write the function; `add` says whether to add to what C holds already."""
        params = [("ptr", "c"), ("i64", "ldc"), ("ptr", "a"), ("i64", "lda"), ("ptr", "index"),
                  ("ptr", "panel"), ("i64", "k"), ("i1", "add")]  # fmt: skip
        with module.function(self.name, params) as (b, (c, ldc, a, lda, index, panel, k, add)):
            with b.when(add):
                self._fetch(b, c, ldc)
            sums = self._start(b)
            rows = self._rows(b, a, lda, index) if self.by_rows else []
            whole = b.mul(b.div(k, self.sets), self.sets)
            with b.loop(whole, step=self.sets) as i:
                for s, accumulators in enumerate(sums):
                    at = b.add(i, s)
                    numbers = self._numbers(b, a, lda, index, rows, at)
                    self._accumulate(b, accumulators, numbers, panel, at)
            if self.sets > 1:
                with b.loop(k, start=whole) as i:
                    numbers = self._numbers(b, a, lda, index, rows, i)
                    self._accumulate(b, sums[0], numbers, panel, i)
            self._finish(b, sums, c, ldc, add)

    def _fetch(self, b: Builder, c: Value, ldc: Value) -> None:
        """Ask for C, which is added to at the end: it has arrived by then."""
        for r, v in self._places():
            b.prefetch(self._c(b, c, ldc, r, v), to_write=True)

    def _places(self) -> list[tuple[int, int]]:
        """Row and vector of every sum."""
        return [(r, v) for r in range(self.rows) for v in range(self.vectors)]

    def _start(self, b: Builder) -> list[list[list[Value]]]:
        """Accumulators [set][row][vector], all zero."""
        sums = [
            [[b.slot(self.vector.type) for _ in range(self.vectors)] for _ in range(self.rows)]
            for _ in range(self.sets)
        ]
        for one in sums:
            for r, v in self._places():
                b.store(self.vector.const(0), one[r][v], align=64)
        return sums

    def _rows(self, b: Builder, a: Value, lda: Value, index: Value) -> list[Value]:
        """Where each row of A starts."""
        at = [b.load(b.at(index, "i64", r), "i64", align=8) for r in range(self.rows)]
        return [b.at(a, self.vector.element, b.mul(i, lda)) for i in at]

    def _numbers(
        self, b: Builder, a: Value, lda: Value, index: Value, rows: list[Value], k: Index
    ) -> list[Value]:
        """Where the numbers of A for one k are, one for each row of the tile."""
        element = self.vector.element
        if self.by_rows:
            return [b.at(row, element, k) for row in rows]
        line = b.at(a, element, b.mul(b.load(b.at(index, "i64", k), "i64", align=8), lda))
        return [b.at(line, element, r) for r in range(self.rows)]

    def _accumulate(
        self, b: Builder, sums: list[list[Value]], numbers: list[Value], panel: Value, k: Index
    ) -> None:
        """sums[R, V·W] += numbers[R] ⊗ P[k, V·W]."""
        element, width = self.vector.element, self.vectors * self.vector.lanes
        weights = b.at(panel, element, b.mul(k, width))
        loaded = [
            b.load(b.at(weights, element, v * self.vector.lanes), self.vector.type)
            for v in range(self.vectors)
        ]
        for row, address in zip(sums, numbers, strict=True):
            number = b.broadcast(b.load(address, element), self.vector)
            for slot, w in zip(row, loaded, strict=True):
                old = b.load(slot, self.vector.type, align=64)
                b.store(b.fma(number, w, old), slot, align=64)

    def _finish(
        self, b: Builder, sums: list[list[list[Value]]], c: Value, ldc: Value, add: Value
    ) -> None:
        """Add the sets up, and C where it is added to."""
        type_ = self.vector.type
        first, *others = sums
        for r, v in self._places():
            for more in others:
                total = b.fadd(b.load(first[r][v], type_, 64), b.load(more[r][v], type_, 64))
                b.store(total, first[r][v], 64)
        with b.when(add):
            for r, v in self._places():
                total = b.fadd(
                    b.load(self._c(b, c, ldc, r, v), type_), b.load(first[r][v], type_, 64)
                )
                b.store(total, first[r][v], 64)
        for r, v in self._places():
            b.store(b.load(first[r][v], type_, 64), self._c(b, c, ldc, r, v))

    def _c(self, b: Builder, c: Value, ldc: Value, row: int, vector: int) -> Value:
        """Where a vector of a row of C lies."""
        element = self.vector.element
        return b.at(b.at(c, element, b.mul(ldc, row)), element, vector * self.vector.lanes)
