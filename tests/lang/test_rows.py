"""Rows in another order, and parts of them: simplified, refused, written, read and looked at.

Their values are compared with torch's in tests/backends/cpu/test_rows.py.
"""

import json
import re

import pytest

import gatework as gw
from gatework.analysis.gates import named_gates
from gatework.analysis.memory import memory_of
from gatework.analysis.ranges import Range, ranges
from gatework.lang.expressions import arrange, side_by_side, symbol
from gatework.lang.printing import latex
from gatework.lang.writing import cell_as_data, cell_of_data

a, b, key = (symbol(n, "sequence", s) for n, s in (("a", "n"), ("b", "n"), ("key", "key")))
one = symbol("one", "sequence", "1")


# ---- simplified ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "simpler"),
    [
        (gw.roll(a, 0), a),
        (gw.roll(gw.roll(a, 3), -3), a),
        (gw.roll(gw.roll(a, 1), 1), gw.roll(a, 2)),
        (gw.shift(a, 0), a),
        (gw.flip(gw.flip(a)), a),
        (gw.flip(gw.cumsum(gw.flip(a))), arrange("cumsum", [a], (True,), "n")),
        (gw.take(a, [0, 1, 2]), a),
        (gw.cat([a]), a),
        (gw.cat(gw.chunk(a, 4)), a),
        (gw.cat(gw.chunk(a, 4)[1:3]), arrange("part", [a], ("n/4", "n"), "n/2")),
        (gw.chunk(gw.chunk(a, 2)[1], 2)[1], gw.chunk(a, 4)[3]),
        (gw.chunk(gw.cat([a, b]), 2)[1], b),
        (gw.cat([gw.cat([a, key]), b]), gw.cat([a, key, b])),
        (gw.cat([a[:2], a[2:]]), a),
        (gw.roll(one, 1), one),
        (gw.cumsum(one), one),
        (gw.shift(one, 1), one - one),
        (gw.cat([0 * a, 0 * key]), 0 * gw.cat([a, key])),
    ],
)
def test_what_changes_nothing_is_left_out(value, simpler):
    assert value is simpler


def test_gradients_of_parts_are_put_side_by_side():
    starts = dict(zip(gw.chunk(a, 2), ("0", "n/2"), strict=True))
    parts = [arrange("cat", [gw.sin(v)], (start,), "n") for v, start in starts.items()]
    assert side_by_side(*parts) is side_by_side(*parts[::-1])
    assert side_by_side(*parts) is gw.cat([gw.sin(v) for v in gw.chunk(a, 2)])
    assert side_by_side(parts[0], parts[0]) is None
    assert side_by_side(parts[0], a) is None


def test_the_sizes_of_what_is_made():
    sizes = {
        "key+n": gw.cat([a, key]), "n": gw.cat(gw.split(a, ["n/3", "2*n/3"])), "2": a[1:3],
        "n/2": gw.chunk(a, 2)[0], "n-2": a[1:-1], "1": a[-1], "3": gw.take(a, [2, 2, 0]),
        "n+1": gw.cat([a, one]),
    }  # fmt: skip
    assert {size: v.size for size, v in sizes.items()} == {size: size for size in sizes}
    assert gw.take(a, [1, 2, 0]).size == "n"
    assert gw.take(a, [1, 2, 0], size="3").size == "3"


# ---- refused -------------------------------------------------------------------------------------

