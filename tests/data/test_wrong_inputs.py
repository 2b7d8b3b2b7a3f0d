"""Files that cannot be used, and what a newcomer is told: what came, and how to mend it.

Each line of a table is a file's content, what is asked, and words that the message must have.
"""

import gzip
from pathlib import Path

import numpy as np
import pytest

from gatework.data.columns import Columns
from gatework.data.reading import read_sequences
from gatework.errors import InputError

pytest.importorskip("polars")

LATIN = "ds,y,stadt\n2020-01-01,1,köln\n".encode("latin1")
MANY = "\n".join(f"{k},t{k}" for k in range(1100))
LATE = "ds,y\n" + "".join(f"{k},{k}\n" for k in range(10_050)) + "10050,abc\n"
TABLES = {
    # columns
    "no target": ("date,load\n2020-01-01,1\n", {}, "'date', 'load'", "--target load"),
    "misspelt": ("ds,load\n1,1\n2,2\n", {"target": ("laod",)}, "no such column", "mean 'load'"),
    "misspelt id": ("ds,y,site\n1,1,a\n", {"id": "sight"}, "--id sight", "mean 'site'"),
    "two of a name": ("ds,y,y\n1,1,2\n", {}, "two columns called 'y'", "rename"),
    "no names": ("2020-01-01,1\n2020-01-02,2\n", {}, "first line", "a,b"),
    "more values": ("ds,y\n1,1\n2,2,5\n", {}, "more columns", "quotes"),
    "only names": ("ds,y\n", {}, "no row", "check the file"),
    "empty": ("", {}, "is empty", "content"),
    "blank": ("\n\n", {}, "cannot be read as a table", "--task text"),
    # values
    "text in numbers": (
        "ds,y\n1,1\n2,abc\n3,3\n4,4\n",
        {},
        "'abc' in column 'y' in row 2",
        "--ignore y",
    ),
    "late text": (LATE, {}, "'abc' in column 'y'", "--ignore y"),
    "texts to forecast": ("ds,y\n1,up\n2,down\n", {}, "texts in 'y'", "--task tag"),
    "nothing to forecast": ("ds,y\n1,\n2,\n", {}, "no value in 'y'", "--target"),
    "thousands": ('ds,y\n1,"1,000"\n2,"2,000"\n', {}, "'1,000' in column 'y'", "correct it"),
    "infinite": ("ds,y\n1,1\n2,inf\n", {}, "infinite number in column 'y' in row 2", "correct it"),
    "too many texts": (f"y,x\n{MANY}\n", {}, "different texts in 'x'", "--ignore x"),
    "latin1": (LATIN, {}, "not UTF-8", "iconv -f LATIN1"),
    "utf16": ("ds,y\n1,2\n".encode("utf-16"), {}, "UTF-16", "iconv -f UTF-16"),
    "binary": (bytes(range(256)) * 9, {}, "binary", "name another"),
    "prose": (
        "It was the best of times,\nit was the worst,\n",
        {},
        "no column to predict",
        "--task text",
    ),
    # times
    "twice": ("ds,y\n2020-01-01,1\n2020-01-01,2\n", {}, "twice in column 'ds': 2020-01-01", "--id"),
    "twice in one": ("unique_id,ds,y\na,1,1\nb,1,2\nb,1,3\n", {}, "1 in 'b'", "remove one"),
    "no time": ("ds,y\n2020-01-01,1\n,2\n", {}, "nothing in column 'ds' in row 2", "fill it in"),
    "bad time": ("ds,y\n2020-01-01,1\nmonday,2\n2020-01-03,3\n", {}, "'monday'", "one form"),
    "far apart": (
        "ds,y\n1,1\n2,2\n3,3\n9000,4\n",
        {},
        "8,996 rows are missing",
        "check the column",
    ),
    "one row": ("ds,y\n1,1\n", {}, "single row", "name a file with more"),
    "one row each": ("id,ds,y\na,1,1\nb,2,1\n", {}, "single row in each of 2", "--ignore id"),
    "static that changes": (
        "id,ds,y,c\na,1,1,x\na,2,1,z\n",
        {"static": ("c",)},
        "x and z",
        "--inputs c",
    ),
    # a table for another task
    "part given twice": ("id,ds,y\na,1,1\n", {"id": "y", "target": ("y",)}, "two parts", "once"),
}


@pytest.mark.parametrize(("content", "asked", "came", "mend"), TABLES.values(), ids=TABLES)
def test_a_table_that_cannot_be_forecast_is_told(tmp_path, content, asked, came, mend):
    check(tmp_path / "data.csv", content, "forecast", asked, came, mend)


