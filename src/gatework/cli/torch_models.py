"""A torch model from what was typed: the function of a file that makes it, and its saved weights.

model.py:make    what `make()` of the file returns, or a module that is called so
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from gatework.cli.python_files import FORM, run_file, told_at
from gatework.data.columns import Columns
from gatework.data.reading import read_sequences
from gatework.errors import InputError, explained, suggest
from gatework.reports.torch_models import TorchSubject

__all__ = ["typed_subject"]

EXPECTED = "a Python file with a function that makes a torch model, such as model.py:make"
STATE = "a file of weights by name: safetensors, or what torch.save(model.state_dict(), FILE) wrote"
SHOWN = 4
"""Names that a message lists."""


def typed_subject(
    text: str, weights: Path | None, files: Sequence[Path], columns: Mapping[str, Any]
) -> TorchSubject:
    """Return a model with data to look at it on.

    Args:
        text: the file and its function.
        weights: the model's; None where the function gives them.
        files: the data.
        columns: which parts its columns have, as `Columns` has them.

    Raises:
        InputError: one of them cannot be used.
    """
    sequences = read_sequences(files, Columns.of(**columns), "read")
    model = _made(text)
    if weights is not None:
        _load(model, weights)
    subject = TorchSubject(Path(text.partition(".py")[0]).name, model, sequences)
    of = {"model": text, "weights": "as it makes them" if weights is None else weights.name}
    subject.origin = {**of, **subject.origin}
    return subject


def _made(text: str) -> nn.Module:
    """The model that a function of a file makes."""
    form = FORM.fullmatch(text)
    assert form is not None
    path, name = Path(form["file"]), form["name"]
    content = run_file(path, EXPECTED)
    if not name or name not in content:
        own = [n for n, v in content.items() if getattr(v, "__module__", None) == path.stem]
        raise InputError(
            f"no {name!r} in {str(path)!r}" if name else f"{str(path)!r} without a name",
            EXPECTED,
            f"{suggest(name or 'make', own)}it has {', '.join(own[:SHOWN]) or 'none'}",
        )
    found = content[name]
    try:
        made = found if isinstance(found, nn.Module) else found()
    except Exception as error:
        raise InputError(
            told_at(error, path), f"a function {name}() without arguments", "correct it"
        ) from None
    if not isinstance(made, nn.Module):
        raise InputError(
            f"{text} makes a {type(made).__name__}", "a torch.nn.Module", "return the model"
        )
    return made


def _load(model: nn.Module, path: Path) -> None:
    """Put saved weights into a model."""
    found, wanted = _tensors(path), model.state_dict()
    wrong = {
        "has no weights for": [n for n in wanted if n not in found],
        "has weights that the model has not": [n for n in found if n not in wanted],
        "has weights of another shape": [
            f"{n} {list(found[n].shape)} for {list(wanted[n].shape)}"
            for n in wanted
            if n in found and wanted[n].shape != found[n].shape
        ],
    }
    for what, names in wrong.items():
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            raise InputError(
                f"{str(path)!r} {what}: {', '.join(names[:SHOWN])}{more}",
                "the weights of the model that the file makes, by its names",
                "make it with the sizes that it was trained with",
            )
    model.load_state_dict(found)


def _tensors(path: Path) -> dict[str, Any]:
    """What a file of weights holds, by name; nothing in it is run."""
    try:
        with explained(path, STATE), path.open("rb"):
            pass
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        found = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception:  # whatever a damaged file, or one of something else, brings about
        found = None
    found = found.get("state_dict", found) if isinstance(found, Mapping) else found
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        mend = "save the model's state_dict, not the model"
        raise InputError(f"{str(path)!r} holds no weights by name", STATE, mend)
    return dict(found)