FAULTS = {
    "a step": ("h[::2]", TypeError, r"whole numbers and no step; take\(v, index\) picks"),
    "a condition": ("h[h > 0]", TypeError, "whose parts are v"),
    "a list": ("h[[0, 1]]", TypeError, r"take\(v, index\)"),
    "a fraction": ("roll(h, 0.5)", TypeError, "by a whole number; got 0.5"),
    "a value": ("roll(h, x)", TypeError, "by a whole number"),
    "no list": ("take(h, 3)", TypeError, "picks units by a list of their numbers"),
    "from the end": ("take(h, [0, -1])", ValueError, "by numbers from 0 on"),
    "no units": ("take(h, [])", ValueError, "at least one of them"),
    "no parts": ("chunk(h, 0)[0]", ValueError, "1 or more, got 0"),
    "no size": ("split(h, ['hidden/2', 'b c'])[0]", ValueError, "'b c' is no size"),
    "a number": ("chunk(h[:3], 2)[0]", ValueError, "3 units cannot be cut into 2 equal parts"),
    "other sizes": ("h + chunk(h, 2)[0]", ValueError, "'hidden' and 'hidden/2' cannot be combined"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_mistake_is_named(fault):
    text, kind, phrase = FAULTS[fault]
    names = {n: getattr(gw, n) for n in ("roll", "take", "chunk", "split")}
    with pytest.raises(gw.DefinitionError, match=phrase) as caught:
        gw.cell(eval(f"lambda x, h: {text}", names))
    assert isinstance(caught.value.__cause__, kind)


def cell_with(value):
    return gw.cell(lambda x, h: gw.tanh(gw.linear("n", x) + gw.sum(value(h))))


@pytest.mark.parametrize(
    ("value", "sizes", "phrase"),
    [
        (lambda h: gw.chunk(h, 2)[0], {}, "'hidden/2' should be a whole number, and is 7/2"),
        (lambda h: gw.take(h, [1, 0]), {}, "picks 2 units where 'hidden' has 7.*size='2'"),
        (lambda h: gw.take(h, [9], size="1"), {}, "picks unit 9 of a row of 7 units"),
        (lambda h: h[8:], {}, "'hidden-8' should be at least 1, and is -1"),
        (lambda h: h[:9], {}, "a part ends at unit 9 .* of a row of 7 units"),
        (lambda h: gw.split(h, ["a", "b"])[0], {"a": 3, "b": 5}, "'hidden'.*split into parts of 8"),
        (lambda h: gw.split(h, ["a", "b"])[1], {"a": 3, "b": 3}, "'hidden'.*split into parts of 6"),
    ],
)
def test_what_does_not_fit_is_refused_when_a_layer_is_made(value, sizes, phrase):
    cell = cell_with(value)
    assert set(cell.size_names()) == set(sizes)
    with pytest.raises(ValueError, match=phrase) as caught:
        gw.nn.Recurrent(cell, 3, 7, **sizes)
    assert str(caught.value).startswith("in cell '<lambda>', ")
    assert "not known: " in str(gw.explain(cell, hidden_size=7, **sizes))


def test_parts_that_add_up_are_taken():
    cell = cell_with(lambda h: gw.split(h, ["a", "b"])[1])
    assert gw.nn.Recurrent(cell, 3, 7, a=3, b=4)


def test_a_layer_above_has_parts_of_its_own_input():
    """The input is as wide as the output of the layer below."""
    cell = gw.cell(lambda x, h: gw.tanh(gw.linear("u", gw.chunk(x, 2)[1], h)))
    layer = gw.nn.Recurrent(cell, 6, 8, num_layers=2)
    assert [layer.get_parameter(f"weight_hh_l{k}").shape for k in (0, 1)] == [(8, 8), (8, 8)]


# ---- along one of several axes -------------------------------------------------------------------

S, k = symbol("S", "state", "head,key,value"), symbol("k", "sequence", "1,key,1")


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (gw.roll(S, 1, "key"), "head,key,value"),
        (gw.chunk(S, 2, "key")[1], "head,key/2,value"),
        (gw.split(S, ["1", "value-1"], dim="value")[0], "head,key,1"),
        (gw.take(S, [1, 0, 1], dim="head"), "3,key,value"),
        (gw.cat([S, S], dim="value"), "head,key,2*value"),
        (gw.cat([0.5, S, k], dim="head"), "head+2,key,value"),
        (S[0], "1,key,value"),
        (S[:, 1:-1], "head,key-2,value"),
        (S[..., -1], "head,key,1"),
        (S[0, 0, 0], "1"),
        (k[:2], "1,2,1"),
        (gw.flip(k), "1,key,1"),
        (gw.sum(gw.chunk(S, 2, "key")[0], "key/2"), "head,1,value"),
    ],
)
def test_sizes_along_an_axis(value, size):
    assert value.size == size


@pytest.mark.parametrize(
    ("value", "simpler"),
    [
        (gw.roll(gw.roll(S, 1, "key"), -1, "key"), S),
        (gw.flip(gw.flip(S, "value"), "value"), S),
        (gw.cat(gw.chunk(S, 2, "key"), "key"), S),
        (gw.cat([S[:, :2], S[:, 2:]], "key"), S),
        (gw.flip(k, "key"), gw.flip(k)),
        (gw.cat([k]), k),
    ],
)
def test_what_changes_nothing_along_an_axis_is_left_out(value, simpler):
    assert value is simpler


def test_two_axes_are_told_apart():
    assert gw.flip(gw.flip(S, "key"), "value") is not S
    assert gw.roll(S, 1, "key") is not gw.roll(S, 1, "value")
    parts = [arrange("cat", [gw.sin(v)], (at,), S.size, 1)
             for v, at in zip(gw.chunk(S, 2, "key"), ("0", "key/2"), strict=True)]  # fmt: skip
    assert side_by_side(*parts) is gw.cat([gw.sin(v) for v in gw.chunk(S, 2, "key")], "key")
    assert side_by_side(arrange("cat", [S[:2]], ("0",), S.size), parts[1]) is None


def test_what_is_done_along_an_axis_is_shown():
    assert str(gw.roll(S, 1, "key")) == "roll(S, 1, key)"
    assert str(gw.cumsum(k)) == "cumsum(k)"
    assert str(S[:, 1:3]) == "S[:, 1:3]"
    assert str(gw.cat([1, S], "key")) == "cat(1, S, key)"


