"""One model reading one sequence, with gates held or not.

A reading goes through the sequence once, chunk by chunk. Of each chunk it keeps the
state it began with, the cost of each step, and every traced value averaged over 8, 64 and 512
steps, a byte for each number. What a picture needs beyond that, a chunk of single steps, is
computed again from the state. So 100,000 steps of 512 units take megabytes, not gigabytes.
Layers that read backward too have to see the end first: then all of it is one chunk, which is kept.

T  time steps      H  hidden size      L  layers, or directions of layers
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gatework.nn.recurrent import State
from gatework.studio.models import Studied, directions_of
from gatework.tasks.held_out import Judged, Place

__all__ = ["CHUNK", "LEVELS", "Reading", "decode", "encode"]

CHUNK = 512
"""Steps between two states that are kept."""
LEVELS = (1, 8, 64, 512)
"""Steps that one column of a tile stands for, level by level."""
RECENT = 6
"""Chunks of single steps that are kept, the last ones asked for."""

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


def encode(values: NDArray[np.floating], scale: str) -> Bytes:
    """Numbers as bytes: "open" from 0 to 1 evenly, "signed" by v / (1 + |v|), without bounds."""
    share = values if scale == "open" else (1 + values / (1 + np.abs(values))) / 2
    codes: Bytes = np.clip(np.rint(255 * share), 0, 255).astype(np.uint8)
    return codes


def decode(codes: Bytes, scale: str) -> Floats:
    """The numbers that bytes stand for, to within half a step."""
    share = np.asarray(codes, np.float32) / np.float32(255)
    if scale == "open":
        return share
    signed = 2 * share - 1
    return np.asarray(signed / np.maximum(1 - np.abs(signed), 1e-6), np.float32)


@dataclass(frozen=True)
class Chunk:
    """Single steps.

    Attributes:
        values: What was traced, by (layer, name), [steps, rows].
        predictions: From each step, [steps, 1, …].
        begin: What the next chunk begins with.
    """

    values: Mapping[tuple[int, str], Floats]
    predictions: torch.Tensor
    begin: Begin


class Begin(NamedTuple):
    """What a chunk begins with: nothing at the first step."""

    state: State | None = None
    before: Any = None
    """What `SequenceModel.so_far` is to be given."""


class Reading:
    """A model on its way through some steps of a sequence.

    Args:
        studied: The model.
        held_out: Whose sequence it is.
        place: The steps, at least one.
        pins: Gates to hold, by name.
    """

    def __init__(
        self, studied: Studied, held_out: Judged, place: Place, pins: Mapping[str, float]
    ) -> None:
        self.studied, self.held_out, self.place = studied, held_out, place
        self.pins = dict(pins)
        self.scales = studied.scales
        self.costs = np.full(len(self), np.nan, np.float32)
        """Of each step; of a text what the symbol there costs, so the first has none."""
        self.done = 0
        self.error: str | None = None
        chunks = -(-len(self) // CHUNK)
        self.piece = CHUNK * (chunks if studied.both_ways else 1)
        """Steps that are read at once."""
        self._begins = [Begin()]
        self._recent: OrderedDict[int, Chunk] = OrderedDict()
        self._coarse: dict[tuple[int, str, int], Bytes] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.place.last - self.place.first

    # ---- going through the sequence ------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether all has been read, or none of the rest can be."""
        return self.done == len(self) or self.error is not None

    @property
    def nbytes(self) -> int:
        """Memory that what is kept takes when all is read."""
        per_step = sum(self.studied.rows[n].count for n in self.scales)
        steps = sum(len(self) // k for k in LEVELS[1:])
        whole = 4 * len(self) * self.studied.both_ways  # float32
        return len(self.studied.layers) * per_step * (steps + whole)

    def advance(self) -> None:
        """Read the next chunk; what is read can be asked for at once."""
        number = self.done // self.piece
        try:
            chunk = self._compute(number)
        except Exception as error:  # told to the page, which otherwise would wait for ever
            self.error = f"{type(error).__name__}: {error}"
            return
        self._note_costs(number, chunk)
        for (layer, name), values in chunk.values.items():
            for level, steps in enumerate(LEVELS[1:], 1):
                self._note_means(layer, name, level, number * self.piece // steps, values)
        self._begins.append(chunk.begin)
        self._keep(number, chunk)
        self.done = min(len(self), (number + 1) * self.piece)

    def _place(self, number: int) -> Place:
        """The steps of a chunk."""
        sequence, first, last = self.place
        first += number * self.piece
        return Place(sequence, first, min(last, first + self.piece))

    @torch.no_grad()
    def _compute(self, number: int) -> Chunk:
        studied, begin = self.studied, self._begins[number]
        stretch = self.held_out.read(self._place(number))
        with studied.lock:
            names = tuple(self.scales)
            trace = studied.trace(stretch, begin.state, names=names, pins=self.pins)
            found = studied.model.so_far(trace.output, begin.before, **stretch.more)
        values = {
            (layer, name): studied.rows[name].shown(one[name][:, 0].float()).numpy()
            for layer, one in enumerate(directions_of(trace))
            for name in self.scales
        }
        return Chunk(values, found[0], Begin(trace.state, found[1]))

    def _note_costs(self, number: int, chunk: Chunk) -> None:
        """What is predicted from each step costs; of a whole that both directions saw, once."""
        place = self._place(number)
        costs = self.held_out.costs(chunk.predictions, place)
        if self.sees_the_end:
            costs[:-1] = np.nan
        first = place.first - self.place.first + self.held_out.ahead
        some = self.costs[first : first + len(costs)]
        some[:] = costs[: len(some)]

    @property
    def sees_the_end(self) -> bool:
        """Whether there is one prediction, of the whole, since layers have read it backward."""
        return self.studied.both_ways and self.held_out.labels_wholes

    def _note_means(self, layer: int, name: str, level: int, first: int, values: Floats) -> None:
        steps, units = LEVELS[level], values.shape[1]
        key = layer, name, level
        if key not in self._coarse:
            columns = (len(self) + steps - 1) // steps
            self._coarse[key] = np.zeros((units, columns), np.uint8)
        starts = np.arange(0, len(values), steps)
        counts = np.minimum(len(values) - starts, steps)
        means = np.add.reduceat(values, starts, axis=0) / counts[:, None]
        codes = encode(means, self.scales[name]).T
        self._coarse[key][:, first : first + codes.shape[1]] = codes

    # ---- what the page asks for ----------------------------------------------------------------

    def chunk(self, number: int) -> Chunk:
        """The single steps of a chunk that has been read."""
        with self._lock:
            recent = self._recent.get(number)
        if recent is None:
            recent = self._compute(number)
        self._keep(number, recent)
        return recent

    def _keep(self, number: int, chunk: Chunk) -> None:
        with self._lock:
            self._recent[number] = chunk
            self._recent.move_to_end(number)
            while len(self._recent) > RECENT:
                self._recent.popitem(last=False)

    def tile(self, layer: int, name: str, level: int, number: int) -> Bytes:
        """A tile of a level: CHUNK columns, or fewer at the end, of every row: [n, columns].

        What has not been read yet is not in it.
        """
        if level == 0:
            values = self.chunk(number * CHUNK // self.piece).values[layer, name]
            first = number * CHUNK % self.piece
            return encode(values[first : first + CHUNK], self.scales[name]).T
        columns = self._coarse[layer, name, level]
        read = (self.done + LEVELS[level] - 1) // LEVELS[level]
        return columns[:, number * CHUNK : min(read, (number + 1) * CHUNK)]

    def unit(
        self, layer: int, value: str, unit: int, first: int, last: int
    ) -> dict[str, list[float]]:
        """Every value of one unit over steps that have been read: where one of `value` stands."""
        rows = self.studied.rows
        at = {name: rows[name].row_at(rows[value], unit) for name in self.scales}
        found: dict[str, list[float]] = {}
        last = min(last, self.done)
        for number in range(first // self.piece, (last + self.piece - 1) // self.piece):
            start = number * self.piece
            part = slice(max(0, first - start), last - start)
            for (k, name), values in self.chunk(number).values.items():
                if k == layer and (row := at[name]) is not None:
                    found.setdefault(name, []).extend(values[part, row].round(4).tolist())
        return found

    def step(self, at: int, count: int) -> dict[str, Any]:
        """What the model predicts from a step, and the mean of every value at it."""
        chunk, row = self.chunk(at // self.piece), at % self.piece
        sequence, first, _ = self.place
        said = self.held_out.said(chunk.predictions[row], sequence, first + at, count)
        means: dict[str, list[float]] = {}
        for (_, name), values in chunk.values.items():
            means.setdefault(name, []).append(round(float(values[row].mean()), 4))
        return {"at": at, "of": self._of(at), "said": said.as_data(), "means": means}

    def _of(self, at: int) -> str:
        """What a prediction is of."""
        if self.sees_the_end:
            return "Of the whole sequence, which is read in both directions."
        steps = f"{at + 1:,} {self.held_out.step}{'s' * (at > 0)}"
        return f"After the {steps} read so far."

    def mean_cost(self) -> float | None:
        """The cost of what has been read, as the task counts it; None where none is known."""
        cost = self.held_out.cost(self.costs[: self.done], self.place)
        return cost if np.isfinite(cost) else None
