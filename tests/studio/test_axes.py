"""A network whose state has heads, keys and values, as the studio shows it."""

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

import gatework as gw
from gatework.studio import rows as studio_rows
from gatework.studio.models import open_models
from gatework.studio.rows import Rows
from gatework.studio.server import make_app
from gatework.train import Run, RunConfig, Runner, Trainer, fit

H, K, V = 4, 16, 3  # what a hidden size of 12 makes of the axes
TEXT = b"def f(x):\n    return [x, (x + 1)]\n" * 400


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    path = tmp_path_factory.mktemp("heads")
    (path / "text.py").write_bytes(TEXT)
    with gw.use_backend("reference"):
        for cell in ("gated_delta_net", "s6"):
            config = RunConfig.of(
                cell=cell, hidden_size=12, embedding_size=6, batch_size=4, window=8, steps=2,
                files=(path / "text.py",),
            )  # fmt: skip
            trainer = Trainer.of(config)
            run = Run.create(trainer, path / "runs" / cell)
            fit([Runner(trainer, run)], lambda *_: None)
        yield open_models(path / "runs")


@pytest.fixture
def client(models, monkeypatch):
    monkeypatch.setattr(studio_rows, "MOST_ROWS", 100)
    for one in models:
        vars(one).pop("rows", None)
    with gw.use_backend("reference"), TestClient(make_app(models, frozenset({"testserver"}))) as c:
        yield c


def read(client, hold=()):
    body = {"model": 0, "text": TEXT[:700].decode(), "hold": dict(hold)}
    key = client.post("/api/readings", json=body).json()["reading"]
    while (told := client.get(f"/api/readings/{key}").json())["done"] < told["length"]:
        assert told["error"] is None
    return key


def traced(models, **hold):
    one = models[0]
    inputs = torch.tensor(list(TEXT[:700])).unsqueeze(1)
    with torch.no_grad():
        pin = {n: torch.full((one.units(n),), v) for n, v in hold.items()}
        return one.model.layer.trace(one.model.embedding(inputs), pin=pin)


def test_values_are_shown_by_head_with_as_many_axes_as_there_is_room_for(client):
    delta, selective = client.get("/api/models").json()["models"]
    shown = {v["name"]: v for v in delta["values"]}
    assert shown["a"]["axes"] == [["head", H]]
    assert (shown["a"]["kind"], shown["a"]["units"], shown["a"]["scale"]) == ("gate", H, "open")
    assert shown["k"]["axes"] == [["head", H], ["key", K]]
    assert shown["S"]["axes"] == [["head", H], ["key", K]]
    assert (shown["S"]["units"], shown["S"]["words"]) == (
        H * K, "state; root mean square over value"
    )  # fmt: skip
    assert delta["units"] == 12
    decay = next(v for v in selective["values"] if v["name"] == "decay")
    assert (decay["kind"], decay["axes"]) == ("gate", [["unit", 12]])
    assert decay["words"].endswith("; mean over mode")


def test_a_tile_has_a_row_for_each_head_and_key(client, models):
    key = read(client)
    tile = client.get(f"/api/readings/{key}/tile?layer=0&value=S&level=1&tile=0")
    assert (tile.headers["x-units"], tile.headers["x-columns"]) == (str(H * K), "88")
    S = traced(models)["S"][:8, 0].unflatten(-1, (H * K, V)).square().mean(-1).sqrt().mean(0)
    codes = np.frombuffer(tile.content, np.uint8).reshape(H * K, -1)[:, 0]
    expected = np.rint(255 * (1 + (S / (1 + S)).numpy()) / 2)
    assert np.abs(codes - expected).max() <= 1


def test_a_row_is_told_with_what_stands_at_its_head_and_key(client, models):
    key, row = read(client), 2 * K + 5
    query = f"layer=0&value=S&unit={row}&from=10&to=20"
    values = client.get(f"/api/readings/{key}/unit?{query}").json()["values"]
    assert set(values) == {"a", "b", "q", "k", "S"}  # v and the output lack the key
    trace = traced(models)
    assert values["a"] == pytest.approx(trace["a"][10:20, 0, 2].tolist(), abs=1e-4)
    assert values["k"] == pytest.approx(trace["k"][10:20, 0, row].tolist(), abs=1e-4)
    query = f"layer=0&value=S&unit={H * K}&from=10&to=20"
    assert client.get(f"/api/readings/{key}/unit?{query}").status_code == 400


def test_a_gate_of_heads_can_be_held(client, models):
    key = read(client, {"a": 0.25})
    query = "layer=0&value=a&unit=1&from=0&to=5"
    values = client.get(f"/api/readings/{key}/unit?{query}").json()["values"]
    assert values["a"] == [0.25] * 5
    cost = client.get(f"/api/readings/{key}").json()["cost"]
    assert cost != client.get(f"/api/readings/{read(client)}").json()["cost"]
    words = [t["words"] for t in models[0].worded.tries()]
    assert words == ["Close a: it forgets", "Open a: it keeps", "Close b: nothing new comes in"]


def test_passages_of_a_row_are_found(client):
    body = {"model": 0, "layer": 0, "value": "S", "unit": K + 1}
    told = client.post("/api/passages", json=body).json()
    assert len(told["high"]) == 5
    assert told["mean"] > 0  # a root mean square
    body["unit"] = H * K
    assert client.post("/api/passages", json=body).status_code == 400


def test_rows_are_few_whatever_the_number_of_units():
    rows = Rows.of(16_384, {"head": 4, "key": 64, "value": 64}, "signed")
    assert (rows.count, rows.axes, rows.over) == (256, {"head": 4, "key": 64}, ("value",))
    rows = Rows.of(2 * 600 * 600, {"head": 2, "key": 600, "value": 600}, "open")
    assert (rows.count, rows.over, rows.signed) == (2, ("key", "value"), False)
    assert rows.shown(torch.ones(3, 2 * 600 * 600)).tolist() == [[1.0, 1.0]] * 3
    plain = Rows.of(2_000, {}, "signed")
    assert (plain.count, plain.over) == (2_000, ())


def test_where_a_row_of_another_value_stands():
    state = Rows.of(24, {"head": 2, "key": 3, "value": 4}, "signed")
    gate, value = Rows.of(2, {"head": 2}, "open"), Rows.of(8, {"head": 2, "value": 4}, "signed")
    assert (gate.row_at(state, 17), value.row_at(state, 17)) == (1, 1 * 4 + 1)
    assert state.row_at(gate, 1) is None
    plain = Rows.of(5, {}, "signed")
    assert (plain.row_at(plain, 4), Rows.of(3, {}, "open").row_at(plain, 4)) == (4, None)
    assert (plain.row_at(gate, 1), gate.row_at(plain, 1)) == (None, None)
