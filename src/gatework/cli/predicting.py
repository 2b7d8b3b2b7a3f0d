"""`gatework predict`, `gatework classify` and `gatework tag`."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np
import torch

from gatework.errors import InputError
from gatework.tasks.labelling.task import LabelTask, Prediction, TagTask
from gatework.tasks.task import SequenceModel
from gatework.train import Run

__all__ = ["predict"]

STANDARD_INPUT = "-"


def predict(
    path: Path, files: list[str], out: Path | None, kind: str | None, *, last: bool
) -> None:
    """Predict labels, and write them as csv.

    Args:
        path: the run folder.
        files: to predict of; "-" for standard input, as JSON lines or csv.
        out: the file to write; None for standard output.
        kind: that the run must have; None for any that predicts labels.
        last: predict with the model that the run ended with, not the best one.
    """
    run = Run.open(path)
    task = _task(run, kind)
    model = run.load_model(last=last)
    torch.set_num_threads(run.config.usable_threads)
    with _written(out) as file:
        write = csv.writer(file, lineterminator="\n")
        write.writerow(_header(task))
        if files == [STANDARD_INPUT] and isinstance(task, TagTask):
            for row in _streamed(task, model, sys.stdin):
                write.writerow(row)
                file.flush()
            return
        with _named(files) as named:
            for found in _in_order(task, model, named):
                write.writerows(_rows(task, found))


def _task(run: Run, kind: str | None) -> LabelTask:
    task = run.task
    if not isinstance(task, LabelTask) or (kind is not None and task.kind != kind):
        own = run.config.task
        raise InputError(
            f"{str(run.path)!r}, a run of the task {own.kind!r}",
            f"a run of the task {kind!r}" if kind else "a run that predicts labels",
            f"use it with: {own.used_by} {run.path}",
        )
    return task


def _header(task: LabelTask) -> list[str]:
    place = ["id", "row"] if isinstance(task, TagTask) else ["id"]
    return [*place, "label", *(f"p({name})" for name in task.targets.names)]


def _in_order(task: LabelTask, model: SequenceModel, files: list[Path]) -> list[Prediction]:
    side = task.read(files)
    found = {prediction.id: prediction for prediction in task.predict(model, side)}
    return [found[id_] for id_ in side.sequences.ids]


def _rows(task: LabelTask, found: Prediction) -> Iterator[list[Any]]:
    for k, label in enumerate(found.labels):
        place = [found.id, k + 1] if isinstance(task, TagTask) else [found.id]
        yield [*place, label, *_chances(found.chances, k)]


def _chances(chances: Any, k: int) -> list[str]:
    return [] if chances is None else [f"{chance:.4f}" for chance in chances[k]]


@torch.no_grad()
def _streamed(task: TagTask, model: SequenceModel, lines: IO[str]) -> Iterator[list[Any]]:
    """Tag rows as they come, one JSON object a line, from the state that the row before left."""
    state: Any = None
    model.eval()
    for number, line in enumerate(filter(str.strip, lines), 1):
        inputs = torch.from_numpy(task.features.of(_values(task, number, line))).unsqueeze(1)
        scores, state = model(inputs, state)
        labels, chances = task.named(scores[0].float())
        yield ["stream", number, labels[0], *_chances(chances, 0)]


def _values(task: TagTask, number: int, line: str) -> Any:
    """One row [1, C] of the columns that the model reads."""
    try:
        row = json.loads(line)
        found = [_value(task, name, row[name]) for name in task.features.columns]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"line {number:,} of standard input: {type(error).__name__} {error}",
            f"a JSON object with {', '.join(task.features.columns)}",
            "write one a line",
        ) from None
    return np.array([found], np.float32)


def _value(task: TagTask, name: str, value: Any) -> float:
    texts = task.features.categories.get(name)
    if value is None or (texts and value not in texts):
        return float("nan")
    return float(texts.index(value)) if texts else float(value)


@contextmanager
def _written(out: Path | None) -> Iterator[IO[str]]:
    if out is None:
        yield sys.stdout
        return
    with out.open("w", encoding="utf-8", newline="") as file:
        yield file


@contextmanager
def _named(files: list[str]) -> Iterator[list[Path]]:
    """Files by their names; standard input as one of them while it is read."""
    if files != [STANDARD_INPUT]:
        yield list(map(Path, files))
        return
    content = sys.stdin.buffer.read()
    with TemporaryDirectory() as folder:
        suffix = ".jsonl" if content.lstrip().startswith(b"{") else ".csv"
        path = Path(folder, f"standard-input{suffix}")
        path.write_bytes(content)
        yield [path]
