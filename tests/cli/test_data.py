"""`gatework data`: what it says of files, and what to write."""

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("polars")


@pytest.fixture
def loads() -> str:
    """Ten days of two sites, by the hour, some of which are missing."""
    hours = [k for k in range(240) if k not in (50, 51, 52)]
    rows = [
        f"{site},2026-01-{1 + k // 24:02} {k % 24:02}:00,{scale * np.sin(k / 24 * 2 * np.pi):.3f},"
        f"{'yes' if k < 24 else 'no'}"
        for site, scale in (("north", 1), ("south", 10))
        for k in hours
    ]
    Path("loads.csv").write_text("site,ds,y,holiday\n" + "\n".join(rows) + "\n")
    return "loads.csv"


def test_series_are_shown_with_their_gaps_and_a_curve(gatework, loads):
    result = gatework("data", loads, "--id", "site", "--future", "holiday", "--horizon", "6")
    assert (result.code, result.err) == (0, "")
    for line in (
        "task    forecast: predict how y goes on, from what was before",
        "file    loads.csv: 2 sequences of 240 rows, 480 rows together",
        "time    2026-01-01 to 2026-01-10 23:00:00, every hour",
        "note    6 rows missing in 2 gaps, the first after 2026-01-03 01:00:00 in 'north'; they "
        "are taken as unknown",
        "train   gatework train loads.csv --id site --future holiday --horizon 6",
    ):
        assert line in result.out.splitlines()
    for part in (
        "known ahead",
        "yes, no",
        "-10 to 10",
        "6 (1.2%)",
        "▀▄",
        "windows",
        "--target COL",
    ):
        assert part in result.out


def test_the_page_shows_what_is_said(gatework, loads):
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    command, shown = re.search(
        r"```sh\n(.*?)\n```\n\n```text\n(.*?)\n```", page, re.DOTALL
    ).groups()
    result = gatework(*command.split()[1:])
    assert [line.rstrip() for line in result.out.splitlines()] == shown.splitlines()


def test_what_it_says_to_write_can_be_written(gatework, loads):
    result = gatework("data", loads, "--id", "site", "--horizon", "6")
    (line,) = (line for line in result.out.splitlines() if line.startswith("train"))
    small = ["--steps", "2", "--hidden-size", "4", "--out", "run"]
    assert gatework(*line.split()[2:], *small).code == 0


def test_classes_are_counted(gatework):
    rows = [f"{k // 4},{k},{k % 7},{'up' if k < 40 else 'down'}" for k in range(80)]
    Path("watch.csv").write_text("id,t,x,label\n" + "\n".join(rows) + "\n")
    result = gatework("data", "watch.csv", "--time-column", "t")
    assert result.code == 0
    assert "task    classify: predict the class of each sequence, label" in result.out
    assert "class   up         10  ██████" in result.out
    assert "learn   18 sequences; 2 are held out" in result.out


def test_a_text_is_shown_by_its_beginning(gatework, text):
    result = gatework("data", text)
    assert result.code == 0
    assert "task    text" in result.out
    assert "        def f(x):" in result.out
    assert "train   gatework train text.py" in result.out


def test_what_cannot_be_learned_is_told_with_what_can_be_changed(gatework):
    Path("one.csv").write_text("id,x,label\na,1,up\na,2,up\nb,1,up\nb,2,up\n")
    result = gatework("data", "one.csv")
    assert result.code == 2
    assert "the one class 'up'" in result.err
    assert "--target COLUMN" in result.out
    result = gatework("data", "one.csv", "--target", "lable")
    assert (result.code, result.out) == (2, "")
    assert "did you mean 'label'?" in result.err
    assert "no such file" in gatework("data", "none.csv").err
