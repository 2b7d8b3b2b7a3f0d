"""Rows tagged as they come: what whole sequences are tagged, whatever the cell reads."""

import numpy as np
import pytest

from gatework.errors import InputError
from gatework.tasks.labelling.tagging import Tagger
from gatework.train import RunConfig, Trainer

COLUMNS = "rec,t,x,place,age,sex,y"


def table(seed=0):
    """Four recordings with irregular times and values that are missing."""
    generator = np.random.default_rng(seed)
    rows = []
    for s in range(4):
        times = np.cumsum(generator.integers(1, 5, 4 + s))
        for time in times.tolist():
            x = "" if generator.random() < 0.3 else f"{generator.normal():.3f}"
            place, label = ["in", "out"][int(generator.integers(2))], "ud"[s % 2]
            rows.append(f"r{s},{time},{x},{place},{20 + s},{'fm'[s // 2]},{label}")
    return "\n".join([COLUMNS, *rows]) + "\n"


def rows_of(content):
    head, *lines = content.splitlines()
    for line in lines:
        row = dict(zip(head.split(","), line.split(","), strict=True))
        x = float(row["x"]) if row["x"] else None
        yield {**row, "x": x, "t": float(row["t"]), "age": float(row["age"])}


def trained(folder, **more):
    path = folder / "rows.csv"
    path.write_text(table())
    given = {"cell": "gru", "hidden_size": 6, "batch_size": 2, "id": "rec", "time": "t"}
    given |= {"ignore": () if "static" in more else ("sex",), **more}
    trainer = Trainer.of(RunConfig.of(task="tag", files=(path,), **given))
    trainer.step(0.5)
    return trainer.task, trainer.model, path


READ = {
    "plain": {},
    "gaps": {"gaps": True},
    "static": {"static": ("age", "sex")},
    "mask and gap": {"cell": "gru_d"},
    "times": {"cell": "phased_lstm"},
    "two layers": {"cell": "lstm", "layers": 2},
}


@pytest.mark.parametrize("name", READ)
def test_one_by_one_is_what_it_is_together(tmp_path, name):
    task, model, path = trained(tmp_path, **READ[name])
    together = {found.id: found for found in task.predict(model, task.read([path]))}
    tagger = Tagger(task, model)
    for row in sorted(rows_of(table()), key=lambda row: row["t"]):  # recordings take turns
        found, whole = tagger.tag(row), together[row["rec"]]
        np.testing.assert_allclose(found.chances, whole.chances[found.row - 1], atol=1e-5)
        assert found.label == whole.labels[found.row - 1]


def test_rows_without_a_name_are_one_sequence(tmp_path):
    task, model, _ = trained(tmp_path)
    tagger = Tagger(task, model)
    row = {"x": 1, "place": "never seen", "age": None}
    assert [tagger.tag(row)[:2] for _ in range(2)] == [("stream", 1), ("stream", 2)]


def test_layers_that_read_backward_are_refused(tmp_path):
    task, model, _ = trained(tmp_path, bidirectional=True)
    with pytest.raises(InputError, match="without --bidirectional"):
        Tagger(task, model)


WRONG = {
    "no such column": ([{"t": 1, "age": 1, "place": "in"}], "without 'x'"),
    "a text as a number": ([{"t": 1, "x": "cold", "age": 1, "place": "in"}], "'cold' in 'x'"),
    "no time": ([{"x": 1, "age": 1, "place": "in"}], "without 't'"),
    "a time of nothing": ([{"t": None, "x": 1, "age": 1, "place": "in"}], "a time in 't'"),
    "back in time": ([{"t": t, "x": 1, "age": 1, "place": "in"} for t in (2, 2)], "not after"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_row_that_does_not_fit_is_told(tmp_path, name):
    (*before, row), message = WRONG[name]
    task, model, _ = trained(tmp_path, gaps=True)
    tagger = Tagger(task, model)
    for one in before:
        tagger.tag(one)
    with pytest.raises(InputError, match=f"line 7.*{message}"):
        tagger.tag(row, "line 7")
