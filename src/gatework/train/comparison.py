"""Cells side by side: the same text, the same number of parameters, the same steps."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gatework.cells import catalogue
from gatework.data import Corpus, InputError, characters_of
from gatework.files import write_atomically
from gatework.lens import MemoryHorizon, Passage, memory_horizon, read_passage
from gatework.train.config import RunConfig, check_cell
from gatework.train.loop import Runner
from gatework.train.model import LanguageModel, parameter_count
from gatework.train.records import Record, curve

__all__ = [
    "FAR_LAG",
    "MAX_LAG",
    "REACH_SHARES",
    "Contender",
    "check_held_out",
    "horizon_of",
    "matched_configs",
    "measure",
    "passage_of",
    "save_comparison",
    "stretches",
]

MAX_LAG, SETTLE = 200, 100
"""Longest lag measured; bytes read before it, so that the state is no longer the initial one."""
STRETCH = SETTLE + MAX_LAG + 1
"""Bytes read for each place that is looked back from."""
ANCHORS, ANCHORS_AT_ONCE = 256, 128
"""Places of the held-out text looked back from; how many share a pass."""
REACH_SHARES = (0.01, 0.0001)
"""Shares of the influence at lag 0 for which is told how far back influence is still larger."""
FAR_LAG = 100
"""Lag at which the influence that is left is told."""
PROBES = 2
"""Random vectors for each place: an estimate at most 11 % low, on an axis of many decades."""
PASSAGE_BYTES = 96
"""Length of the passage whose gates are shown."""


@dataclass(frozen=True)
class Contender:
    """One cell's part in a comparison, measured."""

    config: RunConfig
    parameters: int
    records: tuple[Record, ...]
    horizon: MemoryHorizon
    passage: Passage

    @property
    def validations(self) -> list[Record]:
        """The learning curve."""
        return curve(self.records, "valid")

    @property
    def bits_per_byte(self) -> float:
        """The last figure on held-out text, of the model that training ended with."""
        return next(r for r in reversed(self.records) if r.split == "valid").bits_per_byte

    @property
    def far_influence(self) -> float:
        """The influence at `FAR_LAG`, as a share of that at lag 0."""
        return float(self.horizon.mean()[FAR_LAG])


def check_held_out(corpus: Corpus) -> None:
    """Check that the held-out text is long enough to look back in.

    Raises:
        InputError: it is not.
    """
    if len(corpus.valid) < STRETCH:
        raise InputError(
            f"{len(corpus.valid):,} held-out bytes",
            f"at least {STRETCH:,}, to look {MAX_LAG} bytes back",
            f"give a text of {10 * STRETCH:,} bytes or more",
        )


def matched_configs(cells: Sequence[str], parameters: int, base: RunConfig) -> list[RunConfig]:
    """Return the settings for each cell, its hidden size chosen so that all models weigh the same.

    Args:
        cells: names of catalogue cells.
        parameters: numbers to learn in the whole model; met within about a hundredth.
        base: all other settings.

    Raises:
        InputError: a cell is unknown or named twice, or even one unit is too many parameters.
    """
    for name in cells:
        check_cell(name)
    if len(set(cells)) < len(cells) or not cells:
        raise InputError(
            f"cells = {', '.join(cells)}",
            "different cells, separated by commas",
            "for example --cells rnn,lstm,gru",
        )
    bases = [base.model_copy(update={"cell": name}) for name in cells]
    return [_with_parameters(config, parameters) for config in bases]


def measure(runner: Runner) -> Contender:
    """Measure a trained model on its held-out text: how far back it remembers, what its gates do.

    Its held-out text must have passed `check_held_out`.
    """
    trainer = runner.trainer
    trainer.model.eval()
    return Contender(
        config=trainer.config,
        parameters=runner.run.manifest.parameters,
        records=tuple(runner.run.records()),
        horizon=horizon_of(trainer.model, trainer.corpus),
        passage=passage_of(trainer.model, trainer.corpus, trainer.config.cell),
    )


