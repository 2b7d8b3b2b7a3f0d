"""Where else a unit fires: the places of held-out data where its value is largest and smallest.

T  time steps      B  stretches of held-out data, side by side
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gatework.studio.models import Studied, directions_of
from gatework.studio.tracks import told_track
from gatework.tasks.held_out import Judged, Place, Stretch

__all__ = ["Library", "stretches"]

STREAMS, LENGTH, SETTLE = 16, 1024, 64
"""Stretches of long sequences; their length; what of such a one is read before any is shown."""
MOST_STREAMS = 256
"""Stretches of short sequences."""
AT_ONCE = 128
"""Steps that are read at once: of a state of many units no more is held in full."""
BEFORE, AFTER = 32, 12
"""Steps shown before and after the place where a unit fires."""
APART = 24
"""The least distance between two places that are shown."""


@dataclass
class Library:
    """Stretches of held-out data, read by a model once, for units to be looked up in.

    Attributes:
        held_out: Whose they are.
        places: They, [B].
        values: By (layer, name), [T, B, rows], in half precision.
    """

    held_out: Judged
    places: Sequence[Place]
    values: dict[tuple[int, str], NDArray[np.float16]]

    @classmethod
    @torch.no_grad()
    def of(cls, studied: Studied) -> Library | None:
        """Read held-out data; None where there is none."""
        places = stretches(studied.held_out)
        if not places:
            return None
        whole, lengths = _together(studied, places)
        parts: dict[tuple[int, str], list[Tensor]] = {}
        state: Any = None
        steps = len(whole.inputs)
        for first in range(0, steps, steps if studied.both_ways else AT_ONCE):
            last = steps if studied.both_ways else first + AT_ONCE
            some = Stretch(
                whole.inputs[first:last], {n: v[first:last] for n, v in whole.more.items()}
            )
            left = (lengths - first).clamp(0, len(some.inputs))
            with studied.lock:
                trace = studied.trace(some, state, names=studied.values, lengths=left)
            state = trace.state
            for layer, one in enumerate(directions_of(trace)):
                for name in studied.values:
                    shown = studied.rows[name].shown(one[name]).to(torch.float16)
                    parts.setdefault((layer, name), []).append(shown)
        values = {of: torch.cat(part).numpy() for of, part in parts.items()}
        return cls(studied.held_out, places, values)

    def passages(self, layer: int, name: str, unit: int, count: int = 5) -> dict[str, Any]:
        """The places where a unit's value is largest and smallest, each with what stands there."""
        values = self.values[layer, name][:, :, unit].astype(np.float32)  # [T, B]
        known = np.arange(len(values))[:, None] < [p.last - p.first for p in self.places]
        return {
            "high": self._places(values, known, values, count),
            "low": self._places(-values, known, values, count),
            "mean": round(float(values[known].mean()), 4),
            "deviation": round(float(values[known].std()), 4),
        }

    def _places(
        self,
        score: NDArray[np.float32],
        known: NDArray[np.bool_],
        values: NDArray[np.float32],
        count: int,
    ) -> list[dict[str, Any]]:
        score = np.where(known, score, -np.inf)
        score[:SETTLE, known.sum(0) >= LENGTH] = -np.inf
        found: list[dict[str, Any]] = []
        while len(found) < count:
            t, b = map(int, np.unravel_index(int(score.argmax()), score.shape))
            if not np.isfinite(score[t, b]):
                break
            found.append(self._passage(values[:, b], t, self.places[b]))
            score[max(0, t - APART) : t + APART, b] = -np.inf
        return found

    def _passage(self, values: NDArray[np.float32], t: int, place: Place) -> dict[str, Any]:
        """What stands around a step of a stretch, and a unit's values there."""
        first, last = max(0, t - BEFORE), min(place.last - place.first, t + AFTER + 1)
        around = Place(place.sequence, place.first + first, place.first + last)
        return {
            **told_track(self.held_out.track(around)),
            "first": around.first,
            "values": values[first:last].round(3).tolist(),
            "at": t - first,
        }


def stretches(held_out: Judged) -> list[Place]:
    """Return stretches that are spread evenly over held-out data; none where there is none.

    Of long sequences `STREAMS` of `LENGTH` steps, of short ones as many whole as have no more steps
    together.
    """
    lengths = held_out.lengths
    if not lengths.sum():
        return []
    usual = min(LENGTH, max(1, int(np.median(lengths))))
    count = min(MOST_STREAMS, STREAMS * LENGTH // usual)
    if len(lengths) >= count:
        chosen = np.linspace(0, len(lengths) - 1, count).astype(int).tolist()
        return [Place(k, 0, min(LENGTH, int(lengths[k]))) for k in chosen]
    each = -(-count // len(lengths))
    return [place for k in range(len(lengths)) for place in _spread(k, int(lengths[k]), each)]


def _spread(sequence: int, steps: int, count: int) -> list[Place]:
    """Stretches of one sequence, which do not lie on one another."""
    count = max(1, min(count, steps // LENGTH))
    starts = np.linspace(0, max(0, steps - LENGTH), count).astype(int).tolist()
    return [Place(sequence, first, min(steps, first + LENGTH)) for first in starts]


def _together(studied: Studied, places: Sequence[Place]) -> tuple[Stretch, Tensor]:
    """Stretches side by side, padded with 0, and how long each is [B]."""
    read = [studied.held_out.read(place) for place in places]
    further = [studied.model.further(one.more) for one in read]
    lengths = torch.tensor([place.last - place.first for place in places])
    more = {n: pad_sequence([one[n][:, 0] for one in further]) for n in further[0]}
    return Stretch(pad_sequence([one.inputs[:, 0] for one in read]), more), lengths
