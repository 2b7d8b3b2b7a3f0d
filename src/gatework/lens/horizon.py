"""How far back a recurrent network remembers, measured.

T  time steps      B  sequences      I  input size      H  hidden size
t  the time looked back from         k  lag, steps back from t         K  longest lag
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatework.lens.measurement import Measurement, axes

__all__ = ["MemoryHorizon", "memory_horizon"]

Layer = Callable[[Tensor], tuple[Tensor, object]]
"""Maps inputs [T, B, I] to outputs [T, B, H] and a state."""

RESAMPLES = 400
"""Bootstrap resamples behind a band."""


@dataclass(frozen=True, eq=False)
class MemoryHorizon(Measurement):
    """Influence of the input k steps back on the output, sequence by sequence.

    Attributes:
        influence: float64 [sequences, K+1]; entry [n, k] estimates ‖∂h_t/∂x_{t−k}‖ in
            sequence n, in units of output per unit of input.
    """

    influence: NDArray[np.float64] = axes("sequence", "lag")

    @property
    def lags(self) -> NDArray[np.int64]:
        """The lags 0 … K, in time steps."""
        return np.arange(self.influence.shape[1])

    def mean(self) -> NDArray[np.float64]:
        """Return the mean influence at each lag as a share of that at lag 0, [K+1]."""
        return _normalised_mean(self.influence)

    def band(self, confidence: float = 0.95) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return where the mean would lie on other text of this kind: lower and upper, [K+1] each.

        Percentile bootstrap over the sequences (Efron & Tibshirani 1993, chapter 13).
        """
        outside = (1 - confidence) / 2
        low, high = np.quantile(self._resampled(), [outside, 1 - outside], axis=0)
        return low, high

    def reach(self, share: float = 0.01) -> int:
        """Return the first lag from which on the mean influence stays below `share` of lag 0.

        K+1 where it does not within the lags measured.
        """
        return _reach(self.mean(), share)

    def reach_band(self, share: float = 0.01, confidence: float = 0.95) -> tuple[int, int]:
        """Return the band of `reach`, from the same resamples as `band`."""
        outside = (1 - confidence) / 2
        reaches = [_reach(mean, share) for mean in self._resampled()]
        low, high = np.quantile(reaches, [outside, 1 - outside], method="nearest")
        return int(low), int(high)

    def _resampled(self) -> NDArray[np.float64]:
        """Return the mean of each bootstrap resample, [RESAMPLES, K+1]."""
        count = len(self.influence)
        draws = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
        return np.stack([_normalised_mean(self.influence[draw]) for draw in draws])


def memory_horizon(
    layer: Layer,
    batches: Iterable[Tensor],
    max_lag: int,
    *,
    probes: int = 4,
    seed: int = 0,
) -> MemoryHorizon:
    """Measure how strongly the output depends on the input k steps before it.

    At the last time t of each sequence, with J_k = ∂h_t/∂x_{t−k} [H, I] and the Frobenius norm:

        influence(k) = mean over sequences of ‖J_k‖

    which is the quantity whose decay makes learning long dependencies hard (Bengio, Simard &
    Frasconi 1994, section III; Pascanu, Mikolov & Bengio 2013, section 2). J_k has H · I
    entries for each lag and sequence, so its norm is estimated instead: for a vector v of
    independent signs ±1, E‖vᵀJ_k‖² = ‖J_k‖² (Hutchinson 1990), and one backward pass from v
    gives vᵀJ_k for all lags and sequences at once. Each sequence's estimate is the square root
    of the mean over `probes` such vectors. A square root of a mean is a little low: with four
    probes 6 % for a J_k of rank one, less for any other.

    Args:
        layer: a recurrent layer, or anything called like one: inputs [T, B, I] to
            (outputs [T, B, H], state), with no dependence between sequences.
        batches: inputs [T, B, I] with T > `max_lag`, on held-out data. The T − `max_lag` − 1
            first steps are not measured, they let the state settle. Read one by one.
        max_lag: K, in time steps.
        probes: random vectors per sequence.
        seed: of the random vectors.

    Returns:
        The influence for every sequence and lag.

    Raises:
        ValueError: a batch is too short, or there is none.

    Example:
        >>> layer = torch.nn.LSTM(8, 16)
        >>> horizon = memory_horizon(layer, [torch.randn(101, 32, 8)], max_lag=100)
        >>> horizon.reach(0.01) < 50  # untrained, it forgets soon
        True
    """
    generator = torch.Generator().manual_seed(seed)
    rows = [_influence(layer, batch, max_lag, probes, generator) for batch in batches]
    if not rows:
        raise ValueError("batches is empty; expected at least one tensor [T, B, I]")
    return MemoryHorizon(np.concatenate(rows))


def _influence(
    layer: Layer, inputs: Tensor, max_lag: int, probes: int, generator: torch.Generator
) -> NDArray[np.float64]:
    """Estimate ‖J_k‖ for each sequence of a batch, [B, K+1]."""
    if len(inputs) <= max_lag:
        raise ValueError(
            f"a batch has {len(inputs)} time steps; expected more than max_lag = {max_lag}; "
            "give longer sequences or a smaller max_lag"
        )
    batch = inputs.shape[1]
    inputs = inputs.detach().repeat(1, probes, 1).requires_grad_()  # [T, probes·B, I]
    outputs, _ = layer(inputs)
    last = outputs[-1]  # [probes·B, H]
    signs = torch.randint(2, last.shape, generator=generator).to(last) * 2 - 1
    (gradient,) = torch.autograd.grad(last, inputs, signs)  # [T, probes·B, I]: vᵀJ at each time
    squares = gradient.double().square().sum(2)  # [T, probes·B]
    mean_square = squares.view(-1, probes, batch).mean(1)  # [T, B]
    by_lag = mean_square.flip(0)[: max_lag + 1]  # [K+1, B]
    return by_lag.sqrt().T.numpy()


def _normalised_mean(influence: NDArray[np.float64]) -> NDArray[np.float64]:
    mean = influence.mean(0)
    return np.asarray(mean / mean[0])


def _reach(mean: NDArray[np.float64], share: float) -> int:
    above = np.flatnonzero(mean >= share)
    return int(above[-1]) + 1 if len(above) else 0
