"""Times as people write them."""

from __future__ import annotations

import pytest
import typer

from gatework.cli.options import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5m", 90), ("2 min", 120), ("1H", 3600), ("0.5s", 0.5)],
)
def test_times_are_understood(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-3", "abc", "3d", "1.2.3", "nan", "inf", "1e999"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(typer.BadParameter, match="expected a time above 0"):
        parse_duration(text)
