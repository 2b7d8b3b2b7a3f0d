"""Every kind of task from the command line: trained, measured, used."""

import io
import json

import numpy as np
import pytest

SMALL = [
    "--hidden-size",
    "8",
    "--batch-size",
    "4",
    "--steps",
    "6",
    "--cell",
    "gru",
    "--threads",
    "1",
]


def written(kind):
    generator = np.random.default_rng(0)
    if kind == "forecast":
        rows = [
            f"2024-01-{1 + t // 24:02} {t % 24:02}:00,{t % 24 + generator.normal():.3f}"
            for t in range(24 * 20)
        ]
        return "loads.csv", "ds,y\n" + "\n".join(rows) + "\n"
    rows = []
    for s in range(20):
        label = s % 2 if kind == "tag" else (s + 1) * 0.5 if kind == "regress" else "ab"[s % 2]
        rows += [f"s{s},{t},{generator.normal() + s % 2:.3f},{label}" for t in range(3 + s % 4)]
    return "table.csv", "unique_id,ds,x,y\n" + "\n".join(rows) + "\n"


@pytest.mark.parametrize("kind", ["forecast", "classify", "regress", "tag"])
def test_a_task_is_trained_measured_and_used(gatework, tmp_path, kind):
    name, content = written(kind)
    (tmp_path / name).write_text(content)
    trained = gatework("train", name, "--task", kind, *SMALL, "--out", "run")
    assert trained.code == 0, trained.err
    assert "without a model" in trained.out
    assert "<svg" in (tmp_path / "run" / "report.html").read_text()
    measured = gatework("evaluate", "run")
    assert measured.code == 0, measured.err
    assert "this model" in measured.out
    if kind == "forecast":
        return
    used = gatework("predict", "run", name, "--out", "labels.csv")
    assert used.code == 0, used.err
    header, *lines = (tmp_path / "labels.csv").read_text().splitlines()
    assert header.startswith("id,row,label" if kind == "tag" else "id,label")
    assert len(lines) == (content.count("\n") - 1 if kind == "tag" else 20)
    (tmp_path / name).rename(tmp_path / "moved.csv")  # what was learned from is needed no more
    measured = gatework("evaluate", "run", "moved.csv")
    assert (measured.code, "20 sequences of moved.csv" in measured.out) == (0, True), measured.err
    wrong = gatework("classify" if kind != "classify" else "tag", "run", name)
    assert (wrong.code, "gatework predict run" in wrong.err) == (2, True)


def test_rows_are_tagged_as_they_come(gatework, tmp_path, monkeypatch):
    name, content = written("tag")
    (tmp_path / name).write_text(content)
    assert gatework("train", name, "--task", "tag", *SMALL, "--out", "run").code == 0
    rows = "".join(json.dumps({"x": x}) + "\n" for x in (1.0, None, -2.0))
    monkeypatch.setattr("sys.stdin", io.StringIO(rows))
    tagged = gatework("tag", "run", "-")
    assert tagged.code == 0, tagged.err
    assert len(tagged.out.splitlines()) == 4
    monkeypatch.setattr("sys.stdin", io.StringIO('{"z": 1}\n'))
    wrong = gatework("tag", "run", "-")
    assert (wrong.code, "line 1 of standard input without 'x'" in wrong.err) == (2, True)


@pytest.mark.parametrize("kind", ["forecast", "classify", "tag"])
def test_a_run_goes_on(gatework, tmp_path, kind):
    name, content = written(kind)
    (tmp_path / name).write_text(content)
    assert gatework("train", name, "--task", kind, *SMALL, "--out", "run").code == 0
    more = gatework("train", "--resume", "run", "--steps", "9")
    assert more.code == 0, more.err
    assert "going on at step 6" in more.out


def test_a_run_is_repeated_from_its_settings(gatework, tmp_path):
    name, content = written("classify")
    (tmp_path / name).write_text(content)
    first = gatework("train", name, "--task", "classify", *SMALL, "--out", "first")
    again = gatework("train", "--config", "first", "--out", "again")
    assert (first.code, again.code) == (0, 0), again.err
    weights = [(tmp_path / run / "weights.safetensors").read_bytes() for run in ("first", "again")]
    assert weights[0] == weights[1]


WRONG = {
    "a comparison of too few": ("compare TABLE --task classify", "at least 64"),
    "an option of another task": ("train TABLE --task classify --horizon 3", "horizon = 3"),
    "no such task": ("train TABLE --task clasify", "did you mean 'classify'"),
    "no file": ("train --task classify", "no FILE for the task"),
    "no such column": ("train TABLE --task classify --target z", "--target z"),
    "both directions": ("train loads.csv --task forecast --bidirectional", "both directions"),
    "held-out files": ("train loads.csv --task forecast --held-out loads.csv", "--held-out"),
    "a text as a table": ("train notes.txt --task forecast", "for the task 'forecast'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_users_error_is_told(gatework, tmp_path, name):
    for kind in ("classify", "forecast"):
        file, content = written(kind)
        (tmp_path / file).write_text(content)
    (tmp_path / "notes.txt").write_text("some words\n" * 200)
    command, message = WRONG[name]
    small = SMALL if command.startswith("train") else SMALL[2:6]
    result = gatework(*command.replace("TABLE", "table.csv").split(), *small)
    assert result.code == 2
    assert message in result.err
    assert "Traceback" not in result.err