@gw.cell(axes={"S": ("depth", "width")}, output=True)
def stack(x, S):
    top = gw.tanh(gw.linear("top", x, size="width"))
    S = gw.roll(gw.cat([top, gw.flip(S, "width")[:-1]], dim="depth"), 1, dim="width")
    return S[0], S


def test_a_cell_with_parts_along_axes_is_written_and_read_again():
    data = json.loads(json.dumps(cell_as_data(stack)))
    again = cell_of_data(data)
    assert again.next_states == stack.next_states
    assert gw.equivalent(again, stack)
    for node in data["nodes"]:
        if node[:2] == ["arrange", "roll"]:
            node[-1] = 2
    with pytest.raises(ValueError, match="not the equations of a cell"):
        cell_of_data(data)


def test_a_part_of_an_axis_is_a_size():
    @gw.cell(axes={"S": ("key", "value")})
    def half(x, S):
        a, b = gw.chunk(S, 2, dim="key")
        turned = gw.vector("angle", size="key/2") * b
        return gw.cat([a + turned, gw.linear("n", x, size=("key/2", "value"))], dim="key")

    assert [p.rows for p in half.parameters] == [("key/2,value",), ("key/2,value",), ("key/2,1",)]
    assert half.axis_names() == ("key", "value")
    with pytest.raises(ValueError, match="'key/2,value' should be a whole number, and is 3/2"):
        gw.nn.Recurrent(half, 2, key=3, value=2)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("gw.roll(S, 1)", r"roll goes along one axis, and \('key', 'value'\) has several; name it"),
        ("gw.cat([S, S])", "cat goes along one axis"),
        ("gw.flip(S, 'depth')", "names axes of the value, key, value; got 'depth'"),
        ("gw.shift(gw.sum(S, 'key'), 1, 'key')", "names axes of the value, value; got 'key'"),
        ("gw.cumsum(S, -1)", "names axes of the value, key, value; got -1"),
        ("gw.sum(S, ['depth'])", "names axes of the value, key, value; got 'depth'"),
        ("S[0, 0, 0]", "has 2 axis or axes and was given 3 indices"),
        ("S[::2]", "whole numbers and no step"),
        ("gw.cat([S, gw.linear('n', x)], 'key')", "cannot be combined"),
    ],
)
def test_a_mistake_with_axes_is_named(text, phrase):
    with pytest.raises(gw.DefinitionError, match=phrase):
        gw.cell(axes={"S": ("key", "value")})(eval(f"lambda x, S: {text}", {"gw": gw}))


def test_a_cell_that_arranges_its_one_axis_cannot_stand_where_there_are_several():
    moving = gw.cell(lambda x, h: gw.roll(h, 1) + gw.mean(x))
    with pytest.raises(gw.DefinitionError, match=r"rows of one axis there, and .* has several"):

        @gw.cell(axes={"S": ("key", "value")})
        def outer(x, S):
            return moving.equations(gw.linear("n", x, size=("key", "value")), S, prefix="in")


# ---- written and read ----------------------------------------------------------------------------


@gw.cell
def everything(x, h):
    """Every way to arrange rows."""
    u = gw.linear("u", x, h, size="2*hidden")
    v = gw.roll(gw.flip(gw.chunk(u, 2)[1]), 2) * gw.cumsum(gw.shift(h, -1))
    return gw.tanh(v + gw.sum(gw.cat([gw.take(h, [0, 2, 2]), v])))


def test_equations_show_what_is_done():
    assert gw.explain(everything).equations == (
        "u = W_ih[u]·x + bias_ih.u + W_hh[u]·h + bias_hh.u",
        "v0 = roll(flip(u[hidden:2*hidden]), 2) * cumsum(shift(h, -1))",
        "h' = tanh(v0 + sum(cat(take(h, [0, 2, 2]), v0)))",
    )
    assert str(gw.flip(gw.cumsum(gw.flip(a)))) == "cumsum(a, backwards)"
    assert str(gw.take(a, list(range(9, -1, -1)))) == "take(a, [9, 8, 7, 6, 5, 4, …])"
    assert str(arrange("cat", [a[:2]], ("1",), "n")) == "cat(0, a[:2], 0)"
    assert latex(gw.roll(a, 1)) == r"\operatorname{roll}\left(a, 1\right)"


