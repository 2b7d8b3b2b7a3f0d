"""`gatework train`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import typer
from rich.console import Console

from gatework.cli.interrupt import Interrupt
from gatework.cli.progress import TrainingProgress
from gatework.data import Corpus, InputError, load_corpus
from gatework.train import Run, RunConfig, Runner, Trainer, fit, generate
from gatework.train.report import run_page
from gatework.train.sample import as_text, openings

__all__ = ["announce", "given", "resume", "train"]

SAMPLE_BYTES = 400


def train(settings: Mapping[str, Any], out: Path | None) -> None:
    """Train a new run.

    Args:
        settings: fields of `RunConfig`; None for those that the user did not give.
        out: the run folder; None for a new one under runs/.
    """
    config = RunConfig.of(**given(settings))
    corpus = load_corpus(config.files)
    trainer = Trainer(config, corpus)
    _train(Runner(trainer, Run.create(config, corpus, out)))


def resume(path: Path, settings: Mapping[str, Any], budget: Mapping[str, Any]) -> None:
    """Go on with a run.

    Args:
        path: its folder.
        settings: what else the user gave; it cannot be changed any more, so nothing may be given.
        budget: the new budget; the run's own where none is given.
    """
    if changed := given(settings):
        names = ", ".join(_option(name) for name in changed)
        raise InputError(
            f"{names} beside --resume",
            "nothing but --time or --steps, since a run keeps its settings",
            "leave it out, or begin a new run without --resume",
        )
    run = Run.open(path)
    config = run.config
    if given(budget):
        config = RunConfig.of(**{**config.model_dump(), **budget})
    trainer = run.load_trainer(config)
    if config.progress(trainer.steps, trainer.seconds) >= 1:
        raise InputError(
            f"{path} has spent its budget ({trainer.steps:,} steps, {trainer.seconds:.0f} s)",
            "a larger budget, to go on",
            "give --time or --steps, counted from the beginning of the run",
        )
    run.go_on(trainer)
    _train(Runner(trainer, run))


def _option(field: str) -> str:
    """Return what a setting is called on the command line."""
    return {"learning_rate": "--lr", "files": "FILE"}.get(field, "--" + field.replace("_", "-"))


def given(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that the user gave."""
    return {name: value for name, value in settings.items() if value is not None}


def announce(console: Console, corpus: Corpus) -> None:
    """Say what is learned from."""
    learned, held_out = len(corpus.train) / 1e6, len(corpus.valid) / 1e6
    console.print(
        f"text   {corpus.name}: {learned:.2f} MB to learn from, {held_out:.2f} MB held out"
    )
    for note in corpus.notes:
        console.print(f"note   {note}")


def _train(runner: Runner) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    run, trainer = runner.run, runner.trainer
    torch.set_num_threads(run.config.threads)
    announce(console, trainer.corpus)
    size = f"{run.manifest.parameters:,} parameters"
    console.print(
        f"model  {run.config.layers} × {run.config.cell}, {run.config.hidden_size} units, {size}"
    )
    with Interrupt() as interrupted:
        with TrainingProgress([runner], console) as progress:
            finished = fit([runner], progress, interrupted)
        prompts = openings(bytes(trainer.corpus.valid.tolist()), 2) or [b""]
        sample = as_text(prompts[0] + generate(trainer.model, prompts[0], SAMPLE_BYTES))
        run.write_report(run_page(run, sample))
    _show_results(console, run, sample, prompts[-1].decode())
    if not finished:
        console.print(f"interrupted, all saved; go on with: gatework train --resume {run.path}")
        raise typer.Exit(interrupted.exit_code)


def _show_results(console: Console, run: Run, sample: str, prompt: str) -> None:
    validations = [record for record in run.records() if record.split == "valid"]
    console.print(f"\nsample\n\n{sample}\n")
    if validations:
        last = validations[-1]
        console.print(
            f"held out  {last.bits_per_byte:.3f} bits per byte (8 is chance, 0 is certainty)"
        )
    console.print(f"run       {run.path}")
    console.print(f"report    {run.path / 'report.html'}")
    path = shlex.quote(str(run.path))
    console.print(
        f"more      gatework sample {path}" + f" --prompt {shlex.quote(prompt)}" * bool(prompt)
    )
    console.print(f"inside    gatework inspect {path}")
