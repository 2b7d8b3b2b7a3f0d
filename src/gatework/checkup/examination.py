"""`gatework.doctor`: the classic mistakes that raise no error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from gatework.checkup import carrying, settings
from gatework.checkup.axes import axis_of_size, wrong_axes
from gatework.checkup.finite import not_finite
from gatework.checkup.gradients import blocked_gradients
from gatework.checkup.padding import check_lengths, padding_read
from gatework.checkup.porting import badly_ported
from gatework.checkup.reading import (
    last_of_both,
    mixed_rows,
    part_of_state,
    readings,
    reads_one_sequence,
)
from gatework.checkup.report import Finding, Report
from gatework.checkup.trial import Run, Trial, same_chance
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
        TypeError: If it is no module, or cannot be run on the batch.
        ValueError: If the model has no recurrent layer, or calls none, or the batch is empty.

    Example:
        >>> import torch, gatework as gw
        >>> layer = gw.nn.GRU(4, 8, num_layers=2)
        >>> gw.doctor(layer, torch.randn(6, 3, 4))
        looked at the model: no mistake found
    """
    _check(model, batch_dim, lengths, expected, optimizer, call)
    with same_chance():
        loader = batch if isinstance(batch, DataLoader) else None
        trial = Trial(model, batch if loader is None else _first(loader), call)
        return _examined(trial, loader, lengths, batch_dim, expected, optimizer)


def _examined(
    trial: Trial,
    loader: DataLoader[Any] | None,
    lengths: Any,
    batch_dim: int | None,
    expected: Any,
    optimizer: Optimizer | None,
) -> Report:
    first, second = carrying.two_calls(trial)
    _check_visits(trial, first)
    check_lengths(trial.batch, first, lengths)
    stateful = carrying.carried(first, second)
    findings = [
        *carrying.hanging_state(first, second),
        *(f for n in stateful if loader is not None for f in carrying.shuffled(loader, n)),
        *settings.dropout_of_one_layer(trial.layers),
        *untrained_weights(trial, optimizer),
    ]
    notes = [*settings.notes_on_dropout(trial.layers), *map(carrying.note_on_carrying, stateful)]
    broken = list(not_finite(trial, first))
    if broken:
        findings += broken
    else:
        findings += unseen_weights(trial, first)
        findings += blocked_gradients(trial, first)
        findings += _what_is_read(trial, lengths, batch_dim)
        findings += badly_ported(trial, expected)
        notes += [] if trial.steady() else [NOT_STEADY]
    findings.sort(key=lambda f: f.severity != "error")
    return Report(tuple(dict.fromkeys(findings)), tuple(notes), tuple(trial.layers))


def _first(loader: DataLoader[Any]) -> Any:
    for batch in loader:
        return batch
    raise ValueError("the DataLoader has no batch; give one that has")


def _check_visits(trial: Trial, run: Run) -> None:
    """Raise unless layers were called, on something."""
    if not run.visits:
        raise ValueError(
            f"{type(trial.model).__name__} called none of its recurrent layers on this batch: "
            f"{', '.join(trial.layers)}; give a batch, or call=, with which it does"
        )
    if not any(v.rows.numel() for v in run.visits.values()):
        shapes = ", ".join(f"{n}: {list(v.rows.shape)}" for n, v in run.visits.items())
        raise ValueError(f"the batch has no sequences, or no steps ({shapes}); give one that has")


def _check(
    model: Any, batch_dim: Any, lengths: Any, expected: Any, optimizer: Any, call: Any
) -> None:
    if not isinstance(model, nn.Module):
        hint = "; give an object of the class" if isinstance(model, type) else ""
        raise TypeError(f"the doctor looks at a torch.nn.Module, got {_kind(model)}{hint}")
    if batch_dim not in (None, 0, 1):
        raise ValueError(f"batch_dim should be 0 or 1, or None when not known; got {batch_dim!r}")
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer should be a torch.optim.Optimizer, got {_kind(optimizer)}")
    if call is not None and not callable(call):
        raise TypeError(
            f"call should be a function of the model and the batch, got {_kind(call)}; such as "
            "lambda model, batch: model(batch[0])"
        )
    if lengths is not None:
        steps = _check_numbers("lengths", lengths, "one whole number for each sequence")
        if steps.dim() != 1 or steps.is_floating_point() or steps.lt(0).any():
            raise ValueError(
                "lengths should be whole numbers from 0, one for each sequence; got "
                f"{steps.dtype} of shape {list(steps.shape)}"
            )
    if expected is not None:
        wanted = _check_numbers("expected", expected, "what the output should be, as numbers")
        if not bool(wanted.isfinite().all()):
            raise ValueError("expected has values that are not finite; nothing can equal them")


def _check_numbers(name: str, value: Any, what: str) -> Tensor:
    try:
        return torch.as_tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} should be {what}; got {_kind(value)} ({error})") from None


def _kind(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else type(value).__name__


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
