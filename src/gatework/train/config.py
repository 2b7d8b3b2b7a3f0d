"""What a run is: every setting of a training run, checked when it is made."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gatework.cells import catalogue
from gatework.data import Corpus, InputError, suggest
from gatework.lens import gate_names

__all__ = ["DEFAULT_SECONDS", "Manifest", "RunConfig", "check_cell"]

DEFAULT_SECONDS = 75.0
"""Training time where no budget is given: with start, last validation and sample, the command
then takes about a minute and a half."""

GATED_RATE, UNGATED_RATE = 1e-2, 2e-3
"""Peak step sizes of AdamW that were found to do well on the default text."""


def _threads() -> int:
    return min(4, torch.get_num_threads())


class _Checked(BaseModel):
    """A frozen set of fields whose errors say what came, what was expected, how to mend it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def of(cls, **settings: Any) -> Self:
        """Make it from settings.

        Raises:
            InputError: naming every field that is wrong.
        """
        try:
            return cls(**settings)
        except ValidationError as error:
            faults = error.errors()
        for fault in faults:
            cause = fault.get("ctx", {}).get("error")
            if isinstance(cause, InputError):
                raise cause
        names = [".".join(map(str, fault["loc"])) for fault in faults]
        limits = [fault["msg"].removeprefix("Input should be ") for fault in faults]
        raise InputError(
            "; ".join(f"{n} = {fault['input']!r}" for n, fault in zip(names, faults, strict=True)),
            "; ".join(f"{n} {limit}" for n, limit in zip(names, limits, strict=True)),
            f"correct {', '.join(names)}",
        )


class RunConfig(_Checked):
    """The settings of one training run; the same settings on the same text give the same run.

    Example:
        >>> RunConfig.of(cell="gru", hidden_size=64, steps=100).progress(steps=25, seconds=3.0)
        0.25
    """

    cell: str = "lstm"
    """Name of a cell of the catalogue."""
    hidden_size: int = Field(192, gt=0)
    """Units per layer, H."""
    layers: int = Field(1, gt=0)
    """Recurrent layers, each reading the outputs of the one below."""
    embedding_size: int = Field(64, gt=0)
    """Numbers by which each byte is represented to the first layer, E."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the layers' outputs that is dropped in training."""
    batch_size: int = Field(16, gt=0)
    """Streams read side by side, B."""
    window: int = Field(64, gt=0)
    """Time steps between two cuts of the gradient, T."""
    learning_rate: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Peak step size of AdamW; None for one that suits the cell."""
    weight_decay: float = Field(0.01, ge=0, allow_inf_nan=False)
    """Decoupled weight decay of AdamW."""
    clip: float = Field(1.0, gt=0)
    """Longest gradient; a longer one is scaled down to it."""
    seconds: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Time budget of training and validation."""
    steps: int | None = Field(None, gt=0)
    """Step budget; with a time budget too, training ends with whichever ends first."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of the initial weights and of dropout."""
    threads: int = Field(default_factory=_threads, gt=0, le=1024)
    """Threads that share each operation; unless given, as many as torch has, four at most: a few
    streams of a small network keep no more busy."""
    files: tuple[Path, ...] = ()
    """The texts; none stands for the standard library's source."""

    @field_validator("cell")
    @classmethod
    def _cell_is_known(cls, cell: str) -> str:
        return check_cell(cell)

    @property
    def peak_rate(self) -> float:
        """The peak step size: the one given, else a large one for cells with gates.

        A vanilla RNN overwrites its whole state at every step, and diverges where gated cells
        still learn best.
        """
        gated = bool(gate_names(catalogue()[self.cell]))
        return self.learning_rate or (GATED_RATE if gated else UNGATED_RATE)

    def progress(self, steps: int, seconds: float) -> float:
        """Return the share of the budget that is spent, from 0 to 1."""
        budget = self.seconds if self.seconds or self.steps else DEFAULT_SECONDS
        by_time = seconds / budget if budget else 0.0
        by_steps = steps / self.steps if self.steps else 0.0
        return min(1.0, max(by_time, by_steps))


class Manifest(_Checked):
    """What `config.yaml` of a run holds: the settings, and what they met."""

    format: Literal[1] = 1
    """Version of the run folder's layout."""
    config: RunConfig
    corpus: str
    """What the text was."""
    corpus_bytes: tuple[int, int]
    """Bytes to learn from, bytes held out."""
    corpus_sha256: str
    parameters: int
    """Learned numbers in the whole model."""
    versions: dict[str, str]

    @classmethod
    def describe(cls, config: RunConfig, corpus: Corpus, parameters: int) -> Manifest:
        """Describe a run that is about to begin."""
        versions = {
            "gatework": version("gatework"),
            "python": platform.python_version(),
            "torch": torch.__version__,
        }
        return cls(
            config=config,
            corpus=corpus.name,
            corpus_bytes=(len(corpus.train), len(corpus.valid)),
            corpus_sha256=corpus.sha256,
            parameters=parameters,
            versions=versions,
        )


def check_cell(name: str) -> str:
    """Return the name of a cell of the catalogue as it is.

    Raises:
        InputError: no such cell; the nearest name is suggested.
    """
    known = catalogue()
    if name in known:
        return name
    raise InputError(
        f"unknown cell {name!r}",
        f"one of the {len(known)} cells of the catalogue, such as rnn, lstm or gru",
        f"{suggest(name, known)}see them all with: gatework cells",
    )
