"""Sizes: names that are added, divided and multiplied before their numbers are known."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatework.lang import sizes

NUMBERS = {"hidden": 12, "key": 7, "head": 3}


@pytest.mark.parametrize(
    ("size", "number"),
    {
        "hidden": 12, "5": 5, "1": 1, "hidden+key": 19, "hidden/4": 3, "3*hidden/4": 9,
        "4*hidden": 48, "hidden-3": 9, "hidden/2+key-1": 12, "head,key,1": 21, "head,hidden/4": 9,
        "key/2+1/2": 4,
    }.items(),
)  # fmt: skip
def test_a_size_has_the_number_that_follows_from_its_names(size, number):
    assert sizes.units(size, NUMBERS) == number
    assert sizes.checked(size) == size


def test_what_is_the_same_for_all_numbers_has_one_name():
    for written, one in {
        "key + hidden": "hidden+key", "hidden/2+hidden/2": "hidden", "hidden+hidden": "2*hidden",
        "hidden-hidden+key": "key", "1+hidden+1": "hidden+2", "2*hidden/4": "hidden/2",
        "-3+hidden": "hidden-3", "head , key": "head,key",
    }.items():  # fmt: skip
        assert sizes.checked(written) == one


@pytest.mark.parametrize(
    "size", ["", "+", "a b+", "a//2", "a/0", "2a", "a*b", "a+", "a,,b", "a b", "é-", "a.b"]
)
def test_what_is_no_size_is_refused(size):
    with pytest.raises(ValueError, match="is no size"):
        sizes.checked(size)


def test_a_number_that_does_not_come_out_is_refused():
    with pytest.raises(ValueError, match=r"'key/2' should be a whole number, and is 7/2 for key=7"):
        sizes.units("key/2", NUMBERS)
    with pytest.raises(ValueError, match=r"'key-9' should be at least 1, and is -2 for key=7"):
        sizes.units("key-9", NUMBERS)
    with pytest.raises(ValueError, match="5 units cannot be cut into 2 equal parts"):
        sizes.divided("5", 2)
    with pytest.raises(ValueError, match="take parts along one axis"):
        sizes.divided("head,key", 2)


def test_a_part_fits_where_it_does_for_all_numbers():
    for part, whole in (("hidden/2", "hidden"), ("key", "hidden+key"), ("1", "hidden"), ("2", "3")):
        assert sizes.fits(part, whole)
        assert not sizes.fits(whole, part)
    assert not sizes.fits("2", "hidden")  # which may be 1
    assert not sizes.fits("key", "hidden")


def test_other_sizes_take_the_place_of_names():
    assert sizes.renamed("hidden", {"hidden": "head,key"}) == "head,key"
    assert sizes.renamed("hidden,1", {"hidden": "a+b"}) == "a+b,1"
    assert sizes.renamed("hidden/2+key+3", {"hidden": "4*n"}) == "key+2*n+3"
    assert sizes.renamed("key", {"hidden": "n"}) == "key"


@st.composite
def terms(draw):
    """Some sizes with numbers, each as often as a fraction says."""
    names = st.sampled_from(["hidden", "key", "head"])
    return [
        (draw(names), draw(st.integers(1, 6)), draw(st.sampled_from([1, 2, 3]))) for _ in range(3)
    ]


@given(terms(), terms())
def test_sums_and_differences_are_those_of_the_numbers(a, b):
    numbers = {"hidden": 6, "key": 12, "head": 18}

    def written(some):
        return "+".join(f"{n}*{name}/{d}" for name, n, d in some)

    def value(some):
        return sum(Fraction(n * numbers[name], d) for name, n, d in some)

    both = sizes.together([written(a), written(b)])
    assert sizes.units(both, numbers) == value(a) + value(b)
    assert sizes.without(both, written(b)) == sizes.checked(written(a))
    assert sizes.units(sizes.divided(both, 1), numbers) == value(a) + value(b)
    assert sizes.names_in(both) == {name for name, _, _ in a + b}
