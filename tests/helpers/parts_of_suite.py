"""Which cases of a test run in the fast part of the suite, and which in the slow one."""

from collections.abc import Iterable

import pytest

FEW = {
    "rnn", "lstm", "gru", "gru_reset_before", "peephole_lstm", "projected_lstm", "layer_norm_lstm",
    "slstm_heads", "gated_delta_net", "s6", "gru_d", "lif", "stack_rnn", "fast_weights",
}  # fmt: skip
"""Cells of all kinds, for tests that go through the whole catalogue."""


def in_turn(names: Iterable[str]) -> list[tuple[str, bool]]:
    """Each name with one of two values: both are tried, each on half of the names.

    For a question whose answer does not hang on both at once.

    Example:
        >>> in_turn(["gru", "nas", "rnn"])
        [('gru', False), ('nas', True), ('rnn', False)]
    """
    return [(name, k % 2 == 1) for k, name in enumerate(names)]


def mostly_slow(names: Iterable[str], few: Iterable[str] = FEW) -> list[object]:
    """The names as parameters of a test: all but a few in the slow part.

    Example:
        >>> [len(p.marks) for p in mostly_slow(["gru", "nas"])]
        [0, 1]
    """
    slow = [pytest.mark.slow]
    return [pytest.param(name, marks=[] if name in few else slow) for name in names]
