"""`gatework.doctor`: the classic mistakes that raise no error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from gatework.checkup import carrying, settings
from gatework.checkup.axes import axis_of_size, wrong_axes
from gatework.checkup.padding import padding_read
from gatework.checkup.porting import badly_ported
from gatework.checkup.reading import (
    last_of_both,
    mixed_rows,
    part_of_state,
    readings,
    reads_one_sequence,
)
from gatework.checkup.report import Finding, Report
from gatework.checkup.trial import Run, Trial
from gatework.checkup.weights import unseen_weights, untrained_weights

NOT_STEADY = (
    "the model's output differs from run to run, in eval mode and with the same random numbers of "
    "torch: whether it depends on padding was not looked at"
)


def doctor(
    model: nn.Module,
    batch: Any,
    *,
    lengths: Any = None,
    batch_dim: int | None = None,
    expected: Any = None,
    optimizer: Optimizer | None = None,
    call: Callable[[nn.Module, Any], Any] | None = None,
) -> Report:
    """Look for the classic mistakes with recurrent layers, of torch.nn or of gatework.

    The model is run on the batch a few dozen times, in eval mode, watched and changed at its
    recurrent layers; gradients of its output show what it reads. It is left as it was. A report
    without findings says that none of these mistakes was seen, no more.

    Args:
        model: A model with recurrent layers among its modules, or such a layer.
        batch: What it is given: a tensor, a tuple of arguments, a dict of keyword arguments; or a
            DataLoader, of which the first batch is taken.
        lengths: The steps of each sequence, when they are not in the batch.
        batch_dim: Which axis of the batch counts the examples. Without it a layer that runs over
            the batch is only found when lengths or the form of the output tell.
        expected: What the output should be, from the program that the weights come from.
        optimizer: The one that trains the model: does it hold the weights that the layers have?
        call: How the model is run on the batch, when not by `model(*batch)`, such as
            `lambda model, batch: model(batch[0])`.

    Raises:
        ValueError: If the model has no recurrent layer, or calls none.

    Example:
        >>> import torch, gatework as gw
        >>> layer = gw.nn.GRU(4, 8, num_layers=2)
        >>> gw.doctor(layer, torch.randn(6, 3, 4))
        looked at model: no mistake found
    """
    _check(model, batch_dim)
    loader = batch if isinstance(batch, DataLoader) else None
    trial = Trial(model, next(iter(batch)) if loader is not None else batch, call)
    first, second = carrying.two_calls(trial)
    if not first.visits:
        raise ValueError(
            f"{type(model).__name__} called none of its recurrent layers on this batch: "
            f"{', '.join(trial.layers)}; give a batch, or call=, with which it does"
        )
    stateful = carrying.carried(first, second)
    findings = [
        *carrying.hanging_state(first, second),
        *(f for n in stateful if loader is not None for f in carrying.shuffled(loader, n)),
        *settings.dropout_of_one_layer(trial.layers),
        *unseen_weights(first),
        *untrained_weights(trial, optimizer),
        *_what_is_read(trial, lengths, batch_dim),
        *badly_ported(trial, expected),
    ]
    notes = [
        *settings.notes_on_dropout(trial.layers),
        *map(carrying.note_on_carrying, stateful),
        *([] if trial.steady() else [NOT_STEADY]),
    ]
    findings.sort(key=lambda f: f.severity != "error")
    return Report(tuple(dict.fromkeys(findings)), tuple(notes), tuple(trial.layers))


def _check(model: Any, batch_dim: Any) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"the doctor looks at a torch.nn.Module, got {type(model).__name__}")
    if batch_dim not in (None, 0, 1):
        raise ValueError(f"batch_dim should be 0 or 1, or None when not known; got {batch_dim!r}")


def _what_is_read(trial: Trial, lengths: Any, batch_dim: int | None) -> Iterator[Finding]:
    base: Run = trial.run()
    found = readings(trial, base)
    if lengths is not None:
        known = axis_of_size(trial.batch, len(lengths))
        batch_dim = known if batch_dim is None else batch_dim
    swapped = list(
        wrong_axes(trial, base, batch_dim, lambda name: reads_one_sequence(found.get(name)))
    )
    yield from swapped
    wrong = {f.layer for f in swapped}
    for name, reading in found.items():
        if name not in wrong:  # else the rest follows from it
            yield from last_of_both(reading)
            yield from part_of_state(reading)
            yield from mixed_rows(reading)
            if trial.steady():
                yield from padding_read(trial, base, reading, lengths)
