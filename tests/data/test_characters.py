"""Any bytes have labels that cover them exactly, and any text can be read in them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatework.data.characters import (
    TURNERS,
    characters_of,
    label_of_next,
    readable,
    unfinished,
)

SCRIPTS = {
    "Chinese": ("床前明月", [("床", 3), ("前", 3), ("明", 3), ("月", 3)]),
    "Japanese, its wide space": ("か゚\u3000な", [("か゚", 6), ("·", 3), ("な", 3)]),
    "Cyrillic and Greek": ("жλ", [("ж", 2), ("λ", 2)]),
    "Arabic": ("سلام", [("س", 2), ("ل", 2), ("ا", 2), ("م", 2)]),
    "Hebrew with points": ("שָׁל", [("שָׁ", 6), ("ל", 2)]),
    "Thai": ("ที่นี่", [("ที่", 9), ("นี่", 9)]),
    "Hindi": ("हिन्", [("हि", 6), ("न्", 6)]),
    "a letter and its accent": ("e\u0301x", [("e\u0301", 3), ("x", 1)]),
    "an accent without a letter": ("\n\u0301", [("↵", 1), ("◌\u0301", 2)]),
    "emoji": ("😀👍🏽", [("😀", 4), ("👍🏽", 8)]),
    "a family": ("👩\u200d👧\u200d👦", [("👩\u200d👧\u200d👦", 18)]),
    "flags": ("🇯🇵🇫🇷", [("🇯🇵", 8), ("🇫🇷", 8)]),
    "a heart, a keycap": ("❤\ufe0f1\ufe0f⃣", [("❤\ufe0f", 6), ("1\ufe0f⃣", 7)]),
    "Persian": ("می\u200cخ", [("م", 2), ("ی\u200c", 5), ("خ", 2)]),
    "line ends of Windows": ("a\r\n\tb", [("a", 1), ("0D", 1), ("↵", 1), ("→", 1), ("b", 1)]),
    "controls": ("\0\x1b\x7f\x85", [("00", 1), ("1B", 1), ("7F", 1), ("U+0085", 2)]),
    "what cannot be seen": ("\ufeff\u200b\u00a0", [("U+FEFF", 3), ("U+200B", 3), ("·", 2)]),
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_character_stands_over_its_bytes(script):
    text, expected = SCRIPTS[script]
    assert [(c.label, c.width) for c in characters_of(text.encode())] == expected


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("é für".encode("latin-1"), ["E9", "·", "f", "FC", "r"]),
        ("大".encode()[1:] + b"a", ["A4", "A7", "a"]),
        (b"\xf0\x9f\x98", ["F0", "9F", "98"]),
        (b"\xc0\xaf\xed\xa0\x80", ["C0", "AF", "ED", "A0", "80"]),
        (b"\xe5\xcc\x81", ["E5", "◌\u0301"]),
    ],
)
def test_bytes_of_no_character_stand_as_their_digits(text, labels):
    assert [c.label for c in characters_of(text)] == labels


ANY = st.binary(max_size=60) | st.text(max_size=30).map(
    lambda text: text.encode("utf-8", "surrogatepass")
)


@given(ANY, st.data())
def test_labels_cover_any_window_of_any_bytes_exactly(text, data):
    whole = characters_of(text)
    assert "".join(c.text for c in whole).encode("utf-8", "surrogateescape") == text
    first = data.draw(st.integers(0, len(text)))
    last = data.draw(st.integers(first, len(text)))
    found = characters_of(text, first, last)
    assert [c.first for c in found] == [sum(b.width for b in found[:k]) for k in range(len(found))]
    assert sum(c.width for c in found) == last - first
    assert all(c.width > 0 and c.label.strip() for c in found)
    assert not {unicodedata.category(s) for c in found for s in c.label} & {"Cc", "Cs", "Zl", "Zp"}
    owners = [c.text for c in whole for _ in range(c.width)]
    assert [c.text for c in found for _ in range(c.width)] == owners[first:last]


@given(st.binary(max_size=12), st.integers(0, 255))
def test_the_next_byte_is_the_character_that_it_ends(before, byte):
    label = label_of_next(before, byte)
    pending = unfinished(before)
    assert before.endswith(pending)
    try:
        ended = (pending + bytes([byte])).decode()
    except UnicodeDecodeError:
        ended = chr(byte) if byte < 128 else ""
    expected = characters_of(ended.encode())[-1].label if ended else f"{byte:02X}"
    assert label == expected


@pytest.mark.parametrize("script", SCRIPTS)
def test_only_the_last_byte_of_a_code_point_is_the_character(script):
    text = SCRIPTS[script][0]
    place = 0
    for c in text:
        *begun, last = c.encode()
        for byte in begun:
            assert label_of_next(text.encode()[:place], byte) == f"{byte:02X}"
            place += 1
        assert label_of_next(text.encode()[:place], last) == characters_of(c.encode())[0].label
        place += 1


PIECES = st.binary(max_size=5) | st.sampled_from(sorted(TURNERS)).map(str.encode)


@given(st.lists(PIECES, max_size=12))
def test_text_that_comes_in_pieces_cannot_steer_a_terminal(pieces):
    shown = "".join(readable(pieces))
    assert shown == "".join(readable([b"".join(pieces)]))
    for c in shown:
        assert c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs")
        assert c not in TURNERS


@pytest.mark.parametrize("script", sorted(set(SCRIPTS) - {"controls"}))
def test_text_is_printed_as_it_is(script):
    text = SCRIPTS[script][0]
    assert "".join(readable([text.encode()])) == text.replace("\r\n", "\n")


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_half_a_character_at_the_end_is_left_out(cut):
    assert "".join(readable(["好😀".encode()[:-cut]])) == "好"
    assert "".join(readable(["caf\xe9 au".encode("latin-1")])) == "caf� au"
