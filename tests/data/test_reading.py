"""Files of every kind as sequences."""

import gzip
import json

import numpy as np
import pytest

from gatework.data.columns import Columns
from gatework.data.reading import read_sequences

pl = pytest.importorskip("polars")

DAY = 86_400


def read(path, kind="forecast", content=None, **asked):
    if content is not None:
        path.write_text(content)
    return read_sequences([path], Columns.of(**asked), kind)


@pytest.mark.parametrize(
    "name", ["a.csv", "a.tsv", "a.csv.gz", "a.csv.zst", "a.parquet", "a.jsonl"]
)
def test_every_way_to_write_a_long_table_is_read_alike(tmp_path, name):
    table = pl.DataFrame(
        {
            "unique_id": ["b", "b", "b", "a", "a"],
            "ds": ["2020-01-01", "2020-01-02", "2020-01-03", "2020-02-01", "2020-02-02"],
            "y": [1.0, None, 3.0, 4.0, 5.0],
            "holiday": ["no", "no", "yes", "no", None],
        }
    )
    path = tmp_path / name
    text = table.write_csv(separator="\t" if name == "a.tsv" else ",").encode()
    if name == "a.parquet":
        table.with_columns(pl.col("ds").str.to_date()).write_parquet(path)
    elif name == "a.jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_dicts()))
    elif name == "a.csv.zst":
        path.write_bytes(pytest.importorskip("zstandard").compress(text))
    else:
        path.write_bytes(gzip.compress(text) if name == "a.csv.gz" else text)
    found = read(path)
    assert found.ids == ["b", "a"]
    assert found.columns == ("y", "holiday")
    assert found.categories == {"holiday": ("no", "yes")}
    wanted = [[1, 0], [np.nan, 0], [3, 1], [4, 0], [5, np.nan]]
    np.testing.assert_array_equal(found.values, np.float32(wanted))
    assert found.starts.tolist() == [0, 3, 5]
    assert found.dated
    assert (np.diff(found.times[found.rows(0)]) == DAY).all()
    assert found.notes == ()


def test_columns_have_their_parts_by_usual_names_or_by_what_is_asked(tmp_path):
    content = "Date,site,load,temp,note\n2020-01-01,n,1,7,x\n2020-01-02,n,2,8,x\n"
    found = read(tmp_path / "a.csv", content=content, target=("load",), id="site", ignore=("note",))
    assert (found.columns, found.ids, found.dated) == (("load", "temp"), ["n"], True)
    found = read(tmp_path / "a.csv", target=("load",), inputs=("temp",), static=("site",))
    assert (found.columns, found.static_columns) == (("load", "temp"), ("site",))
    assert found.static.tolist() == [[0]]
    when = "when,y\n2020-01-01,1\n2020-01-02,2\n"
    assert read(tmp_path / "b.csv", content=when).columns == ("y",)  # the one column of dates


TIMES = {
    "2020-01-01|2020-01-02": DAY,
    "2020-01-01 00:00|2020-01-01 00:30": 1800,
    "2020-01-01T00:00:00Z|2020-01-01T01:00:00Z": 3600,
    "2020-03-29T01:00:00+01:00|2020-03-29T03:00:00+02:00": 3600,
    "13/01/2020|14/01/2020": DAY,
    "01/13/2020 10:00|01/13/2020 11:00": 3600,
    "28.11.2026 17:30|29.11.2026 17:30": DAY,
    "2020/01/02|2020/01/03": DAY,
    "20200131|20200201": DAY,
    "2020-01|2020-02": 31 * DAY,
    "0.5|1.75": 1.25,
    "2019|2020": 1,
}


@pytest.mark.parametrize("two", TIMES)
def test_times_are_read_as_people_write_them(tmp_path, two):
    first, second = two.split("|")
    found = read(tmp_path / "a.csv", content=f"ds,y\n{first},1\n{second},2\n")
    assert np.diff(found.times).tolist() == [TIMES[two]]
    assert found.notes == ()


