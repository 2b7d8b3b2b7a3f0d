"""Trained models in Python."""

from __future__ import annotations

from pathlib import Path

from gatework.tasks.task import SequenceModel
from gatework.train.run import Run

__all__ = ["load"]


def load(run: str | Path, *, last: bool = False) -> SequenceModel:
    """Return the model of a run: a torch module in evaluation mode, like any other.

    Args:
        run: The folder that `gatework train` or `gatework.train_cell` left.
        last: Return the model that training ended with, not the one that did best on held-out
            data.

    Returns:
        The model; `model.layer` are its recurrent layers, `model.task` is what it has learned:
        how data is read, and what predictions mean.

    Raises:
        InputError: A ValueError: there is no run, or it is damaged.

    Example:
        >>> from pathlib import Path
        >>> import gatework as gw
        >>> _ = Path("notes.txt").write_text("What is written twice is learned once. " * 100)
        >>> run = gw.train_cell(gw.cells.gru, "notes.txt", hidden_size=16, steps=4)
        >>> model = gw.load(run.path)
        >>> model.task.unit, model.layer.hidden_size
        ('bits per byte', 16)
    """
    found = Run.open(Path(run))
    model = found.load_model(last=last).eval()
    model.task = found.task
    return model
