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

import torch

from gatework.errors import InputError
from gatework.tasks.labelling.labelled import LabelTask, Prediction
from gatework.tasks.labelling.tagging import Tagger
from gatework.tasks.labelling.task import TagTask
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
    tagger = None
    if files == [STANDARD_INPUT] and isinstance(task, TagTask):
        tagger = Tagger(task, model)
    with _written(out) as file:
        write = csv.writer(file, lineterminator="\n")
        write.writerow(_header(task))
        if tagger is not None:
            for row in _streamed(tagger, sys.stdin):
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


def _streamed(tagger: Tagger, lines: IO[str]) -> Iterator[list[Any]]:
    """Tag rows as they come, one JSON object a line."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"line {number:,} of standard input"
            found = tagger.tag(_object(line, where), where)
            yield [found.id, found.row, found.label, *_chances(found.chances[None], 0)]


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise InputError(
            f"{where}: {line.strip()[:60]}",
            'a row as a JSON object, such as {"x": 1.5}',
            "write one a line, or name a file",
        )
    return row


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
