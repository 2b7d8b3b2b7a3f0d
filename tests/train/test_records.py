"""Measurements: what is read is what was written, or a sentence."""

from __future__ import annotations

import json

import pytest

from gatework.errors import InputError
from gatework.train.records import Record, curve, read_records, to_line

GOOD = Record("train", 3, 96, 0.5, 0.25, 4.5, 0.01, 1.5)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("split", "test"),
        ("step", "3"),
        ("step", 2.5),
        ("step", -1),
        ("step", 10**400),
        ("bytes", None),
        ("bytes", True),
        ("seconds", "x"),
        ("seconds", float("nan")),
        ("progress", 1.5),
        ("bits_per_byte", "4"),
        ("bits_per_byte", float("inf")),
        ("bits_per_byte", 1e300),
        ("gradient_norm", [1]),
        ("learning_rate", float("nan")),
        ("new", 1),
    ],
)
def test_a_value_that_is_none_is_named(tmp_path, field, value):
    line = json.dumps({**json.loads(to_line(GOOD)), field: value})
    (tmp_path / "m").write_text(to_line(GOOD) + line + "\n")
    with pytest.raises(InputError, match=field):
        read_records(tmp_path / "m")


@pytest.mark.parametrize("line", [b"[" * 5000, b"\xff", b"\0", b"", b"3", b"null", b"9" * 9000])
def test_a_line_that_is_none_is_refused(tmp_path, line):
    (tmp_path / "m").write_bytes(line + b"\n")
    with pytest.raises(InputError, match="cannot be used"):
        read_records(tmp_path / "m")


@pytest.mark.parametrize("cut", [b"", b"{", b'{"split": "tr', b"\xff", b"[" * 9000])
def test_a_last_line_that_was_cut_short_is_passed_over(tmp_path, cut):
    (tmp_path / "m").write_bytes(to_line(GOOD).encode() + cut)
    assert read_records(tmp_path / "m") == [GOOD]


def test_a_curve_has_one_point_a_step_on_equally_much_text():
    records = [
        Record("valid", 1, 32, 1.0, 0.5, 5.0),
        Record("train", 2, 64, 1.5, 1.0, 4.0),
        Record("valid", 2, 64, 2.0, 1.0, 4.5),
        Record("valid", 2, 64, 2.0, 1.0, 4.4),  # on more text
    ]
    assert [r.cost for r in curve(records, "valid")] == [5.0, 4.5]
    assert [r.cost for r in curve(records, "train")] == [4.0]
