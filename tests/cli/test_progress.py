"""What is shown while training goes on, with and without a terminal."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from gatework.cli.progress import TrainingProgress
from gatework.tasks import settings_of, task_class
from gatework.train import Record, Runner

RECORDS = [
    Record("train", 5, 10_000, 2.0, 0.25, 4.0),
    Record("valid", 5, 10_000, 2.5, 0.25, 4.5),
    Record("train", 9, 90_000, 4.5, 0.50, 3.0),
    Record("valid", 9, 90_000, 5.0, 0.50, 3.5),
]


@pytest.fixture
def runner() -> Runner:
    trainer = SimpleNamespace(
        config=SimpleNamespace(cell="gru", tensorboard=False),
        seen=0,
        seconds=0.0,
        task=task_class("text")(settings_of("text"), {}),
    )
    return Runner(trainer, SimpleNamespace(config=SimpleNamespace(cell="gru")))


def shown(runner: Runner, *, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100)
    with TrainingProgress([runner], console) as progress:
        for record in RECORDS:
            runner.trainer.seconds = record.seconds
            progress(runner, record)
    return out.getvalue()


def test_without_a_terminal_each_validation_is_a_plain_line(runner):
    assert shown(runner, terminal=False).splitlines() == [
        "gru       25%  4.000 bits per byte, held out 4.500  5,000 bytes/s  0:08 left",
        "gru       50%  3.000 bits per byte, held out 3.500  32,000 bytes/s  0:05 left",
    ]


def test_in_a_terminal_the_line_lives(runner):
    out = shown(runner, terminal=True)
    assert "\x1b[" in out
    assert "3.000 bits per byte, held out 3.500  32,000 bytes/s  0:05 left" in out
