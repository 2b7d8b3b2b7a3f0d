"""What the estimators train: plain modules, which take numbers as they come and scale them inside.

Legend: T steps, B sequences, F features, H the layer's output, N targets, Q quantiles.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gatework.nn import Recurrent

POOLINGS = ("last", "mean", "max")


class Scale(nn.Module):
    """Numbers less their mean, divided by their standard deviation; a missing one is 0 then.

    Args:
        rows: The numbers [n, F] of which mean and deviation are taken, NaN where one is missing.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, rows: NDArray[np.float64]) -> None:
        super().__init__()
        known = ~np.isnan(rows)
        count = np.maximum(known.sum(0), 1)
        mean = np.where(known, rows, 0).sum(0) / count
        deviation = np.sqrt((np.where(known, rows - mean, 0) ** 2).sum(0) / count)
        deviation[deviation <= 1e-12 * np.abs(mean)] = 1  # a constant, but for its last digits
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("deviation", torch.from_numpy(deviation))

    def forward(self, x: Tensor) -> Tensor:
        """Scaled numbers, in float32; NaN stays."""
        return ((x - self.mean) / self.deviation).float()

    def back(self, x: Tensor) -> Tensor:
        """What was scaled, in its own unit."""
        return x * self.deviation + self.mean


def with_mask(x: Tensor) -> Tensor:
    """Numbers with 0 in the place of NaN, and behind them 1 where there was a number."""
    known = ~x.isnan()
    return torch.cat([torch.where(known, x, 0.0), known.to(x.dtype)], -1)


class SequenceModel(nn.Module):
    """Some numbers for each sequence, whatever its length.

    Args:
        layer: The layers, which read the features; behind them a mask, where it has twice as many.
        scale: How features are scaled.
        outputs: How many numbers.
        pooling: The "last" output of each direction, the "mean" over the steps, or the "max".
        dropout: The share of what is pooled that is left out in training.
    """

    def __init__(
        self, layer: Recurrent, scale: Scale, outputs: int, pooling: str, dropout: float
    ) -> None:
        super().__init__()
        self.layer, self.scale, self.pooling = layer, scale, pooling
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(layer.output_size * layer.num_directions, outputs)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The numbers [B, outputs] of sequences [T, B, F] of some lengths [B]."""
        x = self.scale(x)
        masked = self.layer.input_size > x.shape[-1]
        y, _ = self.layer(with_mask(x) if masked else x.nan_to_num(0.0), lengths=lengths)
        pooled: Tensor = self.head(self.dropout(self._pooled(y, lengths)))
        return pooled

    def _pooled(self, y: Tensor, lengths: Tensor) -> Tensor:
        """The outputs [T, B, D * H] as [B, D * H]; past its end a sequence has zeros."""
        if self.pooling == "mean":
            return y.sum(0) / lengths[:, None]
        if self.pooling == "max":
            past = torch.arange(len(y), device=y.device)[:, None] >= lengths
            return y.masked_fill(past[:, :, None], -torch.inf).amax(0)
        last = y[lengths - 1, torch.arange(y.shape[1], device=y.device)]
        size = self.layer.output_size  # what runs backward ends at the first step
        return torch.cat([last[:, :size], y[0, :, size:]], -1)


class ForecastModel(nn.Module):
    """Quantiles of the next steps of series, read on from their past as if it went on unseen.

    What is to come is a series whose values are missing: the layer reads the steps of the past,
    then those of the future, of which it sees the covariates and a mask that says so.

    Args:
        layer: The layers, which read targets and covariates, each with a mask.
        targets: N.
        quantiles: Q.
    """

    def __init__(self, layer: Recurrent, targets: int, quantiles: int, dropout: float) -> None:
        super().__init__()
        self.layer, self.shape = layer, (targets, quantiles)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(layer.output_size, targets * quantiles)

    def forward(self, x: Tensor, horizon: int) -> Tensor:
        """Quantiles [horizon, B, N, Q] of scaled rows [T, B, F], NaN where one is not known."""
        y, _ = self.layer(with_mask(x))
        ahead: Tensor = self.head(self.dropout(y[-horizon:]))
        return ahead.reshape(*ahead.shape[:-1], *self.shape)
