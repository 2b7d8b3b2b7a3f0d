"""Properties of a text, and units that are known to track them."""

from __future__ import annotations

import io
import token
import tokenize
from pathlib import Path

import numpy as np
import pytest
import torch

import gatework as gw
from gatework.lens import find_units, label_text
from gatework.lens.properties import (
    TEXT_PROPERTIES,
    bracket_depth,
    indentation,
    inside_quotes,
    inside_string,
    position_in_line,
)

SOURCE = Path(__file__).read_bytes()


def by_tokens(source: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Which bytes are inside a string, and the bracket depth, by Python's own tokenizer."""
    starts = np.cumsum([0, *(len(line) for line in source.splitlines(keepends=True))])
    inside, depth = np.zeros(len(source)), np.zeros(len(source))
    strings = {token.STRING}
    for found in tokenize.tokenize(io.BytesIO(source).readline):
        if found.type == token.ENCODING:
            continue
        first = starts[found.start[0] - 1] + found.start[1]
        if found.type in strings:
            end = starts[found.end[0] - 1] + found.end[1]
            inside[first + found.string.index(found.string[-1]) : end - 1] = 1
        elif found.string in tuple("([{"):
            depth[first:] += 1
        elif found.string in tuple(")]}"):
            depth[first:] -= 1
    return inside, depth


PLAIN = b"\n".join(line for line in SOURCE.split(b"\n") if b'f"' not in line and b"f'" not in line)


def test_strings_and_brackets_are_those_of_pythons_tokenizer():
    assert PLAIN.isascii()
    inside, depth = by_tokens(PLAIN)
    assert 0.02 < inside.mean() < 0.98
    np.testing.assert_array_equal(inside_string(PLAIN), inside)
    np.testing.assert_array_equal(bracket_depth(PLAIN), depth)


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        (b"'a\\'b'c", "1111100"),
        (b"'ab\nc'd'", "11100110"),
        (b'"""a"b\n"""c', "1111111" "1100"),
        (b"'''open\n", "11111111"),
        (b"#'\n'a", "00011"),
        (b"", ""),
    ],
)  # fmt: skip
def test_strings_in_odd_places(text, inside):
    assert "".join(f"{int(v)}" for v in inside_string(text)) == inside


def test_positions_and_indentation_follow_the_lines():
    for number, line in enumerate(SOURCE.splitlines(keepends=True)):
        start = sum(map(len, SOURCE.splitlines(keepends=True)[:number]))
        place = slice(start, start + len(line))
        expected = [*range(1, len(line)), 0]
        assert position_in_line(SOURCE)[place].tolist() == expected
        blanks = len(line) - len(line.lstrip(b" "))
        if line.strip():
            assert (indentation(SOURCE)[place][blanks:] == blanks).all()
        if number == 40:
            break


def test_quotes_alternate():
    assert inside_quotes(b'"a" "b').tolist() == [1, 1, 0, 0, 1, 1]
    assert inside_quotes(b"'a'b", b"'").tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("text", [b"", b"\n", b" ", b")]}", bytes(range(256))])
@pytest.mark.parametrize("name", TEXT_PROPERTIES)
def test_any_bytes_have_every_property(name, text):
    label = TEXT_PROPERTIES[name](text)
    assert label.shape == (len(text),)
    assert np.isfinite(label).all()
    assert (label >= 0).all()


def test_streams_read_the_text_as_training_does():
    text = bytes(range(200))
    windows = list(
        label_text(
            text, {"self": lambda t: np.frombuffer(t, np.uint8).astype("f")}, streams=3, window=20
        )
    )
    whole = torch.cat([inputs for inputs, _ in windows])
    assert whole.shape == (60, 3)
    assert whole[:, 1].tolist() == list(range(60, 120))
    for inputs, labels in windows:
        np.testing.assert_array_equal(labels["self"], inputs)
    assert (
        len(list(label_text(torch.tensor(list(text), dtype=torch.uint8), streams=3, window=20)))
        == 3
    )


