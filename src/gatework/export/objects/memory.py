"""Where numbers lie: those that never change, and those of a state.

Every row is followed by room for a vector, so that whole vectors may be read and written at its
end. What stands there is in no result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from gatework.backends.calls import Call
from gatework.backends.cpu.vector.values import Value
from gatework.backends.reference import Reference
from gatework.compiler.plan import plan
from gatework.compiler.recurrence import Recurrence
from gatework.lang.expressions import Arrange, symbol
from gatework.lang.sizes import Sizes


@dataclass(frozen=True)
class Row:
    """Where a row begins."""

    base: Value
    place: int


class Room:
    """Hands out places for rows of float32, counted in numbers."""

    def __init__(self, lanes: int) -> None:
        self.lanes, self.size = lanes, 0

    def take(self, n: int) -> int:
        """A place for n numbers."""
        place, lanes = self.size, self.lanes
        self.size += -(-n // lanes) * lanes + (lanes if lanes > 1 else 0)
        return place


class Constants(Room):
    """Rows with their numbers."""

    def __init__(self, lanes: int) -> None:
        super().__init__(lanes)
        self._rows: list[tuple[int, np.ndarray]] = []

    def put(self, row: Tensor) -> int:
        """A place that has these numbers."""
        flat = row.reshape(-1).numpy()
        place = self.take(flat.size)
        self._rows.append((place, flat))
        return place

    def data(self) -> bytes:
        """All of them, little-endian."""
        whole = np.zeros(self.size, "<f4")
        for place, row in self._rows:
            whole[place : place + row.size] = row
        return whole.tobytes()


def packed(weight: Tensor, lanes: int, vectors: int) -> Tensor:
    """A matrix [rows, cols] in the order in which a product reads it.

    So many vectors of rows at a time, and of these column after column; zeros fill the last.
    """
    rows, cols = weight.shape
    height = lanes * vectors
    full, rest = divmod(-(-rows // lanes), vectors)
    padded = weight.new_zeros((full * vectors + rest) * lanes, cols)
    padded[:rows] = weight
    whole = padded[: full * height].reshape(full, height, cols).transpose(1, 2)
    return torch.cat([whole.reshape(-1), padded[full * height :].T.reshape(-1)])


def sources(node: Arrange, sizes: Sizes) -> Sequence[int]:
    """Of each unit of an arrangement, from where it comes: 0 where a zero comes in.

    1 is the first unit of the first row. The reference arranges the numbers of the units instead of
    their values.
    """
    rows = [symbol(f"row{k}", "sequence", a.size) for k, a in enumerate(node.args)]
    step = Recurrence(tuple(rows), (), (), (), {"y": node.rebuilt(tuple(rows))}, ())
    ends = [1, *(1 + np.cumsum([sizes[row.size] for row in rows])).tolist()]
    numbers = [torch.arange(a, b).double().reshape(1, 1, -1) for a, b in pairwise(ends)]
    result = Reference().run(plan(step), Call((1, 1), sizes, numbers))
    return [int(n) for n in result.outputs[0].reshape(-1)]
