"""A model that forecasts: layers over the past, a small network for each step ahead.

T  steps read      P  of them from which is forecast      B  windows      K  steps ahead
F  features      A  features known ahead      L  earlier values      Y  targets      Q  quantiles

Wen et al. 2017, "A Multi-Horizon Quantile Recurrent Forecaster": every step of the past forecasts,
the quantiles of all steps ahead at once. Here a forecast begins at the value of the season before
and what the last value was above its own, which fades, as in Taylor 2003, "Short-term electricity
demand forecasting using double seasonal exponential smoothing". The network corrects that.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatework.tasks.task import Batch, Loss, MakeLayer, SequenceModel

__all__ = ["Forecaster", "quantile_loss"]

WIDTH = 32
"""Units of the network for a step ahead."""
HIGHER = 1
"""Which of the earlier values is how much higher the last was than a season before."""


class Forecaster(SequenceModel):
    """Quantiles of the next K values of each target.

        c_{t,k} = W_k h_t + V a_{t+k} + U l_{t+k}
        q_{t,k} = w · l_{t+k} + exp(-r k / K) e_t + R relu(c_{t,k})

    with a what is known ahead, l earlier values of the targets and e, one of them, how much higher
    the last value was than a season before. R starts at 0, w with the value of the season alone.

    Args:
        features: F.
        ahead: A.
        earlier: L, for each target.
        targets: Y.
        horizon: K.
        quantiles: Q.
        layers: Makes the recurrent layers.
        dropout: Share of the layers' outputs that is dropped in training.
    """

    def __init__(
        self,
        features: int,
        ahead: int,
        earlier: int,
        targets: int,
        horizon: int,
        quantiles: int,
        layers: MakeLayer,
        dropout: float,
    ) -> None:
        super().__init__()
        self.shape = (horizon, targets, quantiles)
        self.layer = layers(features)
        self.dropout = nn.Dropout(dropout)
        self.past = nn.Linear(self.layer.output_size, horizon * WIDTH)
        self.known = nn.Linear(ahead + earlier * targets, WIDTH, bias=False)
        self.head = nn.Linear(WIDTH, targets * quantiles)
        self.begin = nn.Parameter(torch.zeros(targets, earlier))
        """Weights w of the earlier values; all on the last, that of the longest season."""
        self.fading = nn.Parameter(torch.zeros(targets)) if earlier > 1 else None
        """Logarithm of r, where there are seasons."""
        with torch.no_grad():
            self.begin[:, -1] = 1.0
            self.head.weight.zero_()
            self.head.bias.zero_()

    def encode(self, inputs: Tensor) -> Tensor:
        """Return the features as they are."""
        return inputs

    def example(self, steps: int, sequences: int) -> Batch:
        """Return features [T, B, F], and what is known of the steps ahead of the last."""
        horizon, targets, _ = self.shape
        earlier = self.begin.shape[1]
        known = self.known.in_features - earlier * targets
        more = {
            "ahead": torch.zeros(1, sequences, horizon, known),
            "earlier": torch.zeros(1, sequences, horizon, targets, earlier),
        }
        wanted = torch.zeros(1, sequences, horizon, targets)
        return Batch(torch.zeros(steps, sequences, self.layer.input_size), wanted, more=more)

    def predict(self, outputs: Tensor, *, lengths: Tensor | None = None, **more: Tensor) -> Tensor:
        """Return quantiles [P, B, K, Y, Q] in their order, from the last P steps.

        Args:
            outputs: [T, B, H].
            lengths: not used: windows have one length.
            more: `ahead` [P, B, K, A] and `earlier` [P, B, K, Y, L].
        """
        ahead, earlier = more["ahead"], more["earlier"]
        last = self.dropout(outputs[-ahead.shape[0] :])  # [P, B, H]
        horizon, targets, quantiles = self.shape
        past = self.past(last).unflatten(-1, (horizon, WIDTH))  # [P, B, K, WIDTH]
        known = torch.cat([ahead, earlier.flatten(-2)], dim=-1)
        found = self.head(torch.relu(past + self.known(known)))
        begin = (earlier * self.begin).sum(-1)  # [P, B, K, Y]
        if self.fading is not None:
            k = torch.arange(1, horizon + 1, device=earlier.device).unsqueeze(-1)
            begin = begin + torch.exp(-self.fading.exp() * k / horizon) * earlier[..., HIGHER]
        quantiles_of: Tensor = begin.unsqueeze(-1) + found.unflatten(-1, (targets, quantiles))
        return quantiles_of


def quantile_loss(found: Tensor, wanted: Tensor, levels: Tensor) -> Loss:
    """Return what quantiles [..., Y, Q] cost beside targets [..., Y] that are known, not NaN.

    Source: Koenker & Bassett 1978, equation 2.1, its mean over the quantiles.
    """
    known = ~wanted.isnan()
    apart = wanted.nan_to_num().unsqueeze(-1) - found
    each = torch.maximum(levels * apart, (levels - 1) * apart).mean(-1)
    return Loss((each * known).sum(), int(known.sum()))
