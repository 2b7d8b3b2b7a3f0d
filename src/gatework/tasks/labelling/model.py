"""A model that labels sequences, or each of their steps.

T  time steps      B  sequences      F  features      H  size of the layers' outputs      K  scores
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gatework.tasks.task import Batch, MakeLayer, SequenceModel

__all__ = ["Labeller"]


class Labeller(SequenceModel):
    """Layers over all steps, then a linear head on what they gave.

    Args:
        features: F.
        static: Numbers that hold for a whole sequence, which the head reads too.
        scores: K.
        pool: "last", "mean" or "max" of the outputs; None for scores of every step.
        noise: Deviation of noise that is added to the inputs in training.
        layers: Makes the recurrent layers.
        dropout: Share of what the head reads that is dropped in training.
    """

    def __init__(
        self,
        features: int,
        static: int,
        scores: int,
        pool: str | None,
        noise: float,
        layers: MakeLayer,
        dropout: float,
    ) -> None:
        super().__init__()
        self.noise = noise
        self.pool = pool
        self.static = static
        self.layer = layers(features)
        self.dropout = nn.Dropout(dropout)
        size = self.layer.output_size * self.layer.num_directions
        self.head = nn.Linear(size + static, scores)

    def encode(self, inputs: Tensor) -> Tensor:
        """Return the features as they are, with noise in training."""
        if self.training and self.noise:
            return inputs + self.noise * torch.randn_like(inputs)
        return inputs

    def example(self, steps: int, sequences: int) -> Batch:
        """Return features [T, B, F] with their lengths, and what stands beside them."""
        sizes = self.layer.sizes(0)
        more = {
            row.name: torch.zeros(steps, sequences, sizes[row.size])
            for row in self.layer.cell.further
        }
        if self.static:
            more["static"] = torch.zeros(sequences, self.static)
        inputs = torch.zeros(steps, sequences, self.layer.input_size)
        lengths = torch.full((sequences,), steps)
        return Batch(inputs, torch.zeros(sequences), lengths, more=more)

    @property
    def streams(self) -> bool:
        """Whether it labels each step, and its layers read forward."""
        return self.pool is None and self.layer.num_directions == 1

    def predict(self, outputs: Tensor, *, lengths: Tensor | None = None, **more: Tensor) -> Tensor:
        """Return scores [B, K], or [T, B, K] of every step.

        Args:
            outputs: [T, B, H].
            lengths: int64 [B]; None where all have T steps.
            more: `static` [B, numbers], if there are some.
        """
        read = outputs if self.pool is None else self._pooled(outputs, lengths)
        return self._scores(read, more)

    def so_far(self, outputs: Tensor, before: Any = None, **more: Tensor) -> tuple[Tensor, Any]:
        """Return scores [T, B, K] after each step, as if its sequence ended there.

        Layers that read backward too have seen the end: of those, scores of the whole at each step.
        """
        if self.pool is None:
            return self.predict(outputs, **more), None
        if self.layer.num_directions > 1:
            whole = self.predict(outputs, **more)
            return whole.expand(len(outputs), *whole.shape), None
        read, left = SO_FAR[self.pool](outputs, before)
        return self._scores(read, more), left

    def _scores(self, read: Tensor, more: Mapping[str, Tensor]) -> Tensor:
        """Scores [..., K] of what was read [..., H]."""
        if "static" in more:
            static = more["static"]
            read = torch.cat([read, static.expand(*read.shape[:-1], -1)], dim=-1)
        scores: Tensor = self.head(self.dropout(read))
        return scores

    def _pooled(self, outputs: Tensor, lengths: Tensor | None) -> Tensor:
        """Outputs [T, B, H] as one row for each sequence, [B, H]."""
        steps, count, _ = outputs.shape
        if lengths is None:
            lengths = torch.full((count,), steps)
        lengths = lengths.to(outputs.device)
        return POOLS[str(self.pool)](outputs, lengths, self.layer.num_directions)


def _last(outputs: Tensor, lengths: Tensor, directions: int) -> Tensor:
    """Where each direction has read all: the last step, and the first of the backward one."""
    at = (lengths - 1).clamp(min=0).view(1, -1, 1).expand(1, -1, outputs.shape[2])
    last = outputs.gather(0, at)[0]
    if directions == 1:
        return last
    half = outputs.shape[2] // 2
    return torch.cat([last[:, :half], outputs[0, :, half:]], dim=1)


def _mean(outputs: Tensor, lengths: Tensor, directions: int) -> Tensor:
    """Past a sequence's end its outputs are 0."""
    return outputs.sum(0) / lengths.clamp(min=1).unsqueeze(1)


def _max(outputs: Tensor, lengths: Tensor, directions: int) -> Tensor:
    steps = torch.arange(len(outputs), device=outputs.device)
    past = (steps.unsqueeze(1) >= lengths).unsqueeze(2)
    return outputs.masked_fill(past, -torch.inf).amax(0).nan_to_num(neginf=0.0)


POOLS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "last": _last,
    "mean": _mean,
    "max": _max,
}


def _mean_so_far(outputs: Tensor, before: tuple[Tensor, int] | None) -> tuple[Tensor, Any]:
    total, count = before or (torch.zeros_like(outputs[0]), 0)
    sums = outputs.cumsum(0) + total
    counts = torch.arange(count + 1, count + 1 + len(outputs), device=outputs.device)
    return sums / counts.view(-1, 1, 1), (sums[-1], count + len(outputs))


def _max_so_far(outputs: Tensor, before: Tensor | None) -> tuple[Tensor, Any]:
    read = outputs.cummax(0).values
    read = read if before is None else torch.maximum(read, before)
    return read, read[-1]


SO_FAR: dict[str, Callable[[Tensor, Any], tuple[Tensor, Any]]] = {
    "last": lambda outputs, before: (outputs, None),
    "mean": _mean_so_far,
    "max": _max_so_far,
}
"""`POOLS` of every beginning of sequences whose steps come some at a time."""