def test_a_cell_is_written_and_read_again():
    data = json.loads(json.dumps(cell_as_data(everything)))
    assert cell_of_data(data).next_states == everything.next_states
    assert gw.equivalent(cell_of_data(data), everything)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ('"take", [', '"tack", ['),
        ("[[0, 2, 2]]", "[[]]"),
        ("[[0, 2, 2]]", "[[0, -2, 2]]"),
        ("[[0, 2, 2]]", "[]"),
        ('"roll", [K], [2]', '"roll", [K], []'),
        ('"roll", [K], [2], "hidden"', '"roll", [K], [2], "input"'),
        ('"flip", [K], []', '"flip", [K], [1]'),
        ('["hidden", "2*hidden"], "hidden"', '["hidden"], "hidden"'),
        ('["hidden", "2*hidden"], "hidden"', '["hidden", "2*"], "hidden"'),
    ],
)
def test_what_is_no_arrangement_is_not_read(ours, theirs):
    """K stands for the number of any row."""
    pattern = re.escape(ours).replace("K", r"(\d+)")
    text, count = re.subn(pattern, theirs.replace("K", r"\1"), json.dumps(cell_as_data(everything)))
    assert count == 1
    with pytest.raises(ValueError, match="not the equations of a cell"):
        cell_of_data(json.loads(text))


def test_an_index_that_was_written_by_another_is_checked_before_it_is_run():
    text = json.dumps(cell_as_data(everything)).replace("[[0, 2, 2]]", "[[0, 2, 999999]]")
    with pytest.raises(ValueError, match="picks unit 999999"):
        gw.nn.Recurrent(cell_of_data(json.loads(text)), 3, 4)


# ---- looked at -----------------------------------------------------------------------------------


def test_arrangements_are_linear():
    def written(value):
        return gw.cell(lambda x, h: value(gw.linear("a", x), h))

    apart = written(lambda u, h: gw.roll(2 * u, 1) + gw.roll(h, 1) - gw.cat([h[:1], h[1:]]))
    assert gw.equivalent(written(lambda u, h: gw.roll(2 * u + h, 1) - h), apart)
    assert not gw.equivalent(written(lambda u, h: gw.roll(2 * u + h, 2) - h), apart)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (gw.roll(gw.sigmoid(a), 1), Range(0, 1)),
        (gw.flip(gw.tanh(a))[1:], Range(-1, 1)),
        (gw.shift(gw.sigmoid(a) + 1, 1), Range(0, 2)),
        (gw.cat([gw.sigmoid(a) + 1, gw.sigmoid(key) - 1]), Range(-1, 2)),
        (arrange("cat", [gw.sigmoid(a[1:]) + 1], ("1",), "n"), Range(0, 2)),
        (gw.cumsum(gw.exp(a)), Range(0, float("inf"))),
        (gw.cumsum(gw.tanh(a)), Range(-float("inf"), float("inf"))),
    ],
)
def test_ranges(value, expected):
    assert ranges([value], {})[value] == expected


def test_gates_and_memory():
    assert list(named_gates(gw.cells.on_lstm)) == ["f", "i", "o", "mf", "mi"]
    rolled = gw.cell(lambda x, h: gw.sigmoid(gw.linear("f", x)) * gw.roll(h, 1) + gw.linear("n", x))
    (state,), (new,) = rolled.states, rolled.next_states
    assert (state, gw.roll(state, 1)) in memory_of(rolled)
    assert not memory_of(gw.cell(lambda x, h: gw.cumsum(h) + gw.linear("n", x)))
    assert new in {after for _, after in memory_of(rolled)}


def test_a_part_of_a_map_is_not_the_gate():
    """Two parts of one map are two values; what they go into has no name but by observe."""

    @gw.cell
    def minimal(x, h):
        z, n = gw.chunk(gw.linear("both", x, h, size="2*hidden"), 2)
        return h + gw.observe("z", gw.sigmoid(z)) * (gw.tanh(n) - h)

    assert list(minimal.names) == ["z", "z.pre", "both", "h"]
    assert list(named_gates(minimal)) == ["z"]
    inner = gw.cell(lambda x, h: minimal.equations(x, gw.chunk(h, 1)[0], prefix="inner"))
    assert inner.parameters[0].rows == ("2*hidden",)


def test_a_cell_inside_is_cut_as_its_sizes_are():
    halves = gw.cell(lambda x, h: gw.tanh(gw.linear("u", x) + gw.cat(gw.chunk(h, 2)[::-1])))
    outer = gw.cell(sizes={"h": "key"})(lambda x, h: halves.equations(x, h, prefix="in"))
    assert outer.size_names() == ("key",)
    assert str(outer.next_states[0]).count("h[key/2:key]") == 1


def test_recurrent_maps_are_found_behind_them():
    cell = gw.cell(lambda x, h: gw.tanh(gw.linear("n", x) + gw.linear("u", gw.roll(h, 1))))
    assert gw.rewriting.recurrent_dropout(cell, 0.5).noises


def test_they_are_drawn():
    svg = gw.explain(everything).svg
    assert all(word in svg for word in ("roll", "flip", "cumsum", "shift", "cat", "take"))
