"""Cells that read more than their input: what stands before the slash."""

import json
import pickle

import pytest
import torch

import gatework as gw
from gatework.compiler.program import program
from gatework.lang import DefinitionError
from gatework.lang.writing import cell_as_data, cell_of_data


@gw.cell(sizes={"mask": "input"}, given={"speaker": "context"})
def informed(x, mask, gap, speaker, /, h, c):
    c = c / (1 + gap) + gw.tanh(gw.linear("n", x, h, speaker))
    return c * gw.sigmoid(gw.linear("o", mask)), c


def defined(text, **options):
    made = {"gw": gw}
    exec(f"def a_cell({text}", made)
    return gw.cell(**options)(made["a_cell"])


def test_what_stands_before_the_slash_is_read_from_outside():
    assert [(s.name, s.role, s.size) for s in informed.inputs] == [
        ("x", "sequence", "input"),
        ("mask", "sequence", "input"),
        ("gap", "sequence", "1"),
        ("speaker", "constant", "context"),
    ]
    assert informed.inputs == (informed.input, *informed.further)
    assert [s.name for s in informed.states] == ["h", "c"]
    assert informed.size_names() == ("context",)
    assert repr(informed) == "<cell informed(x, mask, gap, speaker, /, h, c)>"


def test_a_cell_of_one_input_is_as_ever():
    plain = defined("x, /, h): return gw.tanh(gw.linear('h', x, h))")
    assert gw.equivalent(plain, gw.cells.rnn)
    assert not plain.further
    assert repr(plain) == "<cell a_cell(x, h)>"
    assert repr(gw.cells.lstm) == "<cell lstm(x, h, c)>"


def test_weights_are_named_after_what_they_map():
    names = [p.name for p in informed.parameters if p.cols]
    assert names == ["weight_ih", "weight_hh", "weight_speakerh", "weight_maskh"]
    named_i = defined("x, i, /, h): return gw.tanh(gw.linear('n', x, i, h))")
    assert [p.name for p in named_i.parameters][-2:] == ["weight_i_h", "bias_i_h"]
    own = defined("x, gap, /, h): return gw.tanh(gw.linear('n', gap, h, group='own'))")
    assert "weight_own" in [p.name for p in own.parameters]


def test_constants_and_repeated_states_stand_beside_them():
    cell = defined(
        "x, gap, /, h, *past, delay=2, rate=0.5):"
        " return gw.tanh(gw.linear('n', x, past[-1])) * rate * gap, h, *past[:-1]",
        repeat="delay",
    )
    assert repr(cell) == "<cell a_cell(x, gap, /, h, past1, past2)>"
    assert repr(cell(delay=1, rate=0.25)).endswith("(x, gap, /, h, past1)>")


def test_inputs_that_nothing_reads_stay():
    pinned = informed.pin(o=1.0, n=0.0)
    assert pinned.further == informed.further
    assert pinned.deterministic().further == informed.further
    assert informed.without_bias().further == informed.further


def test_a_trace_of_a_row_from_outside_survives_a_pin():
    @gw.cell
    def observed(x, gap, /, h):
        return gw.tanh(gw.linear("n", x, h)) * gw.observe("twice", 2 * gap)

    assert "twice" in observed.pin(n=0.5).names


def test_cells_with_other_inputs_are_not_equivalent():
    text = "x, {0}, /, h): return gw.tanh(gw.linear('n', x, h)) * {0}"
    gap, time = (defined(text.format(n)) for n in ("gap", "time"))
    assert gw.equivalent(gap, time)  # names do not count
    assert not gw.equivalent(gap, defined(text.format("gap"), given={"gap": "1"}))
    assert not gw.equivalent(gap, defined(text.format("gap"), sizes={"gap": "hidden"}))
    assert not gw.equivalent(gap, gw.cells.rnn)
    first, second = (
        defined(f"x, a, b, /, h): return gw.tanh(gw.linear('n', x, h)) * {n}") for n in "ab"
    )
    assert not gw.equivalent(first, second)


def test_a_cell_is_written_as_data_and_pickled():
    data = json.loads(json.dumps(cell_as_data(informed, informed.names)))
    for other in (cell_of_data(data), pickle.loads(pickle.dumps(informed))):
        assert other.inputs == informed.inputs
        assert other.next_states == informed.next_states
    earlier = cell_as_data(gw.cells.gru)
    assert earlier.pop("further") == []  # which was not written before there was such a thing
    assert gw.equivalent(cell_of_data(earlier), gw.cells.gru)
    data["further"] = [len(data["nodes"]) - 1]
    with pytest.raises(ValueError, match="these are not the equations of a cell"):
        cell_of_data(data)


