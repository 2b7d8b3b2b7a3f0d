"""One model in training: a step at a time, all it needs to go on in one place."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gatework.errors import InputError
from gatework.nn import Carry
from gatework.tasks import Source, Task, task_class
from gatework.tasks.task import Batch, Loss
from gatework.train.config import RunConfig
from gatework.train.models import make_model, parameter_count
from gatework.train.ranks import ALONE, Ranks

__all__ = ["Diverged", "Step", "Trainer", "learning_rate"]

WARM_UP = 0.02
"""Share of the budget in which the step size rises to its peak."""


class Diverged(InputError):
    """Training has come to numbers that are none, since its steps are too large."""


@dataclass(frozen=True)
class Step:
    """What one training step measured."""

    cost: float
    """Mean cost of what was predicted, in the task's unit, before the step."""
    gradient_norm: float
    """Euclidean length of the gradient of all parameters, before clipping."""
    learning_rate: float


class Trainer:
    """Back-propagation through time with AdamW, whatever the task.

    Where the task carries states, that at the end of a batch is the beginning of the next one's;
    the gradient stops between them (Williams & Peng 1990).

    Args:
        config: the settings.
        task: what is learned.
        source: from what.
        ranks: the processes that train together; without them, this one alone.

    Raises:
        InputError: there is too little to learn from for these settings.

    Example:
        >>> from gatework.data import Corpus
        >>> config = RunConfig.of(hidden_size=8, batch_size=2, window=16)
        >>> corpus = Corpus.of("abc", train=b"abc" * 100, valid=b"abc" * 10)
        >>> trainer = Trainer(config, task_class("text")(config.task, {}), corpus)
        >>> trainer.step(progress=0.5).cost > 7
        True
    """

    def __init__(self, config: RunConfig, task: Task, source: Source, ranks: Ranks = ALONE) -> None:
        self.ranks = ranks
        self.config = config
        self.task = task
        self.source = source
        self.batches = task.batches(
            source,
            batch_size=config.batch_size,
            window=config.window,
            seed=config.seed,
            part=ranks.part,
        )
        torch.manual_seed(config.seed)
        with _fitting(config, task):
            self.model = make_model(config, task).to(config.device)
        if ranks.count > 1:  # each drops other units
            torch.manual_seed(config.seed + ranks.rank)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), config.peak_rate, weight_decay=config.weight_decay, fused=True
        )
        self.carry = Carry(self.model)
        self.seconds = 0.0
        """Time spent so far on training and validation, also before an interruption."""

    @classmethod
    def of(cls, config: RunConfig, ranks: Ranks = ALONE) -> Trainer:
        """Return a trainer on the files that the settings name.

        Raises:
            InputError: one of them cannot be used, or there is too little in them.
        """
        return cls(config, *task_class(config.task.kind).load(config.task, config.files), ranks)

    def first_batch(self) -> Batch:
        """Return the batch that the run began with; the next step and random numbers stay."""
        with torch.random.fork_rng(devices=[]):
            batches = self.task.batches(
                self.source,
                batch_size=self.config.batch_size,
                window=self.config.window,
                seed=self.config.seed,
            )
            return _on(self.config.device, batches.next())

    @property
    def steps(self) -> int:
        """Steps taken so far."""
        return self.batches.position

    @property
    def seen(self) -> int:
        """How much was learned from so far, in what the task counts."""
        return self.batches.seen

    def step(self, progress: float) -> Step:
        """Learn from the next batch.

        Args:
            progress: share of the budget that is spent, 0 to 1; it sets the step size.

        Raises:
            Diverged: the gradient is no longer finite. The weights are left as they were.
        """
        return self.step_of(learning_rate(progress, self.config.peak_rate))

    def step_of(self, rate: float) -> Step:
        """Learn from the next batch, by a step of this size.

        Raises:
            Diverged: as `step`.
        """
        self._set_learning_rate(rate)
        with _fitting(self.config, self.task):
            mean = self._backward(self.batches.next())
            norm = self._clip_gradient()
            self.optimizer.step()
        return Step(self.task.cost(mean), norm, rate)

    def _backward(self, batch: Batch) -> float:
        """Give every parameter its gradient; return the mean loss."""
        if batch.fresh:
            self.carry.reset()
        self.model.train()
        loss = self._loss(batch)
        self.optimizer.zero_grad()
        if self.ranks.count > 1:
            return self._backward_together(loss)
        mean = loss.total / max(1, loss.terms)
        torch.autograd.backward(mean)
        return mean.item()

    def _backward_together(self, loss: Loss) -> float:
        """Give every parameter the gradient of the mean over the parts of all processes."""
        torch.autograd.backward(loss.total)
        total = loss.total.detach()
        terms = torch.full_like(total, loss.terms)
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        self.ranks.add_up([total, terms, *gradients])
        for gradient in gradients:
            gradient /= terms.clamp(min=1)
        return (total / terms.clamp(min=1)).item()

    def _loss(self, batch: Batch) -> Loss:
        batch = _on(self.config.device, batch)
        half = self.config.precision == "bfloat16"
        with torch.autocast(torch.device(self.config.device).type, torch.bfloat16, enabled=half):
            predictions, _ = self.carry(batch.inputs, lengths=batch.lengths, **batch.more)
        return self.task.loss(predictions.float(), batch)

    def _set_learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _clip_gradient(self) -> float:
        norm: Tensor = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        if not norm.isfinite():
            raise Diverged(
                f"training diverged at step {self.steps}: the gradient's norm is {norm.item()}",
                "finite gradients",
                f"train with a learning rate below {self.config.peak_rate}",
            )
        return norm.item()


def _on(device: str, batch: Batch) -> Batch:
    """The batch on a device; lengths stay where they are read, on the processor."""
    if device == "cpu":
        return batch
    more: dict[str, Any] = {name: value.to(device) for name, value in batch.more.items()}
    return batch._replace(
        inputs=batch.inputs.to(device), targets=batch.targets.to(device), more=more
    )


@contextmanager
def _fitting(config: RunConfig, task: Task) -> Iterator[None]:
    """Tell what to make smaller where the memory does not suffice."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch's allocator raises the former
        if isinstance(error, RuntimeError) and "alloc" not in str(error):
            raise
        raise InputError(
            f"a model of {parameter_count(config, task):,} parameters, in training on "
            f"{config.batch_size:,} sequences of {config.window:,} {task.counted}, does not fit "
            "into memory",
            "sizes that this machine can hold",
            "make hidden_size, layers, batch_size or window smaller",
        ) from error


def learning_rate(progress: float, peak: float) -> float:
    """Return the step size at a share of the budget: a short rise, then half a cosine to 2 %.

    Source: Loshchilov & Hutter 2017, "SGDR", equation 5, one period, with a linear rise before.

    Example:
        >>> learning_rate(1.0, peak=1.0)
        0.02
    """
    if progress < WARM_UP:
        return peak * (0.1 + 0.9 * progress / WARM_UP)
    falling = (progress - WARM_UP) / (1 - WARM_UP)
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * falling)))