def test_whether_a_day_or_a_month_comes_first_is_judged_by_even_steps(tmp_path):
    american = "ds,y\n" + "".join(f"01/{day:02}/2020,1\n" for day in range(1, 6))
    found = read(tmp_path / "a.csv", content=american)
    assert np.diff(found.times).tolist() == [DAY] * 4
    assert "month first" in found.notes[0]
    found = read(tmp_path / "b.csv", content="ds,y\n01/02/2020,1\n02/02/2020,2\n03/02/2020,2\n")
    assert np.diff(found.times).tolist() == [DAY] * 2
    assert "day first" in found.notes[0]


def test_numbers_are_read_as_people_write_them(tmp_path):
    found = read(tmp_path / "a.csv", content="ds;y;z\n1;1,5;NA\n2;-2,25;3\n3; 7;?\n")
    wanted = [[1.5, np.nan], [-2.25, 3], [7, np.nan]]
    np.testing.assert_array_equal(found.values, np.float32(wanted))
    late = "ds,y,x\n" + "".join(f"{k},{k},\n" for k in range(10_050)) + "10050,0.5,2.5\n"
    found = read(tmp_path / "b.csv", content=late)  # the first rows are whole numbers, or nothing
    assert found.values[-1].tolist() == [0.5, 2.5]
    found = read(tmp_path / "c.csv", content=",ds,y,x\n0,1,1,\n1,2,2,\n")  # as pandas writes it
    assert found.columns == ("y", "x")
    assert found.notes == ("a column without a name is left out", "no value at all in 'x'")


def test_rows_are_put_in_order_and_gaps_are_filled(tmp_path):
    content = "id,ds,y\nb,3,30\na,1,1\nb,2,20\na,2,2\na,3,3\nb,5,50\n"
    found = read(tmp_path / "a.csv", content=content)
    assert found.ids == ["b", "a"]
    wanted = [[20], [30], [np.nan], [50], [1], [2], [3]]
    np.testing.assert_array_equal(found.values, np.float32(wanted))
    assert found.times.tolist() == [2, 3, 4, 5, 1, 2, 3]
    assert found.starts.tolist() == [0, 4, 7]
    assert found.notes == (
        "rows were put in the order of 'ds'",
        "1 row missing in 1 gap, the first after 3 in 'b'; they are taken as unknown",
    )


def test_gaps_are_filled_for_forecasts_alone(tmp_path):
    content = "ds,x,y\n1,0,a\n2,0,b\n3,0,a\n9,0,a\n"
    assert read(tmp_path / "a.csv", "tag", content).times.tolist() == [1, 2, 3, 9]


def test_irregular_times_are_left_as_they_are(tmp_path):
    times = [1, 2.7, 9, 9.5, 33, 34, 100]
    content = "ds,y\n" + "".join(f"{t},1\n" for t in times)
    found = read(tmp_path / "a.csv", content=content)
    assert found.times.tolist() == times
    assert "irregular" in found.notes[0]


def test_labels_are_of_sequences_or_of_rows(tmp_path):
    content = "id,x,label\na,1,up\nb,3,down\na,2,up\nb,4,down\n"
    found = read(tmp_path / "a.csv", "classify", content)
    assert (found.ids, found.labels.tolist()) == (["a", "b"], ["up", "down"])
    assert found.values[:, 0].tolist() == [1, 2, 3, 4]
    tagged = read(tmp_path / "a.csv", "tag")
    assert tagged.per_row
    assert tagged.labels.tolist() == ["up", "up", "down", "down"]
    numbers = content.replace("up", "7").replace("down", "0.5")
    assert read(tmp_path / "a.csv", "regress", numbers).labels.tolist() == [7, 0.5]


def test_a_line_of_json_is_a_row_or_a_sequence(tmp_path):
    lines = '{"x": [1, 2, null], "z": 5, "y": "walk"}\n{"x": [4], "z": 6, "y": "run"}\n'
    found = read(tmp_path / "a.jsonl", "classify", lines)
    assert (found.ids, found.lengths.tolist()) == (["1", "2"], [3, 1])
    np.testing.assert_array_equal(found.values, np.float32([[1, 5], [2, 5], [np.nan, 5], [4, 6]]))
    named = lines.replace('"z": 5', '"id": "a"').replace('"z": 6', '"id": "b"')
    assert read(tmp_path / "a.jsonl", "classify", named).ids == ["a", "b"]
    assert read(tmp_path / "a.jsonl", "regress", '{"x": [1, 2], "y": 3}\n').labels.tolist() == [3]