LABELLED = {
    "no id": ("a.csv", "x,y\n1,up\n2,up\n", "classify", "tells sequences apart", "--id x"),
    "label changes": (
        "a.csv",
        "id,x,y\na,1,up\na,2,down\n",
        "classify",
        "up and down",
        "--task tag",
    ),
    "two targets": ("a.csv", "id,x,y\na,1,up\n", "tag", "x,y", "one"),
    "cut line": ("a.jsonl", '{"x": 1, "y": 2}\n{"x":\n', "tag", "line 2", "correct it"),
    "new name": (
        "a.jsonl",
        '{"z": 1, "y": 2}\n{"y": 1, "x": 2}\n',
        "tag",
        "'x', which the first",
        "null",
    ),
    "nested": (
        "a.jsonl",
        '{"x": {"a": 1}, "y": 2}\n{"x": 1, "y": 2}\n',
        "tag",
        '"a": 1',
        "--ignore x",
    ),
    "unequal lists": (
        "a.jsonl",
        '{"x": [1, 2], "z": [1], "y": 2}\n',
        "classify",
        "1, 2 values",
        "",
    ),
    "no object": ("a.jsonl", "[1, 2]\n", "tag", "line 1", "correct it"),
    "mixed": (
        "a.jsonl",
        '{"x": 1, "y": 2}\n{"x": "a", "y": 2}\n',
        "tag",
        "\"a\" in 'x'",
        "--ignore x",
    ),
    "a program": ("a.ts", "const a: number = 1;\n", "classify", "line 1", "correct"),
    "no number": ("a.ts", "@classLabel true a\n@data\n1,q:a\n", "classify", "line 3", "correct"),
    "new class": ("a.ts", "@classLabel true a\n@data\n1,2:b\n", "classify", "class 'b'", "correct"),
    "no case": ("a.ts", "@classLabel true a\n@data\n", "classify", "no case", "check"),
    "classes": (
        "a.ts",
        "@classLabel true a\n@data\n1,2:a\n",
        "regress",
        "classes",
        "--task classify",
    ),
    "targets": (
        "a.ts",
        "@targetLabel true\n@data\n1,2:3\n",
        "classify",
        "numbers",
        "--task regress",
    ),
    "times": (
        "a.ts",
        "@timestamps true\n@classLabel true a\n@data\n(0,1):a\n",
        "classify",
        "time",
        "",
    ),
    "other task": (
        "a.ts",
        "@classLabel true a\n@data\n1,2:a\n",
        "forecast",
        "'forecast'",
        "classify",
    ),
    "a text": ("notes.txt", "It was", "forecast", "notes.txt", "--task text"),
    "no parquet": ("a.parquet", "ds,y\n1,2\n", "forecast", "cannot be read as a table", "correct"),
    "no gzip": (
        "a.csv.gz",
        gzip.compress(b"ds,y\n1,2\n" * 99)[:-9],
        "forecast",
        "unpacked",
        "gzip",
    ),
    "no array": ("a.npy", "hello", "forecast", "a.npy holds", "numpy.save"),
    "no archive": ("a.npz", "hello", "forecast", "a.npz holds", "numpy.save"),
}


@pytest.mark.parametrize(
    ("name", "content", "kind", "came", "mend"), LABELLED.values(), ids=LABELLED
)
def test_a_file_of_another_kind_is_told(tmp_path, name, content, kind, came, mend):
    asked = {"target": ("x", "y")} if came == "x,y" else {}
    check(tmp_path / name, content, kind, asked, came, mend)


def check(path, content, kind, asked, came, mend):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        read_sequences([path], Columns.of(**asked), kind)
    assert came in caught.value.came
    assert mend in f"{caught.value.expected} {caught.value.mend}"


OBJECTS = np.empty(1, object)
ARRAYS = {
    "objects": ({"X": OBJECTS}, "classify", "objects"),
    "no X": ({"values of it": np.ones((2, 1, 3))}, "classify", "holds values of it"),
    "no y": ({"X": np.ones((2, 1, 3))}, "classify", "0 labels"),
    "too few": ({"X": np.ones((2, 1, 3)), "y": np.ones(1)}, "classify", "1 labels"),
    "too few of steps": ({"X": np.ones((2, 1, 3)), "y": np.ones(2)}, "tag", "2 labels"),
    "lengths": (
        {"X": np.ones((2, 1, 3)), "y": np.ones(2), "lengths": [3, 0]},
        "regress",
        "lengths",
    ),
    "infinite": ({"X": np.full((1, 1, 3), np.inf)}, "forecast", "case 1, channel 1, step 1"),
    "texts": ({"X": np.array(["a"])}, "forecast", "<U1"),
    "four axes": ({"X": np.ones((1, 1, 1, 1))}, "forecast", "[1, 1, 1, 1]"),
}


@pytest.mark.parametrize(("arrays", "kind", "came"), ARRAYS.values(), ids=ARRAYS)
def test_arrays_that_cannot_be_used_are_told(tmp_path, arrays, kind, came):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=f".*{came.replace('[', '.')}"):
        read_sequences([tmp_path / "a.npz"], Columns(), kind)


def test_what_is_no_file_of_sequences_is_told(tmp_path):
    for path, words in (
        (tmp_path / "none.csv", "no such file"),
        (tmp_path, "for the task"),
        (tmp_path / "folder.csv", "is a directory"),
    ):
        (tmp_path / "folder.csv").mkdir(exist_ok=True)
        with pytest.raises(InputError, match=words):
            read_sequences([path], Columns(), "forecast")
    with pytest.raises(InputError, match="no file"):
        read_sequences([], Columns(), "forecast")
    (tmp_path / "a.csv").write_text("ds,y\n1,1\n")
    (tmp_path / "b.csv").write_text("ds,z\n1,1\n")
    with pytest.raises(InputError, match="other columns: 'y'"):
        read_sequences([tmp_path / "a.csv", tmp_path / "b.csv"], Columns(), "forecast")
    with pytest.raises(InputError, match="several kinds"):
        read_sequences([tmp_path / "a.csv", Path("c.npy")], Columns(), "forecast")
