"""A run's measurements as events for TensorBoard, beside `metrics.jsonl`.

The events are a copy of the records. A run that goes on writes them anew, so none stands twice and
none is left of what came after the checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from gatework.analysis.gates import named_gates
from gatework.lens.watching import in_eval_mode, watch
from gatework.needed import needed
from gatework.tasks import SequenceModel
from gatework.tasks.task import Batch
from gatework.train.records import Record

__all__ = ["Board", "gate_means"]

EVENTS = "events.out.tfevents.*"


class Board:
    """Writes records into a run folder as TensorBoard reads them.

    Args:
        folder: of the run.
        unit: of the cost.
        records: what was measured so far.

    Raises:
        InputError: the package tensorboard is missing.
    """

    def __init__(self, folder: Path, unit: str, records: Iterable[Record] = ()) -> None:
        needed("tensorboard", "tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        for old in folder.glob(EVENTS):
            old.unlink()
        so_far = list(records)
        self._unit = unit
        self._began = time.time() - max((record.seconds for record in so_far), default=0.0)
        self._validated = -1
        # a page that is open drops what it has read of the files that are gone
        self._writer = SummaryWriter(str(folder), purge_step=0)
        for record in so_far:
            self.add(record)

    def add(self, record: Record) -> None:
        """Write a measurement, so that a page that is open shows it."""
        when = self._began + record.seconds
        for name, value in self._named(record):
            tag = name.replace(" ", "_")
            self._writer.add_scalar(tag, value, record.step, when)
        self._writer.flush()

    def close(self) -> None:
        """Let go of the file."""
        self._writer.close()

    def _named(self, record: Record) -> Iterator[tuple[str, float]]:
        """What a record says, by the names that it has on the page."""
        if record.split == "train":
            yield f"train/{self._unit}", record.cost
        else:
            yield from self._held_out(record)
        for name in ("learning_rate", "gradient_norm"):
            if (value := getattr(record, name)) is not None:
                yield f"train/{name}", value
        yield from ((f"gates/{name}", mean) for name, mean in (record.gates or {}).items())

    def _held_out(self, record: Record) -> Iterator[tuple[str, float]]:
        """A second validation at a step is the last one, on all that is held out."""
        where = "held_out_all" if record.step == self._validated else "held_out"
        self._validated = record.step
        figures = {self._unit: record.cost, **(record.figures or {})}
        yield from ((f"{where}/{name}", value) for name, value in figures.items())
        yield from ((f"no_model/{name}", value) for name, value in (record.naive or {}).items())


def gate_means(model: SequenceModel, batch: Batch) -> dict[str, float]:
    """Return how far each gate is open in the mean, by its full name: 0 is closed, 1 is open.

    Args:
        model: of a run; its mode and its gradients stay as they are.
        batch: what it reads.
    """
    with torch.no_grad(), in_eval_mode(model), watch(model, named_gates) as readings:
        model(batch.inputs, lengths=batch.lengths, **batch.more)
    return {
        name: reading.rows(values).mean().item()
        for reading in readings
        for name, values in reading.values().items()
    }
