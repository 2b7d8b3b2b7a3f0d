"""What is shown of a text from elsewhere: all of it that can be read, nothing that is obeyed."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatework.cli.terminal import Terminal
from gatework.printable import brief, printable
from gatework.reports.page import page, paragraph, table

HOSTILE = "a\x1b]0;b\x07\x9b31m\u202ec\u2066\ud800\r\x00\u2028"


def test_every_control_character_is_written_out():
    for code in range(sys.maxunicode + 1):
        character = chr(code)
        kind = unicodedata.category(character)
        if kind in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in "\n\t\u200c\u200d":
            assert printable(character).startswith("\\"), hex(code)


@pytest.mark.parametrize(
    "text", ["", "a b\n\tc", "Ä ß", "中文　字", "मानक\u200d हिन्दी", "👩\u200d💻", "\u00a0"]
)
def test_what_people_write_stays_as_it_is(text):
    assert printable(text) == text


def test_a_console_prints_nothing_that_is_obeyed(capsys):
    from rich.table import Table

    console = Terminal()
    console.print(HOSTILE)
    shown = Table("column")
    shown.add_row(HOSTILE)
    console.print(shown)
    console.print("[red]:cat:[/red]")
    said = capsys.readouterr().out
    assert all(c.isprintable() or c in "\n\t" for c in said)
    assert said.count(r"a\x1b]0;b\x07\x9b31m\u202ec\u2066\ud800\r\x00\u2028") == 2
    assert "[red]:cat:[/red]" in said


def test_a_page_holds_nothing_that_turns_it_or_is_a_tag():
    shown = page(HOSTILE + "<b>", HOSTILE, [paragraph(HOSTILE), table([HOSTILE], [[HOSTILE]])])
    assert all(c.isprintable() or c in "\n\t" for c in shown)
    assert "<b>" not in shown


@given(st.recursive(st.integers() | st.text() | st.floats(), st.lists, max_leaves=50))
def test_a_value_is_told_briefly(value):
    assert len(brief(value)) < 1500


@pytest.mark.parametrize(
    "value", ["x" * 10**6, 10**100_000, b"x" * 10**6, [[]] * 10**5], ids=["str", "int", "b", "list"]
)
def test_a_large_value_is_told_briefly(value):
    assert len(brief(value)) < 100


def test_a_small_value_is_told_as_it_is():
    for value in (0, -3, 2.5, float("nan"), 2**63, "x", None, [1], {"a": 1}, (), True):
        assert brief(value) == repr(value)
