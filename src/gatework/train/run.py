"""The run folder: everything a run leaves on disk.

config.yaml              settings, source, versions (`Manifest`)
metrics.jsonl            one measurement per line (`Record`)
weights.safetensors      the model's weights, by the names of its `state_dict`
best.safetensors         the same of the model that did best on held-out data
checkpoint.safetensors   all that is needed to go on (`gatework train --resume`)
checkpoint.previous.safetensors   the same of a while before, should the last be damaged
learning_rate.csv        what steps of all sizes cost, where the learning rate was looked for
events.out.tfevents…      the measurements for TensorBoard, where they are asked for
report.html              curves, sample and settings on one page
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryFile

from gatework.errors import InputError
from gatework.files import write_atomically
from gatework.needed import needed
from gatework.tasks import SequenceModel, Source, Task, task_class
from gatework.train.checkpoint import (
    Place,
    SavedTrainer,
    load_weights,
    read_place,
    read_trainer,
    restore_trainer,
    save_trainer,
    save_weights,
)
from gatework.train.claim import Claim, claim
from gatework.train.config import RunConfig
from gatework.train.manifest import MANIFEST, Manifest, find_runs, is_run, read_manifest
from gatework.train.models import parameter_count
from gatework.train.ranks import ALONE, Ranks
from gatework.train.records import Record, curve, read_records, to_line
from gatework.train.trainer import Trainer

__all__ = ["Record", "Run", "check_writable", "new_folder", "runs_of"]

REPORT = "report.html"
MUCH_WORSE = 0.02
"""Share by which a last model is so much worse than the best that it is worth a word."""
MUCH_DROPOUT = 0.5
"""From here on more of it is no advice."""
BEST, LAST, CHECKPOINT, PREVIOUS, METRICS, RATES = (
    "best.safetensors",
    "weights.safetensors",
    "checkpoint.safetensors",
    "checkpoint.previous.safetensors",
    "metrics.jsonl",
    "learning_rate.csv",
)


class Run:
    """A run folder; make one with `create` or find one with `open`.

    Attributes:
        path: the folder.
        manifest: what its `config.yaml` holds.
        passed_over: what is wrong with the last checkpoint, where the one before was taken.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self.passed_over = ""
        self._claim: Claim | None = None  # held while this run is being trained

    @classmethod
    def create(cls, trainer: Trainer, path: Path | None = None) -> Run:
        """Make a new folder for a run that begins: `path`, or a new name under `runs/`.

        Raises:
            InputError: `path` holds something already, or cannot be written, or another process
                trains in it.
        """
        config, task = trainer.config, trainer.task
        if config.tensorboard:
            needed("tensorboard", "tensorboard")  # told before there is a folder
        count = parameter_count(config, task)
        manifest = Manifest.describe(config, task, trainer.source, count)
        run = cls(new_folder(config.cell, path), manifest)
        run._claim = claim(run.path)
        _empty_folder(run.path)  # asked again: another process may have used it just before
        run._write(MANIFEST, manifest.as_yaml())
        run._write(METRICS, "")
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """Find a run on disk.

        Raises:
            InputError: there is none at `path`, or its `config.yaml` is damaged.
        """
        return cls(path, read_manifest(path))

    @property
    def config(self) -> RunConfig:
        """The settings of the run."""
        return self.manifest.config

    @cached_property
    def task(self) -> Task:
        """What the run learns, as it was understood when it began.

        Raises:
            InputError: `config.yaml` does not say.
        """
        return task_class(self.config.task.kind)(self.config.task, self.manifest.understood)

    def load_model(self, *, last: bool = False) -> SequenceModel:
        """Return the model that did best on held-out data, or the one that the run ended with.

        Args:
            last: return the last one; also returned where no best one was kept.

        Raises:
            InputError: the weights are missing or damaged.
        """
        name = BEST if self.has_best and not last else LAST
        return load_weights(self.config, self.task, self.path / name)

    @property
    def has_best(self) -> bool:
        """Whether a best model was kept beside the last."""
        return (self.path / BEST).exists()

    def best(self) -> Place | None:
        """Return where in the run the best model is from, None where none was kept.

        Raises:
            InputError: its file is damaged.
        """
        return read_place(self.config, self.task, self.path / BEST) if self.has_best else None

    def validations(self) -> list[Record]:
        """Return the measurements on held-out data; the last one is on the most of it."""
        return [record for record in self.records() if record.split == "valid"]

    def about_best(self) -> str | None:
        """Say where the best model is from, and if the last one has got worse than it.

        None where the last one is the best, or none was kept.
        """
        best, points = self.best(), curve(self.records(), "valid")
        if best is None or not points or best.step == points[-1].step:
            return None
        words = f"{best.cost:.3f} at {best.progress:.0%}, kept beside the last model"
        last = points[-1].cost
        if last <= (1 + MUCH_WORSE) * best.cost:
            return words
        dropout = self.config.dropout
        more = f"--dropout {dropout + 0.2:.1g}, " if dropout < MUCH_DROPOUT else ""
        return (
            f"{words}, which costs {last:.3f}: it has begun to learn its data by heart; "
            f"more data, {more}fewer units or fewer steps help"
        )

    def save(self, trainer: Trainer) -> None:
        """Write the checkpoint, then the weights; the checkpoint before is kept."""
        with self._told():
            self._keep_previous()
            save_trainer(trainer, self.path / CHECKPOINT)
            self.passed_over = ""  # what is there now is whole
            save_weights(trainer.model, self.path / LAST)

    def _keep_previous(self) -> None:
        """Give the last checkpoint a second name, which it keeps when there is a new one.

        A damaged one gets none: the one before, which the run goes on from, keeps its place.
        """
        last, partial = self.path / CHECKPOINT, self.path / f".{PREVIOUS}.partial"
        if last.exists() and not self.passed_over:
            partial.unlink(missing_ok=True)
            try:
                os.link(last, partial)
            except OSError:  # a disk without links
                shutil.copyfile(last, partial)
            os.replace(partial, self.path / PREVIOUS)

    def save_best(self, model: SequenceModel, place: Place) -> None:
        """Keep a model as the best so far."""
        with self._told():
            save_weights(model, self.path / BEST, place)

    def load_trainer(self, config: RunConfig, ranks: Ranks = ALONE) -> Trainer:
        """Return a trainer in exactly the place where the run was saved last.

        Where the last checkpoint is damaged it is the place of the one before.

        Args:
            config: the run's own settings, but for the budget, which may be another.
            ranks: the processes that train together, as many as before.

        Raises:
            InputError: the data is no longer the same, the checkpoint cannot be used, the folder
                cannot be written to, or another process trains in it.
        """
        if ranks.leads:
            self._claim = claim(self.path)
            check_writable(self.path, "copy the run to a folder of yours, and resume it there")
        source = self.load_source()
        self.best()  # a damaged file is told now, not at the first validation
        if self._was_ended_before_anything_was_saved():
            return Trainer(config, self.task, source, ranks)
        saved = self._saved_trainer(config, ranks.count)  # before a model is made
        trainer = Trainer(config, self.task, source, ranks)
        restore_trainer(trainer, saved)
        return trainer

    def _was_ended_before_anything_was_saved(self) -> bool:
        saved = any((self.path / name).exists() for name in (CHECKPOINT, PREVIOUS))
        return not saved and not any(True for _ in self.records())

    def _saved_trainer(self, config: RunConfig, ranks: int) -> SavedTrainer:
        """The last checkpoint that can be used."""
        try:
            return read_trainer(config, self.task, self.path / CHECKPOINT, ranks)
        except InputError as error:
            previous = self.path / PREVIOUS
            if not previous.exists():
                raise
            self.passed_over = error.came
            return read_trainer(config, self.task, previous, ranks)

    def load_source(self) -> Source:
        """Return what the run learns from.

        Raises:
            InputError: it is gone or has changed.
        """
        known, config = self.task, self.config
        _, source = type(known).load(config.task, config.files, known)
        if source.sha256 != self.manifest.sha256:
            raise InputError(
                f"what the run learns from has changed since it began: {source.name}",
                f"{self.manifest.source}, sha256 {self.manifest.sha256[:12]}…",
                "restore it, or begin a new run",
            )
        return source

    def go_on(self, trainer: Trainer) -> None:
        """Make ready for more: take over the trainer's settings, which may have a new budget.

        Measurements that were taken after the checkpoint are dropped; they will be taken again.
        """
        kept = [record for record in self.records() if record.step <= trainer.steps]
        self._write(METRICS, "".join(map(to_line, kept)))
        self.manifest = self.manifest.model_copy(update={"config": trainer.config})
        self._write(MANIFEST, self.manifest.as_yaml())

    def log(self, record: Record) -> None:
        """Append a measurement."""
        with self._told(), (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(to_line(record))

    def records(self) -> Iterator[Record]:
        """Read the measurements; a last line that was cut short is passed over.

        Raises:
            InputError: the file is missing or damaged.
        """
        yield from read_records(self.path / METRICS)

    @property
    def has_report(self) -> bool:
        """Whether the report was written, the last that a run does."""
        return (self.path / REPORT).exists()

    def write_rates(self, table: str) -> Path:
        """Write `learning_rate.csv` and return its path."""
        self._write(RATES, table)
        return self.path / RATES

    def write_report(self, page: str) -> Path:
        """Write `report.html` and return its path."""
        self._write(REPORT, page)
        return self.path / REPORT

    def _write(self, name: str, text: str) -> None:
        write_atomically(self.path / name, text.encode())

    @contextmanager
    def _told(self) -> Iterator[None]:
        """While entered, what the system refuses is told with the way to go on."""
        try:
            yield
        except OSError as error:
            more = f"gatework train --resume {shlex.quote(str(self.path))}"
            error.add_note(f"the run is kept as it was saved last; make room, then: {more}")
            raise


def runs_of(path: Path) -> list[Run]:
    """Open a run folder, or all the runs in a folder such as `gatework compare` leaves.

    Raises:
        InputError: there is none, there are very many, or one of them is damaged.
    """
    order = {"rnn": 0, "lstm": 1, "gru": 2}
    runs = [Run.open(folder) for folder in find_runs(path)]
    return sorted(runs, key=lambda run: (order.get(run.config.cell, 3), run.path.name))


def new_folder(kind: str, path: Path | None = None) -> Path:
    """Make an empty folder: `path`, or `runs/<date>-<time>-<kind>` with a number if need be.

    Raises:
        InputError: `path` holds something already, or the folder cannot be made.
    """
    try:
        return _empty_folder(path) if path else _numbered_folder(kind)
    except OSError as error:
        raise InputError(
            f"cannot make the run folder {str(path or 'runs')!r} ({error.strerror})",
            "a place that can be written to",
            "name another with --out FOLDER",
        ) from None


def _empty_folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        there = is_run(path)
        raise InputError(
            f"{str(path)!r} is not empty",
            "a new or empty folder, since a run never overwrites another",
            "name another --out" + f", or go on: gatework train --resume {path}" * there,
        )
    check_writable(path, "name another with --out FOLDER")
    return path


def check_writable(folder: Path, mend: str) -> None:
    """Raise unless a file can be made in a folder: before the work whose result goes there.

    Raises:
        InputError: it cannot; the error ends with how to mend it.
    """
    try:
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write to {str(folder)!r} ({error.strerror})",
            "a folder that can be written to",
            mend,
        ) from None


def _numbered_folder(kind: str) -> Path:
    base = f"{datetime.now():%Y-%m-%d-%H%M%S}-{kind}"
    number = 1
    while True:
        path = Path("runs", base if number == 1 else f"{base}-{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return path
