"""What files look like, where nobody says which task is meant."""

import numpy as np
import pytest

from gatework.data.columns import Columns
from gatework.errors import InputError
from gatework.tasks.guessing import guess, with_task

pytest.importorskip("polars")

LOOKS = {
    "forecast": [
        ("a.csv", "ds,y\n2020-01-01,1\n2020-01-02,2\n"),
        ("b.csv", "id,t,x,y\n" + "".join(f"{'ab'[k // 5]},{k},0,{k}\n" for k in range(10))),
        ("c.csv", "ds,y\n1,1\n2,1\n3,1\n"),
        ("d.jsonl", '{"x": 1, "y": 2.5}\n{"x": 1, "y": 3}\n'),
        ("e.jsonl", '{"id": "a", "y": [1, 2, 3]}\n{"id": "b", "y": [4, 5]}\n'),
    ],
    "classify": [
        ("f.csv", "id,t,x,label\na,0,1,up\na,1,1,up\nb,0,1,down\nb,1,1,down\n"),
        ("g.csv", "id,t,x,y\na,0,1,1\na,1,1,1\nb,0,1,2\nb,1,1,2\n"),
        ("h.jsonl", '{"x": [1, 2], "y": "walk"}\n{"x": [1], "y": "run"}\n'),
        ("i.ts", "@classLabel true a b\n@data\n1,2:a\n"),
    ],
    "regress": [
        ("j.csv", "id,t,x,y\na,0,1,1.5\na,1,1,1.5\nb,0,1,2\nb,1,1,2\n"),
        ("k.ts", "@targetLabel true\n@data\n1,2:0.5\n"),
    ],
    "tag": [
        ("l.csv", "x,y\n1,a\n2,b\n3,a\n"),
        ("m.csv", "id,x,y\na,1,a\na,2,b\nb,3,a\n"),
        ("n.jsonl", '{"x": [1, 2], "y": ["p", "q"]}\n'),
    ],
    "text": [("o.txt", "It was"), ("p", "It was"), ("q.py", "import this")],
}


@pytest.mark.parametrize(
    ("kind", "name", "content"),
    [(kind, *file) for kind, files in LOOKS.items() for file in files],
)
def test_a_file_looks_like_its_task(tmp_path, kind, name, content):
    (tmp_path / name).write_text(content)
    assert guess([tmp_path / name], Columns()) == kind


def test_arrays_look_like_their_labels(tmp_path):
    x, path = np.zeros((4, 2, 5)), tmp_path / "a.npz"
    for labels, kind in (
        (np.array(list("abab")), "classify"),
        (np.arange(4), "classify"),
        (np.arange(4) / 3, "regress"),
        (np.zeros((4, 5), int), "tag"),
    ):
        np.savez(path, X=x, y=labels)
        assert guess([path], Columns()) == kind
    np.savez(path, X=x)
    assert guess([path], Columns()) == "forecast"


def test_what_is_said_is_not_guessed(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("when,load,site\n1,1,a\n2,2,b\n")
    with pytest.raises(InputError, match="no column to predict"):
        with_task({"files": [path]})
    assert with_task({"files": [path], "target": ("load",)})["task"] == "forecast"
    assert with_task({"files": [path], "target": ("site",)})["task"] == "tag"
    assert with_task({"files": [path], "task": "text"})["task"] == "text"
    assert with_task({"files": [path, tmp_path / "b.txt"]})["task"] == "text"
    assert with_task({"steps": 3}) == {"steps": 3}
