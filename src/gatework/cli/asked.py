"""What was typed, checked before anything is loaded that takes long.

torch takes a second and more; a file that is missing or a cell that does not exist is told in a
fraction of that.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gatework.cli.python_files import is_python
from gatework.cli.typed_cells import cell_typed, cells_typed
from gatework.data.corpus import check_files
from gatework.errors import InputError
from gatework.lang import Cell
from gatework.needed import needed
from gatework.train.cells import cell_settings
from gatework.train.config import RunConfig
from gatework.train.manifest import Manifest, find_runs, read_manifest

__all__ = [
    "cell_settings_typed",
    "check_alone",
    "check_card",
    "check_ending",
    "check_kind",
    "check_looked_at",
    "check_out",
    "check_resumed",
    "check_runs",
    "check_settings",
    "check_studio",
    "given",
    "settings_of_run",
    "trainable_cells_typed",
]

STUDIO_NEEDS = ("starlette", "uvicorn")
HIGHEST_PORT = 65_535


def given(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that the user gave."""
    return {name: value for name, value in settings.items() if value is not None}


def cell_settings_typed(text: str | None) -> Mapping[str, Any]:
    """Return the settings of a run that trains the cell that was typed; none where none was.

    Raises:
        InputError: there is no such cell, or it cannot be trained.
    """
    return {} if text is None else cell_settings(cell_typed(text))


def trainable_cells_typed(texts: Sequence[str]) -> tuple[Cell, ...]:
    """Return the cells that were typed.

    Raises:
        InputError: one of them is not there, or cannot be trained.
    """
    cells = cells_typed(texts)
    for cell in cells:
        cell_settings(cell)
    return cells


def check_card(
    device: str, precision: str | None, threads: int | None, *, all_shapes: bool, stream: bool
) -> None:
    """Check that what is measured goes with the device.

    Raises:
        InputError: an option means nothing there.
    """
    if device == "cpu":
        wrong = ["--precision"] if precision is not None else []
        mend = "add --device cuda"
    else:
        given = {"--threads": threads is not None, "--all": all_shapes, "--stream": stream}
        wrong = [option for option, used in given.items() if used]
        mend = "leave it out"
    if wrong:
        came = f"{wrong[0]} with --device {device}"
        raise InputError(came, "options that mean something there", mend)


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check settings of a new run, and that its files are there.

    Raises:
        InputError: one is wrong.
    """
    config = RunConfig.of(**{"threads": 1, **given(settings)})  # their default is torch's
    if config.tensorboard:
        needed("tensorboard", "tensorboard")
    check_files((*config.files, *config.task.held_out))
    if not config.files and config.task.kind != "text":
        raise InputError(
            f"no FILE for the task {config.task.kind!r}",
            "a table, an array, a .ts file or JSON lines",
            "name one: gatework train FILE",
        )


def settings_of_run(path: Path) -> dict[str, Any]:
    """Return the settings that a `config.yaml`, or the run folder that has it, writes down.

    Raises:
        InputError: there is none, or it is damaged.
    """
    folder = path if path.is_dir() else path.parent
    config = read_manifest(folder).config
    return {name: getattr(config, name) for name in type(config).model_fields}


def check_resumed(settings: Mapping[str, Any]) -> None:
    """Check that nothing is given beside --resume that a run cannot change.

    Raises:
        InputError: something is.
    """
    if changed := given(settings):
        names = ", ".join(map(_option, changed))
        raise InputError(
            f"{names} beside --resume",
            "nothing but --time or --steps, since a run keeps its settings",
            "leave it out, or begin a new run without --resume",
        )


def check_runs(path: Path) -> list[Manifest]:
    """Check that a folder holds a run, or several.

    Raises:
        InputError: it does not, or a run's settings are damaged.
    """
    return [read_manifest(folder) for folder in find_runs(path)]


def check_kind(manifest: Manifest, path: Path, kind: str) -> None:
    """Check that a run is of the task that a command is for.

    Raises:
        InputError: it is of another.
    """
    task = manifest.config.task
    if task.kind != kind:
        raise InputError(
            f"{str(path)!r}, a run of the task {task.kind!r}",
            f"a run of the task {kind!r}",
            f"use it with: {task.used_by} {path}",
        )


def check_looked_at(
    run: str, weights: Path | None, data: Sequence[Path], columns: Mapping[str, Any]
) -> bool:
    """Check what is looked into, and return whether it is a model of a Python file, not a run.

    Raises:
        InputError: the data is missing, or something is given that a run has of itself.
    """
    if is_python(run):
        if not data:
            raise InputError(
                f"{run} without data",
                "rows for the model to be called on, which it has not learned from",
                "name them: --data new.csv",
            )
        return True
    given = {"--weights": weights, "--data": data, **{_option(n): True for n in columns}}
    if wrong := [option for option, value in given.items() if value]:
        raise InputError(
            f"{wrong[0]} beside {run!r}",
            "nothing more, since a run has its own weights and data",
            "leave it out, or name the function that makes a model: model.py:make",
        )
    return False


def check_studio(port: int) -> None:
    """Check that the studio can be served.

    Raises:
        InputError: its optional part is not installed, or the port is no port.
    """
    if missing := [name for name in STUDIO_NEEDS if find_spec(name) is None]:
        raise InputError(
            f"the studio needs {' and '.join(missing)}",
            "Gatework with its optional part for the studio",
            f"pip install {' '.join(missing)}, or in a copy of the repository "
            "pip install '.[studio]'",
        )
    if not 0 <= port <= HIGHEST_PORT:
        raise InputError(f"--port {port}", f"from 0 to {HIGHEST_PORT}", "write --port 8407")


def check_alone() -> None:
    """Check that this is the only process that was started for the command.

    Raises:
        InputError: torchrun has started several, which would all do the same.
    """
    count = os.environ.get("WORLD_SIZE", "1")
    if count.isdecimal() and int(count) > 1:
        raise InputError(
            f"{count} processes, started by torchrun",
            "one process: this command shares the work among threads",
            "start it without torchrun, with --threads N; gatework train can be started by it",
        )


def check_out(option: str, out: Path | None) -> None:
    """Check, not after minutes, that a file can be written.

    Raises:
        InputError: it cannot.
    """
    if out is not None and (out.is_dir() or not out.absolute().parent.is_dir()):
        raise InputError(
            f"{option} {out}", "a file in a folder that exists", "make the folder or name another"
        )


def check_ending(option: str, out: Path | None, *endings: str) -> None:
    """Check that the name of a file says a kind that can be written.

    Raises:
        InputError: it does not.
    """
    if out is not None and out.suffix not in endings:
        raise InputError(
            f"{option} {out}",
            f"a name that ends in {' or '.join(endings)}",
            f"write {option} {out.with_suffix(endings[0])}",
        )


def _option(field: str) -> str:
    """Return what a setting is called on the command line."""
    names = {"learning_rate": "--lr", "files": "FILE", "time": "--time-column"}
    return names.get(field, "--" + field.replace("_", "-"))
