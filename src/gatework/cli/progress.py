"""How training goes, while it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from gatework.train import Record, Runner

__all__ = ["TrainingProgress"]


@dataclass
class _Gauge:
    """What is shown of one model."""

    task: TaskID
    unit: str
    counted: str
    seen: int
    seconds: float
    rate: float = 0.0
    """What is counted, per second, since the record before."""
    training: str = "–"
    held_out: str = "–"

    def take(self, record: Record) -> None:
        """Take over what a record says."""
        if record.split == "valid":
            self.held_out = f"{record.cost:.3f}"
            return
        self.training = f"{record.cost:.3f}"
        if record.seconds > self.seconds:
            self.rate = (record.seen - self.seen) / (record.seconds - self.seconds)
        self.seen, self.seconds = record.seen, record.seconds

    def line(self, seconds_left: float) -> str:
        """Return it in a line."""
        return (
            f"{self.training} {self.unit}, held out {self.held_out}  "
            f"{self.rate:,.0f} {self.counted}/s  {_clock(seconds_left)} left"
        )


class TrainingProgress:
    """Shows records as they come: a live line for each model in a terminal, else some plain lines.

    Args:
        runners: the models in training.
        console: where to show it.
    """

    def __init__(self, runners: Sequence[Runner], console: Console) -> None:
        self._console = console
        self._width = max(8, *(len(runner.trainer.config.cell) for runner in runners))
        self._live = Progress(
            TextColumn("{task.fields[name]}"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[line]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._gauges = {runner: self._gauge(runner) for runner in runners}

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def __call__(self, runner: Runner, record: Record) -> None:
        """Show a record."""
        gauge = self._gauges[runner]
        gauge.take(record)
        line = gauge.line(self._seconds_left(record))
        if self._console.is_terminal:
            self._live.update(gauge.task, completed=record.progress, line=line)
        elif record.split == "valid":
            self._console.print(f"{self._name(runner)} {record.progress:4.0%}  {line}")

    def _gauge(self, runner: Runner) -> _Gauge:
        task = self._live.add_task("", total=1.0, name=self._name(runner), line="")
        trainer = runner.trainer
        return _Gauge(task, trainer.task.unit, trainer.task.counted, trainer.seen, trainer.seconds)

    def _name(self, runner: Runner) -> str:
        return runner.trainer.config.cell.ljust(self._width)

    def _seconds_left(self, record: Record) -> float:
        """Judge by the share of the budget that is spent."""
        spent = sum(runner.trainer.seconds for runner in self._gauges)
        return spent * (1 - record.progress) / max(record.progress, 1e-9)


def _clock(seconds: float) -> str:
    """Write seconds as 0:42 or 1:02:03."""
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"
