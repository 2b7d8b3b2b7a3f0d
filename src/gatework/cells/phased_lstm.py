"""The LSTM whose units open in rhythms of their own (Neil, Pfeiffer & Liu 2016)."""

import math
from dataclasses import dataclass

from gatework.lang import cell, exp, floor, linear, observe, sigmoid, tanh, vector, where

GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class _Rhythms:
    """Where periods and shifts start: evenly over what the paper draws them from.

    A period is exp(U(log shortest, log longest)), a shift U(0, period). The units cover both, each
    the n-th part of the periods, their shifts by the golden ratio.
    """

    shortest: float
    longest: float

    def log_periods(self, n: int) -> list[float]:
        low, high = math.log(self.shortest), math.log(self.longest)
        return [low + (k + 0.5) / n * (high - low) for k in range(n)]

    def shifts(self, n: int) -> list[float]:
        periods = map(math.exp, self.log_periods(n))
        return [(0.5 + GOLDEN * k) % 1 * period for k, period in enumerate(periods)]


@cell
def phased_lstm(x, time, /, h, c, *, leak=0.001, shortest=1.0, longest=20.0):
    """Phased LSTM: a unit changes only in a phase of its own period (Neil et al. 2016, eq. 1-10).

    It reads the time of each step, on any clock: samples of sensors with different rates are steps
    of one sequence. Each unit learns its period exp(log_period), its shift and the share of the
    period in which it is open.

    Args:
        leak: How much a closed unit still changes, α; the paper takes 0 after training.
        shortest: The period that the fastest units start with, on the clock of the data. The paper
            has exp(U(0, 3)), 1 to 20 of its steps.
        longest: That of the slowest.
    """
    start = _Rhythms(shortest, longest)
    shift, log_period = vector("shift", start.shifts), vector("log_period", start.log_periods)
    turns = (time - shift) / exp(log_period)
    phase = turns - floor(turns)
    share = vector("open_share", 0.05)
    rising, falling = 2 * phase / share, 2 - 2 * phase / share
    opening = where(phase < share / 2, rising, where(phase < share, falling, leak * phase))
    k = observe("k", opening)
    i = sigmoid(linear("i", x, h) + vector("peephole_i") * c)
    f = sigmoid(linear("f", x, h) + vector("peephole_f") * c)
    g = tanh(linear("g", x, h))
    new = f * c + i * g
    o = sigmoid(linear("o", x, h) + vector("peephole_o") * new)
    return k * (o * tanh(new)) + (1 - k) * h, k * new + (1 - k) * c
