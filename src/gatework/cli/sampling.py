"""`gatework sample`."""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path

import torch

from gatework.cli.terminal import Terminal
from gatework.data.characters import readable
from gatework.errors import InputError
from gatework.tasks.text.model import LanguageModel
from gatework.tasks.text.sampling import openings, write_on
from gatework.tasks.text.task import TextTask
from gatework.train import Run

__all__ = ["sample"]


def sample(
    path: Path, prompt: str | None, temperature: float, length: int, seed: int, *, last: bool
) -> None:
    """Print a prompt and what the run's model writes after it, as it writes it.

    Args:
        path: the run folder.
        prompt: what to continue; None for the beginning of a line of the run's held-out text.
        temperature: above 0.
        length: bytes to write.
        seed: of the draws.
        last: let the model write that the run ended with, not the best one.
    """
    torch.set_num_threads(1)  # one byte at a time is nothing to share
    run = Run.open(path)
    model = run.load_model(last=last)
    if not isinstance(model, LanguageModel):
        raise InputError(
            f"{str(path)!r}, a run of the task {run.config.task.kind!r}",
            "a run that has learned a text",
            f"use it with: {run.config.task.used_by} {path}",
        )
    if not last and (best := run.about_best()):
        Terminal(stderr=True).print(f"model  the best, {best} (--last for that one)")
    given = _opening(run) if prompt is None else prompt.encode("utf-8", "surrogateescape")
    written = write_on(model, given, length, temperature=temperature, seed=seed)
    try:
        for text in readable(chain([given], written)):
            print(text, end="", flush=True)
    finally:  # after Ctrl-C, too: what was written is a line
        print()


def _opening(run: Run) -> bytes:
    """What to continue where nothing is given."""
    found = openings(_held_out_of(run), 1)
    if not found:
        print("note: no text of the run to begin with; it begins a line", file=sys.stderr)
    return found[0] if found else b""


def _held_out_of(run: Run) -> bytes:
    """The first held-out text of a run; nothing where it is gone or has changed."""
    assert isinstance(run.task, TextTask)
    try:
        return run.task.beginning(run.load_source())
    except InputError:
        return b""