def test_cells_of_equal_inputs_share_a_program():
    again = defined("x, gap, /, h): return gw.tanh(gw.linear('n', x, h)) * gap")
    twin = defined("x, gap, /, h): return gw.tanh(gw.linear('n', x, h)) * gap")
    assert program(again) is program(twin)


def test_a_cell_inside_another_is_given_its_inputs():
    @gw.cell(given={"who": "context"})
    def outer(x, gap, who, /, h):
        return gw.cells.cfc.equations(x, gap + gw.mean(who), h, prefix="inner")

    assert "inner_f" in outer.names
    with pytest.raises(DefinitionError, match=r"the equations of 'cfc' take x, gap, h; got 2"):
        defined("x, h): return gw.cells.cfc.equations(x, h, prefix='in')")
    with pytest.raises(DefinitionError, match="'cfc' reads a single number as 'gap', got a value"):
        defined("x, h): return gw.cells.cfc.equations(x, h, h, prefix='in')")


def test_the_picture_and_the_explanation_show_them():
    explained = gw.explain(informed)
    for label in (
        "mask: read at each step",
        "speaker: read once for a whole sequence",
        "x: the input",
    ):
        assert label in explained.svg
    lines = "\n".join(explained.backward)
    assert all(f"d_{n} = " in lines for n in ("x", "mask", "gap", "speaker"))
    assert "h' = c' * o" in explained.equations


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("x, gap, /): return x", {}, "x, gap stand before / .* so there is no state"),
        ("x, gap, h, /): return h", {}, "x, gap, h stand before /"),
        ("x, gap=1.0, /, h=0): return h", {}, "'gap' stands before / and has a default"),
        ("x, d_gap, /, h): return h", {}, "'d_gap' are the compiler's own; rename this input"),
        ("x, noise0, /, h): return h", {}, "'noise0' are the compiler's own"),
        ("x, gap, /, h): return h", {"given": {"x": "input"}}, "given= names 'x', which is none"),
        ("x, gap, /, h): return h", {"given": {"h": "hidden"}}, "given= names 'h', which is none"),
        ("x, gap, /, h): return h", {"given": {"gap": 3}}, "'gap': 'context'} here .* got 3"),
        ("x, a, /, h): return h", {"given": {"a": ()}}, "or its axes, .* got \\(\\)"),
        (
            "x, a, b, /, h): return h",
            {"given": {"a": ("p", "q"), "b": ("q", "p")}},
            "in two orders.*; choose one for all",
        ),
        ("x, h): return h", {"given": {"speaker": "context"}}, "names 'speaker', which is none"),
        (
            "x, a, /, h): return h",
            {"given": {"a": "context"}, "sizes": {"a": "context"}},
            "'a' has a size in given= already",
        ),
        ("x, a, /, h): return h", {"sizes": {"b": "input"}}, "cell has no argument named 'b'"),
        ("x, a, /, h): return a + x + h", {"sizes": {"a": "input"}}, "sizes 'hidden' and 'input'"),
    ],
)  # fmt: skip
def test_what_is_wrong_before_the_slash_is_told(text, options, message):
    with pytest.raises(DefinitionError, match=message):
        defined(text, **options)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_a_value_may_have_the_name_of_an_input(backend):
    """What is traced of it is the value; what the step reads is the input."""
    named, other = (
        defined(f"x, gap, /, h): return gw.tanh(gw.linear('{n}', x, h, gap)) * h + gap")
        for n in ("gap", "n")
    )
    layer, twin = gw.nn.Recurrent(named, 3, 4), gw.nn.Recurrent(other, 3, 4)
    twin.load_state_dict(layer.state_dict())
    x, gap = torch.randn(5, 2, 3), torch.rand(5, 2).requires_grad_()
    with gw.use_backend(backend):
        found, expected = layer.trace(x, gap=gap), twin.trace(x, gap=gap)
    torch.testing.assert_close(found["gap"], expected["n"])
    torch.testing.assert_close(found.output, expected.output)
    gradients = [torch.autograd.grad(t.output.sum(), gap)[0] for t in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_given_is_a_mapping():
    with pytest.raises(TypeError, match="given= expects a mapping"):
        gw.cell(given="speaker")(lambda x, speaker, /, h: h)
    with pytest.raises(TypeError, match=r"axes= names the axes .*'speaker'.* got"):
        gw.cell(given={"speaker": ("place", 3)})(lambda x, speaker, /, h: h)
