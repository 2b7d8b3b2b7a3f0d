"""One model in training: a step at a time, all it needs to go on in one place."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from gatework.data import Corpus, Streams, Window
from gatework.errors import InputError
from gatework.nn import Carry
from gatework.train.config import RunConfig
from gatework.train.model import ALPHABET, LanguageModel, parameter_count

__all__ = ["Step", "Trainer", "learning_rate"]

WARM_UP = 0.02
"""Share of the budget in which the step size rises to its peak."""


@dataclass(frozen=True)
class Step:
    """What one training step measured."""

    bits_per_byte: float
    """Mean cost of a byte of the window, in bits, before the step."""
    gradient_norm: float
    """Euclidean length of the gradient of all parameters, before clipping."""
    learning_rate: float


class Trainer:
    """Truncated back-propagation through time with AdamW.

    The state at the end of a window is the beginning of the next one's; the gradient stops
    between them (Williams & Peng 1990).

    Args:
        config: the settings.
        corpus: the text; its training part is read in `config.batch_size` streams.

    Raises:
        InputError: the text is too short for these settings.

    Example:
        >>> corpus = Corpus.of("abc", train=b"abc" * 100, valid=b"abc" * 10)
        >>> trainer = Trainer(RunConfig.of(hidden_size=8, batch_size=2, window=16), corpus)
        >>> trainer.step(progress=0.5).bits_per_byte > 7
        True
    """

    def __init__(self, config: RunConfig, corpus: Corpus) -> None:
        self.config = config
        self.corpus = corpus
        self.streams = Streams(corpus.train, config.batch_size, config.window)
        torch.manual_seed(config.seed)
        with _fitting(config):
            self.model = LanguageModel(config)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), config.peak_rate, weight_decay=config.weight_decay, fused=True
        )
        self.carry = Carry(self.model)
        self.seconds = 0.0
        """Time spent so far on training and validation, also before an interruption."""

    @property
    def steps(self) -> int:
        """Steps taken so far."""
        return self.streams.position

    @property
    def bytes(self) -> int:
        """Bytes learned from so far."""
        return self.steps * self.config.batch_size * self.config.window

    def step(self, progress: float) -> Step:
        """Learn from the next window.

        Args:
            progress: share of the budget that is spent, 0 to 1; it sets the step size.

        Raises:
            InputError: the gradient is no longer finite. The weights are left as they were.
        """
        self._set_learning_rate(learning_rate(progress, self.config.peak_rate))
        with _fitting(self.config):
            loss = self._backward(self.streams.next())
            norm = self._clip_gradient()
            self.optimizer.step()
        return Step(loss / math.log(2), norm, self.optimizer.param_groups[0]["lr"])

    def _backward(self, window: Window) -> float:
        """Give every parameter its gradient; return the mean cost of a byte in nats."""
        if window.fresh:
            self.carry.reset()
        self.model.train()
        scores, _ = self.carry(window.inputs)
        loss = cross_entropy(scores.view(-1, ALPHABET), window.targets.reshape(-1))
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        return loss.item()

    def _set_learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _clip_gradient(self) -> float:
        norm: Tensor = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        if not norm.isfinite():
            raise InputError(
                f"training diverged at step {self.steps}: the gradient's norm is {norm.item()}",
                "finite gradients",
                f"train with a learning rate below {self.config.peak_rate}",
            )
        return norm.item()


@contextmanager
def _fitting(config: RunConfig) -> Iterator[None]:
    """Tell what to make smaller where the memory does not suffice."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch's allocator raises the former
        if isinstance(error, RuntimeError) and "alloc" not in str(error):
            raise
        raise InputError(
            f"a model of {parameter_count(config):,} parameters, in training on "
            f"{config.batch_size:,} streams of {config.window:,} bytes, does not fit into memory",
            "sizes that this machine can hold",
            "make hidden_size, embedding_size, layers, batch_size or window smaller",
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
