"""What a run is: every setting of a training run, checked when it is made.

Nothing here needs torch, so that what is wrong is told before the second that loading it takes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from gatework.analysis.gates import gates_of
from gatework.errors import InputError, suggest
from gatework.lang.definition import Cell
from gatework.printable import brief
from gatework.settings import Checked, Count
from gatework.tasks.settings import TaskSettings, settings_of
from gatework.train.cells import MOST_CHARACTERS, check_inputs, kept_cell

__all__ = ["DEFAULT_SECONDS", "RunConfig"]

DEFAULT_SECONDS = 75.0
"""Training time where no budget is given: with start, last validation and sample, the command
then takes about a minute and a half."""

GATED_RATE, UNGATED_RATE = 1e-2, 2e-3
"""Peak step sizes of AdamW that were found to do well on texts."""
NARROW = 64
"""Units up to which cells whose memory is their output learn with the whole of the former."""


def _threads() -> int:
    import torch

    return min(4, torch.get_num_threads())


class RunConfig(Checked):
    """The settings of one training run; the same settings on the same text give the same run.

    Example:
        >>> RunConfig.of(cell="gru", hidden_size=64, steps=100).progress(steps=25, seconds=3.0)
        0.25
    """

    cell: Annotated[str, Field(max_length=100)] = "lstm"
    """What the cell is called: a name of the catalogue, where no equations are given."""
    equations: Annotated[str, Field(max_length=MOST_CHARACTERS)] | None = None
    """Those of a cell of one's own, as data; `gatework.train.cell_settings` writes them."""
    hidden_size: int = Field(192, gt=0, le=1_000_000)
    """Units per layer, H."""
    layers: int = Field(1, gt=0, le=100)
    """Recurrent layers, each reading the outputs of the one below."""
    bidirectional: bool = False
    """Whether each layer also reads backward; not where the next step is predicted."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the layers' outputs that is dropped in training."""
    batch_size: Count = 16
    """Streams read side by side, B."""
    window: Count = 64
    """Time steps between two cuts of the gradient, T."""
    learning_rate: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Peak step size of AdamW; None for one that suits the cell."""
    weight_decay: float = Field(0.01, ge=0, allow_inf_nan=False)
    """Decoupled weight decay of AdamW."""
    clip: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Longest gradient; a longer one is scaled down to it."""
    patience: Count | None = None
    """Validations without a better one after which training ends; None for the whole budget."""
    seconds: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Time budget of training and validation."""
    steps: Count | None = None
    """Step budget; with a time budget too, training ends with whichever ends first."""
    save_seconds: float = Field(60.0, gt=0, allow_inf_nan=False)
    """Time between two checkpoints, at most."""
    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of the initial weights and of dropout."""
    tensorboard: bool = False
    """Whether events for TensorBoard are written into the run folder too."""
    threads: int = Field(default_factory=_threads, gt=0, le=1024)
    """Threads that share each operation; unless given, as many as torch has, four at most: a few
    streams of a small network keep no more busy."""
    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d{1,3})?)$")
    """Where the model is: "cpu", or a card: "cuda", "cuda:1"."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """In which layers compute; bfloat16 by autocast, for cards."""
    files: Annotated[tuple[Path, ...], Field(max_length=100_000)] = ()
    """What is learned from; of a text, none stands for the standard library's source."""
    task: SerializeAsAny[TaskSettings] = Field(default_factory=lambda: settings_of("text"))
    """What is learned."""

    @classmethod
    def of(cls, /, **settings: Any) -> Self:
        """Make it from settings; those that are the task's own may stand among the others.

        Raises:
            InputError: naming every field that is wrong.
        """
        own = {name: value for name, value in settings.items() if name in cls.model_fields}
        others = {name: value for name, value in settings.items() if name not in own}
        task = _task(own.get("task", "text"), others)
        return super().of(**{**task.usual, **own, "task": task})

    @field_validator("task", mode="before")
    @classmethod
    def _task_is_known(cls, given: Any) -> TaskSettings:
        return settings_of(given)

    @field_validator("files")
    @classmethod
    def _names_can_be_written_down(cls, files: tuple[Path, ...]) -> tuple[Path, ...]:
        for path in files:
            if any("\ud800" <= character <= "\udfff" for character in str(path)):
                raise InputError(
                    f"the name {str(path)!r} is not UTF-8",
                    "a name that can be written down in config.yaml",
                    "rename the file, or name a link to it",
                )
        return files

    @model_validator(mode="after")
    def _cell_is_known(self) -> Self:
        check_inputs(kept_cell(self.cell, self.equations), self.task.gives)
        return self

    @property
    def trained_cell(self) -> Cell:
        """The cell itself."""
        return kept_cell(self.cell, self.equations)

    @property
    def usable_threads(self) -> int:
        """`threads`, or all cores of this machine where it has fewer than the run began with."""
        return min(self.threads, os.cpu_count() or 1)

    @property
    def peak_rate(self) -> float:
        """The peak step size: the one given, else a large one for cells with gates.

        A vanilla RNN overwrites its whole state at every step, and diverges where gated cells
        still learn best. Where a gated cell's only state is what all its maps read, as a GRU's, so
        that every unit moves every gate, what it bears falls with its width.
        """
        if self.learning_rate:
            return self.learning_rate
        cell = self.trained_cell
        if not gates_of(cell):
            return UNGATED_RATE
        wide = len(cell.states) == 1 and self.hidden_size > NARROW
        return GATED_RATE * (NARROW / self.hidden_size) ** 0.5 if wide else GATED_RATE

    @property
    def settled(self) -> Self:
        """These settings with the rate that suits the cell, as written down: a default may change.

        Example:
            >>> RunConfig.of(cell="gru", hidden_size=256).settled.learning_rate
            0.005
        """
        return self.model_copy(update={"learning_rate": self.peak_rate})

    def shown(self) -> dict[str, Any]:
        """Return the settings that a page shows; the equations have a place of their own."""
        hidden = {"files", "equations", "task", "tensorboard"}
        shown = self.model_dump(mode="json", exclude_none=True, exclude=hidden)
        return {**shown, **self.task.shown()}

    def progress(self, steps: int, seconds: float) -> float:
        """Return the share of the budget that is spent, from 0 to 1."""
        budget = self.seconds if self.seconds or self.steps else DEFAULT_SECONDS
        by_time = seconds / budget if budget else 0.0
        by_steps = steps / self.steps if self.steps else 0.0
        return min(1.0, max(by_time, by_steps))


def _task(task: Any, more: dict[str, Any]) -> TaskSettings:
    """The settings of a task, with more of them."""
    base = settings_of(task)
    known = type(base).model_fields
    if unknown := [name for name in more if name not in known]:
        named = f"the task {base.kind!r}"
        raise InputError(
            f"{unknown[0]} = {brief(more[unknown[0]])} for {named}",
            f"a setting of a run, or one of {named}: {', '.join(sorted(known))}",
            f"{suggest(unknown[0], [*known, *RunConfig.model_fields])}leave it out, or name "
            "another task",
        )
    return settings_of({**base.model_dump(exclude_unset=True), "kind": base.kind, **more})