def test_a_text_that_is_too_short_is_an_error():
    with pytest.raises(ValueError, match=r"a text of 9 bytes; expected at least 4,096"):
        next(label_text(b"x" * 9))
    with pytest.raises(ValueError, match=r"'short' gave the shape \[1\] for 200 bytes"):
        next(label_text(b"x" * 200, {"short": lambda t: np.zeros(1)}, streams=2, window=50))


# ---- known units -------------------------------------------------------------------------------


def counting_layer() -> gw.nn.Recurrent:
    """Unit 0 adds up its input, unit 1 sees the newest alone, unit 2 never moves."""

    @gw.cell
    def counting(x, h):
        return gw.linear("w", x) + gw.vector("keep") * h

    layer = gw.nn.Recurrent(counting, 1, 3)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(torch.tensor([[1.0], [-2.0], [0.0]]))
        layer.bias_ih_l0.zero_()
        layer.keep_l0.copy_(torch.tensor([1.0, 0.0, 0.0]))
    return layer


def test_known_units_are_found_with_their_sign():
    x = torch.randn(4, 50, 2, 1)
    batches = [
        (part, {"sum": part[..., 0].cumsum(0).numpy(), "newest": part[..., 0].numpy()})
        for part in x
    ]
    found = find_units(counting_layer(), batches)
    for name, unit, sign in (("sum", 0, 1), ("newest", 1, -1)):
        best = found.best(name, 3)
        assert (best[0].value, best[0].unit) == ("l0.h", unit)
        assert best[0].correlation == pytest.approx(sign, abs=1e-5)
        assert best[0].held_out == pytest.approx(sign, abs=1e-5)
        assert best[-1] == ("l0.h", 2, 0.0, 0.0)
        assert found.probe["l0.h"][found.properties.index(name)] > 0.999
    with pytest.raises(ValueError, match="no property named 'sums'; did you mean 'sum'"):
        found.best("sums")


def test_labels_that_mean_nothing_score_nothing_where_they_are_held_out():
    torch.manual_seed(0)
    x = torch.randn(40, 40, 2, 4)
    found = find_units(
        gw.nn.GRU(4, 32),
        [
            (part, {"noise": np.random.default_rng(k).normal(size=(40, 2))})
            for k, part in enumerate(x)
        ],
    )
    assert np.abs(found.held_out["l0.h"]).max() < 0.12
    assert found.probe["l0.h"][0] < 0.02


def test_gates_can_be_asked_for_and_padding_is_left_out():
    layer, x, lengths = gw.nn.LSTM(3, 4), torch.randn(2, 9, 2, 3), [9, 4]
    labels = [{"a": part[..., 0].numpy().copy()} for part in x]
    for label in labels:
        label["a"][4:, 1] = 1e6  # past the end
    run = lambda model, x: model(x, lengths=lengths)  # noqa: E731
    found = find_units(layer, zip(x, labels, strict=True), values=("f",), run=run)
    assert list(found.correlation) == ["l0.f"]
    assert (found.steps, found.held_out_steps) == (13, 13)
    gates = layer.trace(x[0], lengths=lengths)["f"].detach().numpy()
    rows = np.concatenate([gates[:, 0], gates[:4, 1]])
    y = np.concatenate([labels[0]["a"][:, 0], labels[0]["a"][:4, 1]])
    r = [np.corrcoef(row, y)[0, 1] for row in rows.T]
    np.testing.assert_allclose(found.correlation["l0.f"][0], r, rtol=1e-4)


X = torch.randn(6, 2, 3)
GOOD = {"a": np.zeros((6, 2))}


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([(X, GOOD)], "there is one batch; expected at least two"),
        ([(X, {"a": np.zeros((5, 2))})], r"labels have \[5, 2\] steps .*, l0.h has \[6, 2\]"),
        ([(X, {"a": np.full((6, 2), np.nan)})], "a label is not finite"),
        ([(X, {})], "has the properties none; expected at least one"),
        ([(X, GOOD), (X, {"b": GOOD["a"]})], "has the properties b; expected a, as in the first"),
        ([], "batches is empty"),
    ],
)  # fmt: skip
def test_wrong_labels_are_an_error(batches, message):
    with pytest.raises(ValueError, match=message):
        find_units(gw.nn.GRU(3, 4), batches)
