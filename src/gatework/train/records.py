"""`metrics.jsonl` of a run folder: the measurements of a run, one a line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from gatework.errors import InputError
from gatework.files import read_bytes

__all__ = ["Record", "Split", "curve", "read_records", "to_line"]

MOST_BYTES = 1 << 28
"""A line a second for two weeks."""

Split = Literal["train", "valid"]
Counted = Annotated[int, Field(ge=0, le=2**62)]
Text = Annotated[str, Field(max_length=100)]
Measured = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Record:
    """One measurement in the course of a run, a line of `metrics.jsonl`."""

    split: Split
    """"train" (a mean over the steps since the last such record) or "valid"."""
    step: Counted
    seen: Counted
    """How much was learned from so far, in what the task counts."""
    seconds: Measured
    """Time spent so far."""
    progress: Annotated[float, Field(ge=0, le=1)]
    """Share of the budget that is spent, 0 to 1."""
    cost: Measured
    """Mean cost of what was predicted, in the task's unit."""
    learning_rate: Measured | None = None
    gradient_norm: Measured | None = None
    figures: dict[Text, float] | None = None
    """What people quote of held-out data, by name."""
    naive: dict[Text, float] | None = None
    """The same of what needs no model."""
    gates: dict[Text, float] | None = None
    """How far each gate is open in the mean on one batch, where TensorBoard is told of it."""


_RECORD = TypeAdapter(Record)


def read_records(path: Path) -> list[Record]:
    """Read the measurements; a last line that was cut short is passed over.

    Raises:
        InputError: the file is missing or damaged.
    """
    try:
        *lines, _cut_short = read_bytes(path, MOST_BYTES).split(b"\n")
        return [_RECORD.validate_json(line, strict=True) for line in lines]
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part)[:40] for part in fault["loc"])
        reason = f"{place}: {fault['msg'][:300]}" if place else fault["msg"][:300]
    except OSError as error:
        reason = error.strerror or str(error)
    raise InputError(
        f"{str(path)!r} cannot be used ({reason})",
        "a measurement per line, as the run wrote it",
        "restore the file, or train again",
    )


def curve(records: Iterable[Record], split: Split) -> list[Record]:
    """Return the learning curve: of each step the first record, all on equally much data.

    Args:
        records: of a run.
        split: "train" or "valid".
    """
    first: dict[int, Record] = {}
    for record in records:
        if record.split == split:
            first.setdefault(record.step, record)
    return list(first.values())


def to_line(record: Record) -> str:
    """Return a measurement as a line of the file."""
    fields = {key: value for key, value in asdict(record).items() if value is not None}
    return json.dumps(fields) + "\n"
