"""One model reading one text, with gates held or not.

A reading goes through the text once, chunk by chunk. Of each chunk it keeps the
state it began with, the cost of each byte, and every traced value averaged over 8, 64 and 512
steps, a byte for each number. What a picture needs beyond that, a chunk of single steps, is
computed again from the state. So 100,000 steps of 512 units take megabytes, not gigabytes.

T  time steps, one per byte      H  hidden size      L  layers
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gatework.data import characters_of
from gatework.nn.recurrent import State
from gatework.studio.models import Studied

__all__ = ["CHUNK", "LEVELS", "Reading", "decode", "encode"]

CHUNK = 512
"""Steps between two states that are kept."""
LEVELS = (1, 8, 64, 512)
"""Steps that one column of a tile stands for, level by level."""
CONTEXT, READ_BEFORE = 128, 48
"""Bytes before a step that are looked at to know its character; those that are told with it."""
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
    """Single steps: traced values by (layer, name), [steps, rows], and scores of the next byte."""

    values: Mapping[tuple[int, str], Floats]
    scores: torch.Tensor
    state: State


class Reading:
    """A model on its way through a text.

    Args:
        studied: The model.
        data: The text, at least one byte.
        pins: Gates to hold, by name.
    """

    def __init__(self, studied: Studied, data: bytes, pins: Mapping[str, float]) -> None:
        self.studied, self.data, self.pins = studied, data, dict(pins)
        self.inputs = torch.tensor(list(data)).unsqueeze(1)  # [T, 1]
        self.scales = studied.scales
        self.bits = np.full(len(data), np.nan, np.float32)  # cost of each byte; the first has none
        self.done = 0
        self.error: str | None = None
        self._states: list[State | None] = [None]
        self._recent: OrderedDict[int, Chunk] = OrderedDict()
        self._coarse: dict[tuple[int, str, int], Bytes] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.data)

    # ---- going through the text ----------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether all of the text has been read, or none of the rest can be."""
        return self.done == len(self) or self.error is not None

    @property
    def nbytes(self) -> int:
        """Memory that the averages take when all is read."""
        per_step = sum(self.studied.rows[n].count for n in self.scales)
        steps = sum(len(self) // k for k in LEVELS[1:])
        return self.studied.run.config.layers * per_step * steps

    def advance(self) -> None:
        """Read the next chunk; what is read can be asked for at once."""
        number = self.done // CHUNK
        try:
            chunk = self._compute(number, self._states[number])
        except Exception as error:  # told to the page, which otherwise would wait for ever
            self.error = f"{type(error).__name__}: {error}"
            return
        self._note_bits(number, chunk)
        for (layer, name), values in chunk.values.items():
            for level, steps in enumerate(LEVELS[1:], 1):
                self._note_means(layer, name, level, number * CHUNK // steps, values)
        self._states.append(chunk.state)
        self._keep(number, chunk)
        self.done = min(len(self), (number + 1) * CHUNK)

    @torch.no_grad()
    def _compute(self, number: int, state: State | None) -> Chunk:
        model, start = self.studied.model, number * CHUNK
        with self.studied.lock:
            embedded = model.embedding(self.inputs[start : start + CHUNK])
            pin = self.studied.held(self.pins)
            trace = model.layer.trace(embedded, state, pin=pin, names=tuple(self.scales))
            scores = model.decoder(trace.output)[:, 0]
        rows = self.studied.rows
        values = {
            (layer, name): rows[name].shown(directions[0][name][:, 0].float()).numpy()
            for layer, directions in enumerate(trace.layers)
            for name in self.scales
        }
        return Chunk(values, scores, trace.state)

    def _note_bits(self, number: int, chunk: Chunk) -> None:
        """The cost of each byte that follows one of the chunk, in bits."""
        start = number * CHUNK
        coming = self.inputs[start + 1 : start + 1 + len(chunk.scores), 0]
        costs = torch.nn.functional.cross_entropy(
            chunk.scores[: len(coming)], coming, reduction="none"
        )
        self.bits[start + 1 : start + 1 + len(coming)] = costs.numpy() / np.log(2)

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
            recent = self._compute(number, self._states[number])
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
            values = self.chunk(number).values[layer, name]
            return encode(values, self.scales[name]).T
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
        for number in range(first // CHUNK, (last + CHUNK - 1) // CHUNK):
            start = number * CHUNK
            part = slice(max(0, first - start), last - start)
            for (k, name), values in self.chunk(number).values.items():
                if k == layer and (row := at[name]) is not None:
                    found.setdefault(name, []).extend(values[part, row].round(4).tolist())
        return found

    def step(self, at: int, count: int) -> dict[str, Any]:
        """What the model expects after a step, and the mean of every value at it."""
        chunk, row = self.chunk(at // CHUNK), at % CHUNK
        chances = torch.softmax(chunk.scores[row].double(), 0)
        best = torch.topk(chances, count)
        before = self.data[max(0, at - CONTEXT) : at + 1]
        means: dict[str, list[float]] = {}
        for (_, name), values in chunk.values.items():
            means.setdefault(name, []).append(round(float(values[row].mean()), 4))
        return {
            "at": at,
            "read": "".join(
                c.label for c in characters_of(before, max(0, len(before) - READ_BEFORE))
            ),
            "next": [
                {**self.studied.byte_after(before, byte), "chance": round(chance, 5)}
                for byte, chance in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            ],
            "coming": (
                self.studied.byte_after(before, self.data[at + 1]) if at + 1 < len(self) else None
            ),
            "chance": round(float(chances[self.data[at + 1]]), 5) if at + 1 < len(self) else None,
            "means": means,
        }

    def mean_bits(self) -> float | None:
        """The mean cost of a byte of what has been read; None for a single byte."""
        known = self.bits[1 : self.done]
        known = known[~np.isnan(known)]
        return float(known.mean()) if len(known) else None
