"""The run folder: everything a run leaves on disk.

config.yaml              settings, text, versions (`Manifest`)
metrics.jsonl            one measurement per line (`Record`)
weights.safetensors      the model's weights, by the names of its `state_dict`
checkpoint.safetensors   all that is needed to go on (`gatework train --resume`)
report.html              curves, sample and settings on one page
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from gatework.data import Corpus, InputError, load_corpus
from gatework.files import write_atomically
from gatework.train.checkpoint import (
    load_trainer,
    load_weights,
    save_trainer,
    save_weights,
)
from gatework.train.claim import Claim, claim
from gatework.train.config import Manifest, RunConfig
from gatework.train.model import LanguageModel, parameter_count
from gatework.train.trainer import Trainer

__all__ = ["Record", "Run", "new_folder", "runs_of"]

MOST_RUNS = 8
"""Runs of a folder that are looked at side by side."""


@dataclass(frozen=True)
class Record:
    """One measurement in the course of a run, a line of `metrics.jsonl`."""

    split: str
    """"train" (a mean over the steps since the last such record) or "valid"."""
    step: int
    bytes: int
    """Bytes learned from so far."""
    seconds: float
    """Time spent so far."""
    progress: float
    """Share of the budget that is spent, 0 to 1."""
    bits_per_byte: float
    learning_rate: float | None = None
    gradient_norm: float | None = None


class Run:
    """A run folder; make one with `create` or find one with `open`.

    Attributes:
        path: the folder.
        manifest: what its `config.yaml` holds.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._claim: Claim | None = None  # held while this run is being trained

    @classmethod
    def create(cls, config: RunConfig, corpus: Corpus, path: Path | None = None) -> Run:
        """Make a new folder for a run: `path`, or a new name under `runs/`.

        Raises:
            InputError: `path` holds something already, or cannot be written, or another process
                trains in it.
        """
        manifest = Manifest.describe(config, corpus, parameter_count(config))
        run = cls(new_folder(config.cell, path), manifest)
        run._claim = claim(run.path)
        _empty_folder(run.path)  # asked again: another process may have used it just before
        run._write("config.yaml", _to_yaml(manifest))
        run._write("metrics.jsonl", "")
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """Find a run on disk.

        Raises:
            InputError: there is none at `path`, or its `config.yaml` is damaged.
        """
        expected = "a run folder, as `gatework train` leaves it"
        try:
            settings = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            mend = _runs_nearby(path)
            raise InputError(f"no run in {str(path)!r}", expected, mend) from None
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            came = f"{str(path / 'config.yaml')!r} cannot be read ({error})"
            raise InputError(came, expected, "restore the file, or train again") from None
        if not isinstance(settings, dict):
            came = f"{str(path / 'config.yaml')!r} holds no settings"
            raise InputError(came, expected, "restore the file, or train again")
        return cls(path, Manifest.of(**{str(name): value for name, value in settings.items()}))

    @property
    def config(self) -> RunConfig:
        """The settings of the run."""
        return self.manifest.config

    def load_model(self) -> LanguageModel:
        """Return the model with the weights that the run has reached.

        Raises:
            InputError: the weights are missing or damaged.
        """
        model = LanguageModel(self.config)
        load_weights(model, self.path / "weights.safetensors")
        return model

    def save(self, trainer: Trainer) -> None:
        """Write the checkpoint, then the weights."""
        save_trainer(trainer, self.path / "checkpoint.safetensors")
        save_weights(trainer.model, self.path / "weights.safetensors")

    def load_trainer(self, config: RunConfig) -> Trainer:
        """Return a trainer in exactly the place where the run was saved last.

        Args:
            config: the run's own settings, but for the budget, which may be another.

        Raises:
            InputError: the text is no longer the same, the checkpoint cannot be used, or another
                process trains in the folder.
        """
        self._claim = claim(self.path)
        corpus = load_corpus(config.files)
        if corpus.sha256 != self.manifest.corpus_sha256:
            raise InputError(
                f"the text has changed since the run began: {corpus.name}",
                f"{self.manifest.corpus}, sha256 {self.manifest.corpus_sha256[:12]}…",
                "restore the text, or begin a new run",
            )
        trainer = Trainer(config, corpus)
        load_trainer(trainer, self.path / "checkpoint.safetensors")
        return trainer

    def go_on(self, trainer: Trainer) -> None:
        """Make ready for more: take over the trainer's settings, which may have a new budget.

        Measurements that were taken after the checkpoint are dropped; they will be taken again.
        """
        kept = [record for record in self.records() if record.step <= trainer.steps]
        self._write("metrics.jsonl", "".join(map(_to_line, kept)))
        self.manifest = self.manifest.model_copy(update={"config": trainer.config})
        self._write("config.yaml", _to_yaml(self.manifest))

    def log(self, record: Record) -> None:
        """Append a measurement."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(_to_line(record))

    def records(self) -> Iterator[Record]:
        """Read the measurements; a last line that was cut short is passed over.

        Raises:
            InputError: the file is missing or damaged.
        """
        path = self.path / "metrics.jsonl"
        try:
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
            yield from [Record(**json.loads(line)) for line in lines if line.endswith("\n")]
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"{str(path)!r} cannot be used ({error})",
                "a measurement per line, as the run wrote it",
                "restore the file, or train again",
            ) from None

    def write_report(self, page: str) -> Path:
        """Write `report.html` and return its path."""
        self._write("report.html", page)
        return self.path / "report.html"

    def _write(self, name: str, text: str) -> None:
        write_atomically(self.path / name, text.encode())


def runs_of(path: Path) -> list[Run]:
    """Open a run folder, or all the runs in a folder such as `gatework compare` leaves.

    Raises:
        InputError: there is none, there are very many, or one of them is damaged.
    """
    folders = sorted(p.parent for p in path.glob("*/config.yaml"))
    if (path / "config.yaml").exists() or not folders:
        return [Run.open(path)]  # which says what is missing
    if len(folders) > MOST_RUNS:
        raise InputError(
            f"{len(folders)} runs in {str(path)!r}",
            f"one run, or a folder of up to {MOST_RUNS} that are to be compared",
            f"name one of them, such as {folders[-1]}",
        )
    order = {"rnn": 0, "lstm": 1, "gru": 2}
    runs = [Run.open(folder) for folder in folders]
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
        there = (path / "config.yaml").exists()
        raise InputError(
            f"{str(path)!r} is not empty",
            "a new or empty folder, since a run never overwrites another",
            "name another --out" + f", or go on: gatework train --resume {path}" * there,
        )
    (path / ".writable").touch()
    (path / ".writable").unlink()
    return path


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


def _runs_nearby(path: Path) -> str:
    """Say where runs lie, to one who named a folder that holds none."""
    for folder in (path, Path("runs")):
        runs = sorted(config.parent for config in folder.glob("*/config.yaml"))
        if runs:
            return f"the last one in {folder}/ is {runs[-1]}"
    return "train one first: gatework train"


def _to_yaml(manifest: Manifest) -> str:
    content: dict[str, Any] = manifest.model_dump(mode="json")
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _to_line(record: Record) -> str:
    fields = {key: value for key, value in asdict(record).items() if value is not None}
    return json.dumps(fields) + "\n"
