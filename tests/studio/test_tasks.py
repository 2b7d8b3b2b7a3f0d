"""The studio shows a network of any task: what it reads, what it predicts, where its units fire."""

import json

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from gatework.errors import InputError
from gatework.studio import models as studio_models
from gatework.studio.firing import Library, stretches
from gatework.studio.models import open_models
from gatework.studio.reading import CHUNK, Reading
from gatework.studio.server import make_app

SLOW = (pytest.param(kind, marks=pytest.mark.slow) for kind in ("classify", "regress", "tag"))
KINDS = ("forecast", "both", *SLOW)
SAID = {"forecast": "forecast", "regress": "number"}


@pytest.fixture
def client(of_task, kind):
    with TestClient(make_app(of_task(kind), frozenset({"testserver"}))) as client:
        yield client


def read(client, sequence, **more):
    body = {"model": 0, "sequence": sequence, **more}
    answer = client.post("/api/readings", json=body)
    assert answer.status_code == 200, answer.text
    key = answer.json()["reading"]
    while (told := client.get(f"/api/readings/{key}").json())["done"] < told["length"]:
        assert told["error"] is None
    return key


def finished(studied, place, **pins):
    reading = Reading(studied, studied.held_out, place, pins)
    while not reading.finished:
        reading.advance()
    assert reading.error is None
    return reading


@pytest.mark.parametrize("kind", KINDS)
def test_a_held_gate_changes_what_is_predicted_of_every_task(client, kind):
    about = client.get("/api/models").json()
    gate = next(v["name"] for v in about["models"][0]["values"] if v["kind"] == "gate")
    sequence = about["reads"]["sequences"] - 1
    length = client.get(f"/api/sequence?sequence={sequence}&first=0").json()["length"]
    steps, costs = [], []
    for hold in ({}, {gate: 0.0}):
        key = read(client, sequence, hold=hold)
        step = client.get(f"/api/readings/{key}/step?at={length - 1 - 10 * (kind == 'forecast')}")
        steps.append(step.json())
        costs.append(client.get(f"/api/readings/{key}").json()["cost"])
    assert steps[0]["said"]["kind"] == SAID.get(kind, "chances")
    assert steps[0]["said"] != steps[1]["said"]
    assert costs[0] != costs[1]
    assert steps[1]["means"][gate] == [0.0] * len(about["models"][0]["layers"])


