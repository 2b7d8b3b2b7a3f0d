"""Minion recurrent units (Neurocomputing 2026, doi 10.1016/j.neucom.2026.132847).

A GRU with gates replaced by numbers that are not learned.

Constants: `update` is λ, how much of the past is carried over; `reset` is θ, how much the candidate
sees of it.
"""

from gatework.lang import cell, linear, sigmoid, tanh


@cell
def miru1(x, h, *, update=0.5):
    """MiRU1: a reset gate and a constant update."""
    r = sigmoid(linear("r", x, h))
    n = tanh(linear("n", x, r * h, group="rh"))
    return update * h + (1 - update) * n


@cell
def miru2(x, h, *, update=0.5, reset=0.5):
    """MiRU2: both gates are constants, so one matrix product a step."""
    n = tanh(linear("n", x, reset * h, group="rh"))
    return update * h + (1 - update) * n
