"""`gatework export`."""

from __future__ import annotations

from pathlib import Path

import torch

from gatework.cli.terminal import Terminal
from gatework.errors import InputError, suggest
from gatework.use import load

__all__ = ["FORMS", "export"]


def _to_onnx(run: Path, out: Path | None, target: str | None, last: bool) -> list[tuple[str, str]]:
    from gatework.train.exported import run_as_onnx

    if target is not None:
        raise InputError(
            f"--target {target} for an ONNX file",
            "--to c, which is for one kind of machine",
            "leave out --target",
        )
    written = run_as_onnx(load(run, last=last), out or run / "model.onnx")
    return [
        ("file", str(written.path)),
        ("reads", ", ".join(written.inputs)),
        ("gives", ", ".join(written.outputs)),
        ("checked", written.note),
    ]


def _to_c(run: Path, out: Path | None, target: str | None, last: bool) -> list[tuple[str, str]]:
    from gatework.export import c

    files = c(load(run, last=last), out or run / "model", target or "x86-64-v3")
    return [("files" if k == 0 else "", str(file)) for k, file in enumerate(files)]


FORMS = {"onnx": _to_onnx, "c": _to_c}
"""What writes each form; it returns what is told of it, line by line."""


def export(run: Path, to: str, out: Path | None, target: str | None, *, last: bool) -> None:
    """Write the model of a run for where there is no Python.

    Args:
        run: its folder.
        to: one of `FORMS`.
        out: the file; of C objects its name without an ending.
        target: of C objects the machine.
        last: write the model that the run ended with, not the best one.
    """
    if to not in FORMS:
        raise InputError(
            f"--to {to}", f"one of {', '.join(FORMS)}", f"{suggest(to, FORMS)}write --to onnx"
        )
    torch.set_num_threads(1)
    console = Terminal()
    for name, words in FORMS[to](run, out, target, last):
        console.print(f"{name:<8}{words}")