def save_comparison(contenders: Sequence[Contender], path: Path) -> None:
    """Write the measurements as JSON, and each horizon whole into the folder of its run."""
    cells = {contender.config.cell: _as_json(contender) for contender in contenders}
    content = json.dumps({"format": 1, "cells": cells}, indent=1)
    write_atomically(path, content.encode())
    for contender in contenders:
        contender.horizon.save(path.parent / contender.config.cell / "horizon.safetensors")


def _with_parameters(config: RunConfig, parameters: int) -> RunConfig:
    """Find the hidden size by bisection: a model's parameters grow with it."""

    def sized(hidden_size: int) -> RunConfig:
        return config.model_copy(update={"hidden_size": hidden_size})

    def excess(hidden_size: int) -> int:
        return parameter_count(sized(hidden_size)) - parameters

    low, high = 1, 2
    if excess(low) > 0:
        least = parameter_count(sized(low))
        raise InputError(
            f"parameters = {parameters:,}",
            f"at least {least:,} for {config.cell}, of which the embedding alone has many",
            "give more --parameters, or a smaller --embedding-size",
        )
    while excess(high) < 0:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return min(sized(low), sized(high), key=lambda c: abs(excess(c.hidden_size)))


def horizon_of(model: LanguageModel, corpus: Corpus) -> MemoryHorizon:
    """Measure how far back a model remembers, from many places of its held-out text.

    In a short text, which has no `STRETCH` bytes, over half of its length.
    """
    length = len(corpus.valid)
    lag, stretch = (MAX_LAG, STRETCH) if length >= STRETCH else (length // 2, length * 3 // 4)
    inputs = (model.embedding(batch) for batch in stretches(corpus, stretch))
    return memory_horizon(model.layer, inputs, lag, probes=PROBES)


def stretches(corpus: Corpus, length: int) -> Iterator[Tensor]:
    """Yield stretches of held-out text that end in evenly spread places: int64 [length, B]."""
    room = len(corpus.valid) - length
    starts = torch.linspace(0, room, min(ANCHORS, room + 1)).long()
    for first in range(0, len(starts), ANCHORS_AT_ONCE):
        some = starts[first : first + ANCHORS_AT_ONCE]
        yield torch.stack([corpus.valid[start : start + length] for start in some], dim=1).long()


@torch.no_grad()
def passage_of(model: LanguageModel, corpus: Corpus, cell: str) -> Passage:
    """Read a passage of held-out text, with some text before it to arrive with a state."""
    text = bytes(corpus.valid.tolist())
    start = _passage_start(text)
    before = corpus.valid[max(0, start - SETTLE) : start].long().unsqueeze(1)  # [≤SETTLE, 1]
    shown = corpus.valid[start : start + PASSAGE_BYTES].long().unsqueeze(1)  # [T, 1]
    state = model(before)[1] if len(before) else None
    trace = model.layer.trace(model.embedding(shown), state)
    characters = characters_of(text, start, start + PASSAGE_BYTES)
    return read_passage(characters, trace, catalogue()[cell])


def _passage_start(text: bytes) -> int:
    """Choose where the passage begins: a definition near the middle, else a line, else there."""
    middle, last = len(text) // 2, max(0, len(text) - PASSAGE_BYTES)
    for sign in (b"\n    def ", b"\n"):
        found = text.find(sign, middle, last)
        if found >= 0:
            return found + 1
    return min(middle, last)


def _as_json(contender: Contender) -> dict[str, Any]:
    horizon = contender.horizon
    low, high = horizon.band()
    return {
        "config": contender.config.model_dump(mode="json"),
        "parameters": contender.parameters,
        "bits_per_byte": contender.bits_per_byte,
        "learning_curve": [[r.bytes, r.seconds, r.bits_per_byte] for r in contender.validations],
        "reach": {
            str(share): [horizon.reach(share), *horizon.reach_band(share)] for share in REACH_SHARES
        },
        "influence": horizon.mean().tolist(),
        "influence_band": [low.tolist(), high.tolist()],
    }
