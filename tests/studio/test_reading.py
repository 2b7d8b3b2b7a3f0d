"""What the studio shows is what the network does, step by step."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gatework.data import Corpus
from gatework.errors import InputError
from gatework.studio.firing import Library
from gatework.studio.models import alike, open_models
from gatework.studio.reading import CHUNK, LEVELS, Reading, decode, encode
from gatework.tasks.text.held_out import HeldOutText

DATA = (b'def g(y):\n    return "some text" + y\n\n' * 60)[: 3 * CHUNK + 77]


def reading_of(studied, data, pins=None):
    typed = studied.held_out.typed(data.decode())
    return Reading(studied, typed, typed.whole(0), pins or {})


def finished(studied, data, pins=None):
    reading = reading_of(studied, data, pins)
    while not reading.finished:
        reading.advance()
    assert reading.error is None
    return reading


@pytest.fixture(params=[0, 1, 2], ids=["rnn", "lstm", "gru"])
def studied(models, request):
    return models[request.param]


def traced(studied, data, pins=None):
    """The whole text in one call."""
    model, inputs = studied.model, torch.tensor(list(data)).unsqueeze(1)
    trace = model.layer.trace(model.embedding(inputs), pin=pins)
    return trace, model.decoder(trace.output)[:, 0]


def test_models_of_a_comparison_stand_in_the_order_in_which_they_are_taught(models):
    assert [m.name for m in models] == ["rnn", "lstm", "gru"]


def test_single_steps_are_those_of_one_long_call(studied):
    reading = finished(studied, DATA)
    trace, scores = traced(studied, DATA)
    for layer, directions in enumerate(trace.layers):
        for name in studied.values:
            whole = directions[0][name][:, 0].numpy()
            parts = [reading.chunk(k).values[layer, name] for k in range(4)]
            np.testing.assert_allclose(np.concatenate(parts), whole, rtol=1e-4, atol=1e-5)
    costs = torch.nn.functional.cross_entropy(
        scores[:-1], torch.tensor(list(DATA[1:])), reduction="none"
    )
    assert np.isnan(reading.costs[0])
    np.testing.assert_allclose(reading.costs[1:], costs.numpy() / np.log(2), rtol=1e-3, atol=1e-4)
    assert reading.mean_cost() == pytest.approx(float(costs.mean()) / np.log(2), rel=1e-4)


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_tiles_are_means_of_the_steps_that_a_column_stands_for(studied, level):
    reading, steps = finished(studied, DATA), LEVELS[level]
    trace, _ = traced(studied, DATA)
    layer = len(trace.layers) - 1
    for name in studied.values:
        values = trace.layers[layer][0][name][:, 0].numpy()
        means = [values[t : t + steps].mean(axis=0) for t in range(0, len(values), steps)]
        columns = len(means)
        tiles = [reading.tile(layer, name, level, k) for k in range((columns + CHUNK - 1) // CHUNK)]
        assert all(t.shape[1] == CHUNK for t in tiles[:-1])
        codes = np.concatenate(tiles, axis=1).T
        expected = encode(np.array(means), studied.scales[name])
        assert np.abs(codes.astype(int) - expected.astype(int)).max() <= 1


def test_a_tile_of_a_text_half_read_has_what_is_read(studied):
    reading = reading_of(studied, DATA)
    reading.advance()
    assert (reading.done, reading.finished) == (CHUNK, False)
    assert reading.tile(0, "h", 1, 0).shape == (12, CHUNK // 8)
    assert reading.tile(0, "h", 0, 0).shape == (12, CHUNK)


def test_a_held_gate_is_held_and_the_prediction_is_that_of_the_held_network(models):
    gru = models[2]
    pins = {"r": 1.0, "z": 0.0}
    reading = finished(gru, DATA, pins)
    trace, scores = traced(gru, DATA, pins)
    assert (decode(reading.tile(0, "r", 0, 0), "open") == 1).all()
    assert (decode(reading.tile(0, "z", 2, 0), "open") == 0).all()
    told = reading.step(100, 8)
    said = told["said"]
    best = torch.softmax(scores[100].double(), 0).topk(8)
    assert [n["number"] for n in said["next"]] == best.indices.tolist()
    assert [n["chance"] for n in said["next"]] == pytest.approx(best.values.tolist(), abs=1e-4)
    assert said["coming"]["number"] == DATA[101]
    assert told["means"]["z"] == [0.0]
    unheld = finished(gru, DATA)
    assert unheld.step(100, 8)["said"]["next"] != said["next"]
    expected = trace.layers[0][0]["h"][50:700, 0, 3].tolist()
    assert reading.unit(0, "h", 3, 50, 700)["h"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("scale", ["open", "signed"])
def test_codes_can_be_decoded(scale):
    values = np.linspace(0 if scale == "open" else -3, 1 if scale == "open" else 3, 999)
    tolerance = 0.6 / 255 if scale == "open" else 0.1
    found = decode(encode(values.astype(np.float32), scale), scale)
    np.testing.assert_allclose(found, values, atol=tolerance)
    ends = encode(np.array([-np.inf, np.inf, np.nan], np.float32)[:2], "open")
    assert ends.tolist() == [0, 255]


@pytest.mark.parametrize("size", [1, 2, CHUNK, CHUNK + 1])
def test_short_texts_and_whole_chunks(studied, size):
    reading = finished(studied, DATA[:size])
    assert reading.tile(0, "h", 0, 0).shape == (12, min(size, CHUNK))
    assert reading.step(size - 1, 3)["said"]["coming"] is None
    assert (reading.mean_cost() is None) == (size == 1)


def test_the_gru_held_open_becomes_the_vanilla_rnn_and_is_drawn_so(models):
    told = models[2].picture({"r": 1.0, "z": 0.0})
    assert told["becomes"]["name"] == "rnn"
    assert "isgate" not in told["svg"].replace(".isgate", "")
    assert models[2].picture({})["becomes"] is None
    assert models[2].picture({"z": 0.5})["becomes"] is None


def test_passages_are_the_places_where_a_unit_is_largest(models):
    lstm = models[1]
    library = Library.of(lstm)
    found = library.passages(1, "c", 5, count=3)
    values = library.values[1, "c"][:, :, 5].astype(np.float32)
    top = found["high"][0]
    assert top["values"][top["at"]] == pytest.approx(values[64:].max(), abs=1e-3)
    low = found["low"][0]
    assert low["values"][low["at"]] == pytest.approx(values[64:].min(), abs=1e-3)
    assert sum(c["width"] for c in top["characters"]) == len(top["values"])
    shown = "".join(c["label"] for c in top["characters"])
    assert shown.replace("·", " ").replace("↵", "\n").encode() in lstm.held_out.text(
        lstm.held_out.whole(0)
    )


def test_a_step_tells_bytes_as_the_characters_that_they_end_or_begin(models):
    text = Corpus.of("a text", b"", "月明月晒é".encode() * 9)
    rnn = replace(models[0], held_out=HeldOutText(text, None))
    told = finished(rnn, "é月".encode()).step(2, 256)["said"]
    after = {n["number"]: (n["label"], n["begins"]) for n in told["next"]}
    assert told["read"] == "éE6"
    assert after[0x9C] == ("9C", "月")
    assert after[0x98] == ("98", "明")
    assert after[ord("a")] == ("a", "")
    assert after[0xC3] == ("C3", "é")
    assert after[0xE6] == ("E6", "月明晒")  # the most frequent first
    assert after[0xFF] == ("FF", "")
    assert told["coming"]["label"] == "9C"
    assert finished(rnn, "é月".encode()).step(3, 8)["said"]["coming"]["label"] == "月"


def test_units_that_act_alike_stand_together():
    wave = np.sin(np.linspace(0, 40, 500))
    other = np.cos(np.linspace(0, 97, 500))
    values = np.stack([wave, other, -wave, other, wave, 0 * wave], axis=1)
    order = alike(values).tolist()
    assert sorted(order) == list(range(6))
    assert abs(order.index(0) - order.index(4)) == 1
    assert abs(order.index(1) - order.index(3)) == 1


def test_what_is_not_there_is_said(tmp_path, folder):
    with pytest.raises(InputError, match="no run in"):
        open_models(tmp_path)
    assert [m.name for m in open_models(folder / "gru")] == ["gru"]
