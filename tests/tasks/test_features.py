"""Rows as what layers read: scaled, told apart, and the same for files that come later."""

from dataclasses import replace

import numpy as np
import pytest

from gatework.data.sequences import Sequences
from gatework.errors import InputError
from gatework.tasks.features import Features

NAN = float("nan")


def sequences(**more):
    """Two of them: a number, a text that is missing once; the second one is held out."""
    values = np.array([[1, 0], [3, 1], [NAN, 1], [100, NAN]], np.float32)
    found = Sequences(
        "t.csv",
        "",
        ("x", "place"),
        values,
        np.array([0, 3, 4]),
        ["a", "b"],
        times=np.array([0.0, 1.0, 5.0, 9.0]),
        categories={"place": ("in", "out"), "sex": ("f", "m")},
        static_columns=("age", "sex"),
        static=np.array([[20, 0], [NAN, 1]], np.float32),
    )
    return replace(found, **more)


def features_of(found, **more):
    return Features.fit(found, np.array([0]), **more)


def test_a_number_is_scaled_and_a_text_stands_as_one_of_some():
    found = sequences()
    features = features_of(found)
    assert features.names == ["x", "x is there", "place = in", "place = out"]
    expected = [[-1, 1, 1, 0], [1, 1, 0, 1], [0, 0, 0, 1]]
    np.testing.assert_allclose(features.of(found.values[:3]), expected)
    there = features.there(found.values[:3])
    assert there[:, 0].tolist() == [True, True, False]
    assert there[:, 1].all()


def test_what_is_held_out_tells_nothing():
    other = sequences()
    other.values[3] = -1e6
    assert features_of(other).as_data() == features_of(sequences()).as_data()


def test_a_column_of_one_value_is_not_divided_by_nothing():
    found = sequences(values=np.zeros((4, 2), np.float32))
    assert np.isfinite(features_of(found).of(found.values)).all()


def test_gaps_are_logarithms_of_the_time_since_the_row_before():
    found = sequences()
    features = features_of(found, with_gaps=True)
    gaps = features.of(found.values[:3], found.times[:3])[:, -1]
    logs = np.log1p([0.0, 1.0, 4.0])
    np.testing.assert_allclose(gaps, (logs - logs.mean()) / logs.std(), rtol=1e-5)
    with pytest.raises(InputError, match="--time-column"):
        features.of(found.values[:3])


def test_what_holds_for_a_sequence_is_treated_like_what_changes():
    found = sequences()
    static = features_of(found).static
    assert static.names == ["age", "sex = f", "sex = m"]
    assert static.of(found.static).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert features_of(sequences(static_columns=(), static=None)).static_size == 0


def test_another_file_may_have_other_texts_and_another_order():
    features = features_of(sequences())
    other = Sequences(
        "other.csv",
        "",
        ("place", "noise", "x"),
        np.array([[1, 7, 2], [0, 7, 2], [2, 7, NAN]], np.float32),
        np.array([0, 3]),
        ["z"],
        categories={"place": ("out", "in", "roof"), "sex": ("m",)},
        static_columns=("sex", "age"),
        static=np.array([[0, 30]], np.float32),
    )
    placed = features.placed(other)
    np.testing.assert_array_equal(placed.values, [[2, 0], [2, 1], [NAN, NAN]])
    np.testing.assert_array_equal(placed.static, [[30, 1]])
    assert placed.static_columns == ("age", "sex")
    assert other.values[0].tolist() == [1, 7, 2]


def test_rows_that_stand_as_they_should_are_not_copied():
    found = sequences()
    assert features_of(found).placed(found).values is found.values


WRONG = {
    "no such column": ({"columns": ("z", "place")}, "without the column 'x'"),
    "texts for numbers": ({"categories": {"x": ("a",), "place": ("in", "out")}}, "texts in"),
    "numbers for texts": ({"categories": {"sex": ("f", "m")}}, "numbers in the column 'place'"),
    "nothing static": ({"static_columns": (), "static": None}, "without the column 'age'"),
    "another static": ({"static_columns": ("age", "size")}, "without the column 'sex'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_does_not_fit_is_told(name):
    more, message = WRONG[name]
    with pytest.raises(InputError, match=message):
        features_of(sequences()).placed(sequences(**more))


@pytest.mark.parametrize("with_gaps", [False, True])
def test_they_come_back_from_what_they_wrote(with_gaps):
    features = features_of(sequences(), with_gaps=with_gaps)
    again = Features.of_data(features.as_data())
    assert again.as_data() == features.as_data()
    assert again.static.names == features.static.names


DAMAGES = {
    "nothing": lambda d: d.clear(),
    "a mask less": lambda d: d["masked"].pop(),
    "texts of no column": lambda d: d["categories"].update(z=["a"]),
    "no scaling": lambda d: d.pop("scaling"),
    "gaps of two columns": lambda d: d.update(gaps=d["scaling"]),
    "static is a number": lambda d: d.update(static=3),
    "static is damaged": lambda d: d["static"].pop("columns"),
    "too many texts": lambda d: d["categories"].update(place=["a"] * 100_001),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_told(damage):
    data = features_of(sequences()).as_data()
    DAMAGES[damage](data)
    with pytest.raises(InputError, match="train again"):
        Features.of_data(data)


def test_static_within_static_is_not_followed():
    data = features_of(sequences()).as_data()
    data["static"]["static"] = data["static"]
    assert Features.of_data(data).static.static is None
