"""Where else a unit fires: the places of held-out text where its value is largest and smallest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatework.data import characters_of
from gatework.studio.models import Studied

__all__ = ["Library"]

STREAMS, LENGTH, SETTLE = 16, 1024, 64
"""Stretches of held-out text, read side by side; their length; what is read before any is shown."""
AT_ONCE = 128
"""Steps that are read at once: of a state of many units no more is held in full."""
BEFORE, AFTER = 32, 12
"""Bytes shown before and after the place where a unit fires."""
APART = 24
"""The least distance between two places that are shown."""


@dataclass
class Library:
    """Stretches of held-out text, read by a model once, for units to be looked up in.

    Attributes:
        data: uint8 [LENGTH, STREAMS].
        values: By (layer, name), [LENGTH, STREAMS, rows], in half precision.
    """

    data: NDArray[np.uint8]
    values: dict[tuple[int, str], NDArray[np.float16]]

    @classmethod
    @torch.no_grad()
    def of(cls, studied: Studied) -> Library | None:
        """Read held-out text; None where there is too little of it."""
        text = studied.held_out or b""
        streams = min(STREAMS, len(text) // LENGTH)
        if not streams:
            return None
        starts = np.linspace(0, len(text) - LENGTH, streams).astype(int)
        rows = [np.frombuffer(text[s : s + LENGTH], np.uint8) for s in starts]
        data = np.stack(rows, axis=1)  # [LENGTH, streams]
        model = studied.model
        parts: dict[tuple[int, str], list[Tensor]] = {}
        state: Any = None
        for first in range(0, LENGTH, AT_ONCE):
            some = torch.from_numpy(data[first : first + AT_ONCE].astype(np.int64))
            with studied.lock:
                trace = model.layer.trace(model.embedding(some), state, names=studied.values)
            state = trace.state
            for layer, directions in enumerate(trace.layers):
                for name in studied.values:
                    shown = studied.rows[name].shown(directions[0][name]).to(torch.float16)
                    parts.setdefault((layer, name), []).append(shown)
        return cls(data, {of: torch.cat(part).numpy() for of, part in parts.items()})

    def passages(self, layer: int, name: str, unit: int, count: int = 5) -> dict[str, Any]:
        """The places where a unit's value is largest and smallest, each with text around it."""
        values = self.values[layer, name][:, :, unit].astype(np.float32)  # [LENGTH, STREAMS]
        return {
            "high": self._places(values, values, count),
            "low": self._places(-values, values, count),
            "mean": round(float(values.mean()), 4),
            "deviation": round(float(values.std()), 4),
        }

    def _places(
        self, score: NDArray[np.float32], values: NDArray[np.float32], count: int
    ) -> list[dict[str, Any]]:
        score = score.copy()
        score[:SETTLE] = -np.inf
        found: list[dict[str, Any]] = []
        while len(found) < count:
            t, b = np.unravel_index(int(score.argmax()), score.shape)
            if not np.isfinite(score[t, b]):
                break
            first, last = max(0, int(t) - BEFORE), min(len(score), int(t) + AFTER + 1)
            found.append(
                {
                    "characters": [
                        {"label": c.label, "width": c.width, "leftward": c.leftward}
                        for c in characters_of(self.data[:, b].tobytes(), first, last)
                    ],
                    "values": values[first:last, b].round(3).tolist(),
                    "at": int(t) - first,
                }
            )
            score[max(0, int(t) - APART) : int(t) + APART, b] = -np.inf
        return found