def test_arrays_are_cases_of_channels_and_steps(tmp_path):
    x = np.random.default_rng(0).random((3, 2, 5))
    lengths, y = np.array([5, 1, 3]), np.array(["a", "b", "a"])
    np.savez(tmp_path / "a.npz", X=x, y=y, lengths=lengths)
    found = read(tmp_path / "a.npz", "classify")
    assert found.lengths.tolist() == [5, 1, 3]
    np.testing.assert_array_equal(found.values[found.rows(2)], np.float32(x[2].T[:3]))
    np.savez(tmp_path / "b.npz", X=x.swapaxes(1, 2), y=y, lengths=lengths)
    other = read(tmp_path / "b.npz", "classify", steps_first=True)
    np.testing.assert_array_equal(other.values, found.values)
    tags = np.arange(15).reshape(3, 5)
    np.savez(tmp_path / "c.npz", X=x, y=tags, lengths=lengths)
    assert read(tmp_path / "c.npz", "tag").labels.tolist() == [0, 1, 2, 3, 4, 5, 10, 11, 12]
    np.save(tmp_path / "d.npy", x[0].T)  # a single sequence
    np.testing.assert_array_equal(read(tmp_path / "d.npy").values, np.float32(x[0].T))


def test_a_file_of_the_archive_is_read(tmp_path):
    content = (
        "# about it\n@problemName Test\n@univariate false\n@equalLength false\n"
        "@classLabel true up down\n@data\n1,2,?:4,5,6:up\n-1.5e2:0:down\n"
    )
    found = read(tmp_path / "a.ts", "classify", content)
    wanted = [[1, 4], [2, 5], [np.nan, 6], [-150, 0]]
    np.testing.assert_array_equal(found.values, np.float32(wanted))
    assert (found.labels.tolist(), found.lengths.tolist()) == (["up", "down"], [3, 1])
    numbers = "@targetLabel true\n@data\n1,2:0.5\n3,4:2\n"
    assert read(tmp_path / "b.ts", "regress", numbers).labels.tolist() == [0.5, 2]


def test_several_files_are_one_table(tmp_path):
    (tmp_path / "a.csv").write_text("id,ds,y\na,2,1\na,1,2\n")
    (tmp_path / "b.csv").write_text("y,id,ds\n3,a,3\n4,b,1\n")
    found = read_sequences([tmp_path / "a.csv", tmp_path / "b.csv"], Columns(), "forecast")
    assert (found.name, found.lengths.tolist()) == ("a.csv, b.csv", [3, 1])
    assert found.values[:, 0].tolist() == [2, 1, 3, 4]


def test_a_large_table_is_the_same_part_by_part(tmp_path, monkeypatch):
    import gatework.data.readers.tables as tables
    import gatework.data.rows as rows
    import gatework.data.times as times

    generator = np.random.default_rng(1)
    kept = np.sort(generator.permutation(900)[:700])
    table = pl.DataFrame(
        {
            "id": [f"s{k // 300}" for k in kept],
            "ds": kept,
            "y": generator.random(len(kept)),
            "c": generator.choice(["p", "q", "r"], len(kept)),
        }
    )
    for name, written in (("a", table), ("b", table.sample(fraction=1, shuffle=True, seed=0))):
        written.write_parquet(tmp_path / f"{name}.parquet", row_group_size=64)
    whole = read(tmp_path / "a.parquet")
    monkeypatch.setattr(tables, "AT_ONCE", 50)
    monkeypatch.setattr(rows, "AT_ONCE", 7)
    monkeypatch.setattr(times, "AT_ONCE", 11)
    parts = read(tmp_path / "a.parquet")
    np.testing.assert_array_equal(parts.values, whole.values)
    np.testing.assert_array_equal(parts.times, whole.times)
    assert (np.diff(whole.times)[np.diff(whole.times) > 0] == 1).all()
    shuffled = read(tmp_path / "b.parquet")
    order = [shuffled.ids.index(name) for name in whole.ids]
    y = np.concatenate([shuffled.values[shuffled.rows(k), 0] for k in order])
    np.testing.assert_array_equal(y, whole.values[:, 0])
