"""A cell trained on a text: what `gatework train` and `gatework.train_cell` do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from gatework.data import load_corpus
from gatework.errors import InputError
from gatework.lang import Cell
from gatework.reports.run_page import run_page
from gatework.train import Run, RunConfig, Runner, Trainer, cell_settings, fit, generate
from gatework.train.sample import as_text, openings
from gatework.train.threads import with_threads

__all__ = ["Texts", "Written", "files_of", "report_on", "train_cell"]

SAMPLE_BYTES = 400

Texts = str | Path | Sequence[str | Path] | None
"""The files to learn from."""


class Written(NamedTuple):
    """What a trained model wrote, and words of the text that it could go on from as well."""

    sample: str
    prompt: bytes


def report_on(runner: Runner) -> Written:
    """Let a trained model write something, and make the page of its run."""
    prompts = openings(bytes(runner.trainer.corpus.valid.tolist()), 2) or [b""]
    sample = as_text(prompts[0] + generate(runner.run.load_model(), prompts[0], SAMPLE_BYTES))
    runner.run.write_report(run_page(runner.run, sample))
    return Written(sample, prompts[-1])


def files_of(text: Texts) -> tuple[Path, ...]:
    """Return the files that were given: one, several, or none."""
    given = () if text is None else (text,) if isinstance(text, str | Path) else tuple(text)
    for one in given:
        if not isinstance(one, str | Path) or "\n" in str(one):
            raise InputError(
                f"a text of the type {type(one).__name__}"
                + " with several lines" * isinstance(one, str),
                "the name of a file to learn from, or of several",
                "write the text into a file first",
            )
    return tuple(map(Path, given))


def train_cell(
    cell: Cell, text: Texts = None, *, out: str | Path | None = None, **settings: Any
) -> Run:
    """Train a language model over bytes whose recurrent layers run a cell.

    As the command `gatework train`, whose folder it leaves: `gatework inspect` and `gatework
    studio` look into it.

    Args:
        cell: A cell of your own, or one of `gatework.cells`.
        text: The file, or the files, to learn from; without it, Python's standard library.
        out: New folder for the run; without it, one under `runs/`.
        settings: Any other of `gatework.train.RunConfig`, such as `seconds=600`, `steps=2000`,
            `hidden_size=128` or `layers=2`.

    Returns:
        The run: its model by `load_model()`, its measurements by `records()`, its folder `path`.

    Raises:
        InputError: A ValueError that says what cannot be used, and how to mend it.

    Example:
        >>> from pathlib import Path
        >>> import gatework as gw
        >>> _ = Path("notes.txt").write_text("What is written twice is learned once. " * 100)
        >>> run = gw.train_cell(gw.cells.gru, "notes.txt", hidden_size=16, steps=4)
        >>> run.config.cell, run.best().step
        ('gru', 4)
    """
    given = {**settings, **cell_settings(cell), "files": files_of(text)}
    config = RunConfig.of(**given)
    corpus = load_corpus(config.files)
    with torch.random.fork_rng(devices=[]):
        trainer = Trainer(config, corpus)
        run = Run.create(config, corpus, None if out is None else Path(out))
        runner = Runner(trainer, run)
        with with_threads(config.usable_threads):
            fit([runner], lambda *_: None)
            report_on(runner)
    return run
