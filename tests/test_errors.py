"""A user's error says what came, what was expected, and how to mend it."""

from __future__ import annotations

import pytest

from gatework.errors import InputError, suggest


def test_the_message_has_three_parts():
    error = InputError("a", "b", "c")
    assert str(error) == "a\n  expected: b\n  to mend:  c"
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("lsmt", "did you mean 'lstm'? "),
        ("gur", "did you mean 'gru'? "),
        ("GRU", "did you mean 'gru'? "),
        ("transformer", ""),
    ],
)
def test_the_near_name_is_suggested(name, suggestion):
    assert suggest(name, ["rnn", "lstm", "sgu", "gru"]) == suggestion
