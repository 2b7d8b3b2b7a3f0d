"""The one training loop of all estimators."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gatework.errors import InputError

CLIP, WARM_UP = 1.0, 0.1
"""The largest norm of a gradient; the share of all steps in which the rate rises."""


def train(
    estimator: Any,
    model: nn.Module,
    next_batch: Callable[[], Any],
    steps: int,
    loss: Callable[[Any], Tensor],
    held_out: Sequence[Any],
) -> None:
    """Train a model in place, and note the losses on the estimator.

    Args:
        estimator: Whose settings these are; `n_iter_`, `loss_curve_` and `validation_curve_` are
            set on it.
        model: What is trained.
        next_batch: Gives the next batch, without end.
        steps: How many are an epoch.
        loss: The mean loss of a batch.
        held_out: Batches on which the best weights are chosen; none without early stopping.
    """
    epochs = estimator.max_epochs
    optimizer = torch.optim.AdamW(model.parameters(), estimator.learning_rate)
    schedule = _schedule(optimizer, epochs * steps)
    estimator.loss_curve_, estimator.validation_curve_ = curve, valid = [], []
    best: dict[str, Tensor] | None = None
    for _ in range(epochs):
        batches = (next_batch() for _ in range(steps))
        curve.append(_epoch(model, batches, loss, optimizer, schedule))
        if held_out:
            valid.append(_mean_loss(model, held_out, loss))
            if valid[-1] == min(valid):
                best = copy.deepcopy(model.state_dict())
            if len(valid) - valid.index(min(valid)) > estimator.n_iter_no_change:
                break
    if best is not None:
        model.load_state_dict(best)
    estimator.n_iter_ = len(curve)
    model.eval()


def _schedule(optimizer: Any, steps: int) -> Any:
    """A rate that rises evenly in the first tenth of the steps, and falls to 0 as a cosine."""
    warm = max(1, int(WARM_UP * steps))

    def share(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 + 0.5 * math.cos(math.pi * min(1.0, (step - warm) / max(1, steps - warm)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)


def _epoch(
    model: nn.Module,
    batches: Iterable[Any],
    loss: Callable[[Any], Tensor],
    optimizer: Any,
    schedule: Any,
) -> float:
    model.train()
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        value = loss(batch)
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        losses.append(value.item())
    mean = float(np.mean(losses))
    if not math.isfinite(mean):
        raise InputError(
            f"training diverged: the loss is {mean}",
            "finite predictions",
            "give a lower learning_rate=",
        )
    return mean


def _mean_loss(model: nn.Module, batches: Iterable[Any], loss: Callable[[Any], Tensor]) -> float:
    model.eval()
    with torch.no_grad():
        return float(np.mean([loss(batch).item() for batch in batches]))


def by_length(lengths: Any, size: int) -> list[Any]:
    """The numbers of sequences in batches of like length."""
    order = np.argsort(lengths, kind="stable")
    return [order[k : k + size] for k in range(0, len(order), size)]


@contextmanager
def on_device(model: nn.Module, device: str) -> Iterator[None]:
    """A model on a device for a while, afterwards on the CPU, to be pickled for any machine."""
    model.to(device)
    try:
        yield
    finally:
        model.cpu()