@pytest.mark.parametrize("kind", KINDS)
def test_sequences_are_found_and_drawn(client, kind, of_task):
    (studied,) = of_task(kind)
    about = client.get("/api/models").json()["reads"]
    assert about["sequences"] == len(studied.held_out.lengths)
    every = client.get("/api/sequences").json()
    assert every["count"] == about["sequences"]
    name = every["found"][0]["name"]
    found = client.get("/api/sequences", params={"find": name.upper()}).json()["found"]
    assert found[0] == every["found"][0]
    assert client.get("/api/sequences", params={"find": "nowhere"}).json()["count"] == 0
    told = client.get("/api/sequence?sequence=0&first=0").json()
    assert told["curves"] == ["x", "z"]
    assert told["length"] == every["found"][0]["length"]
    curves = np.frombuffer(client.get("/api/curves?sequence=0&first=0").content, np.float32)
    x, z = curves.reshape(2, -1)
    assert z.tolist() == [step % 7 for step in range(len(z))] or kind == "forecast"
    place = studied.held_out.whole(0)
    np.testing.assert_array_equal(x, studied.held_out.track(place).curves["x"])
    assert sum(width for _, width in told["labels"]) == (told["length"] if kind == "tag" else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_single_steps_are_those_of_one_long_call(of_task, kind):
    (studied,) = of_task(kind)
    held_out, model = studied.held_out, studied.model
    place = held_out.whole(int(held_out.lengths.argmax()))
    reading = finished(studied, place)
    read = held_out.read(place)
    trace = model.layer.trace(model.encode(read.inputs), **model.further(read.more))
    directions = [one for layer in trace.layers for one in layer]
    assert len(studied.layers) == len(directions)
    for layer, values in enumerate(directions):
        tile = reading.tile(layer, "h", 0, 0)
        assert tile.shape == (12, min(CHUNK, place.last))
        np.testing.assert_allclose(
            reading.chunk(0).values[layer, "h"], values["h"][: len(tile.T), 0], atol=1e-5
        )
    whole, _ = model(read.inputs, **read.more)
    last = whole if kind in ("classify", "both", "regress") else whole[-1]
    found = reading.chunk((place.last - 1) // reading.piece).predictions[-1]
    torch.testing.assert_close(found, last, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["both"])
def test_who_reads_backward_predicts_once(client, of_task, kind):
    (studied,) = of_task(kind)
    assert studied.layers[:2] == ("layer 0, forward", "layer 0, backward")
    assert len(client.get("/api/models").json()["models"][0]["order"]) == 4
    reading = finished(studied, studied.held_out.whole(0))
    first, last = reading.step(0, 2), reading.step(len(reading) - 1, 2)
    assert first["said"] == last["said"]
    assert first["of"].startswith("Of the whole sequence")
    assert np.isnan(reading.costs[:-1]).all()
    assert reading.mean_cost() == pytest.approx(reading.costs[-1])


@pytest.mark.parametrize("kind", ["forecast"])
def test_a_series_is_read_from_a_step_on(client, kind):
    told = client.get("/api/sequence?sequence=1&first=10").json()
    whole = client.get("/api/sequence?sequence=1&first=0").json()
    assert (whole["length"], whole["begin"]) == (64, 24)  # the context and what is held out
    assert (told["length"], told["begin"], told["first"]) == (54, 14, 10)
    key = read(client, 1, first=10)
    assert client.get(f"/api/readings/{key}").json()["length"] == 54
    said = client.get(f"/api/readings/{key}/step?at=53").json()["said"]
    assert said["targets"][0]["truth"] == [None] * 6
    said = client.get(f"/api/readings/{key}/step?at=20").json()["said"]
    assert None not in said["targets"][0]["truth"]
    assert len(said["targets"][0]["quantiles"]) == len(said["levels"]) == 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["regress"])
def test_one_row_is_enough(client, kind, of_task):
    (studied,) = of_task(kind)
    (ones,) = np.nonzero(studied.held_out.lengths == 1)
    assert len(ones)
    key = read(client, int(ones[0]))
    step = client.get(f"/api/readings/{key}/step?at=0").json()
    assert step["of"] == "After the 1 step read so far."
    assert step["said"]["truth"] in (0, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_places_where_a_unit_fires_are_curves(client, kind, of_task):
    (studied,) = of_task(kind)
    layer = len(studied.layers) - 1
    body = {"model": 0, "layer": layer, "value": "h", "unit": 3}
    told = client.post("/api/passages", json=body).json()
    library = Library.of(studied)
    values = library.values[layer, "h"][:, :, 3].astype(np.float32)
    lengths = np.array([p.last - p.first for p in library.places])
    known = np.arange(len(values))[:, None] < lengths
    top, low = told["high"][0], told["low"][0]
    assert top["values"][top["at"]] == pytest.approx(values[known].max(), abs=1e-3)
    assert low["values"][low["at"]] == pytest.approx(values[known].min(), abs=1e-3)
    assert list(top["curves"]) == ["x", "z"]
    assert len(top["curves"]["x"]) == len(top["values"])
    json.dumps(told, allow_nan=False)


def test_stretches_lie_apart_and_are_not_too_many(of_task):
    held_out = of_task("forecast")[0].held_out
    places = stretches(held_out)
    assert places == [held_out.whole(k) for k in range(3)]


@pytest.mark.parametrize("kind", ["both"])
def test_a_text_for_a_model_of_sequences_is_refused(client, kind):
    for body in ({"text": "a"}, {}, {"text": "a", "sequence": 0}, {"sequence": 99}):
        answer = client.post("/api/readings", json={"model": 0, **body})
        assert answer.status_code == 400
        assert answer.json()["expected"]
    body = {"model": 0, "sequence": 0, "first": 10_000}
    assert client.post("/api/readings", json=body).status_code == 400
    assert client.get("/api/sequence?sequence=99&first=0").status_code == 400
    assert client.post("/api/characters", json={"text": "a"}).status_code == 400


@pytest.mark.parametrize("kind", ["characters"])
def test_a_text_of_characters_is_typed(client, kind):
    told = client.post("/api/characters", json={"text": "def ö"}).json()
    assert told == {"labels": list("def·�"), "widths": [1] * 5}  # it has never read an ö
    about = client.get("/api/models").json()
    assert about["reads"]["step"] == "character"
    assert about["models"][0]["unit"] == "bits per character"
    body = {"model": 0, "text": "def f(x):\n"}
    key = client.post("/api/readings", json=body).json()["reading"]
    while client.get(f"/api/readings/{key}").json()["done"] < 10:
        pass
    said = client.get(f"/api/readings/{key}/step?at=3").json()["said"]
    assert (said["read"], said["coming"]["label"]) == ("def·", "f")
    body = {"model": 0, "sequence": 0}
    assert client.post("/api/readings", json=body).status_code == 400


@pytest.mark.slow
def test_runs_that_read_different_things_are_not_shown_together(of_task, tmp_path):
    for kind in ("classify", "regress"):
        (studied,) = of_task(kind)
        (tmp_path / kind).symlink_to(studied.run.path, target_is_directory=True)
    with pytest.raises(InputError, match="read different things: classify, regress"):
        open_models(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tag"])
def test_more_steps_than_are_read_are_left_out(of_task, kind, monkeypatch):
    monkeypatch.setattr(studio_models, "MOST_STEPS", 9)
    with TestClient(make_app(of_task(kind), frozenset({"testserver"}))) as client:
        longest = int(of_task(kind)[0].held_out.lengths.argmax())
        told = client.get(f"/api/sequence?sequence={longest}&first=2").json()
        assert told["length"] == 9


@pytest.mark.parametrize("kind", ["both"])
def test_questions_for_sequences_that_are_not_there_are_refused(client, kind):
    for question in ("sequence", "curves"):
        for query in (
            "", "sequence=0", "sequence=-1&first=0", "sequence=0&first=x", "sequence=9999&first=0",
            "sequence=0&first=999999999", "sequence=٠&first=0", "sequence=1e1&first=0",
        ):  # fmt: skip
            answer = client.get(f"/api/{question}?{query}")
            assert answer.status_code == 400, query
            assert answer.json()["expected"]
    assert client.get("/api/sequences", params={"find": "x" * 10_000}).json()["count"] == 0
