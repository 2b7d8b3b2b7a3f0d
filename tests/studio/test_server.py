"""The studio's answers and its refusals: whatever is sent, it says what it expects and goes on."""

import json

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from gatework.studio.models import MOST_STEPS
from gatework.studio.server import ASSETS

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
FIELDS = {
    "model": st.integers(-2, 9) | ANYTHING,
    "text": st.text(max_size=40) | ANYTHING,
    "hold": st.dictionaries(st.sampled_from(["f", "z", "r", "nope", ""]), st.floats() | ANYTHING),
    "layer": st.integers(-2, 5) | ANYTHING,
    "value": st.sampled_from(["c", "h", "f", "../x"]) | ANYTHING,
    "unit": st.integers(-2, 40) | ANYTHING,
    "path": st.just("/etc/passwd"),
}
PATHS = ["/api/readings", "/api/characters", "/api/cell", "/api/passages"]
QUERIES = ["costs", "tile", "step", "unit", "nothing"]


def test_the_page_and_its_parts_are_served_and_need_no_network(client):
    page = client.get("/")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for name, kind in ASSETS.items():
        answer = client.get(f"/{name}")
        assert answer.headers["content-type"] == kind
        assert "://" not in answer.text.replace("http://www.w3.org", "")


def test_models_are_described(client):
    told = client.get("/api/models").json()
    assert [m["cell"] for m in told["models"]] == ["rnn", "lstm", "gru"]
    lstm = told["models"][1]
    assert [v["name"] for v in lstm["values"]] == ["i", "f", "o", "g", "c", "h"]
    assert [v["kind"] for v in lstm["values"]] == ["gate"] * 3 + ["value"] + ["state"] * 2
    assert sorted(lstm["order"][1]) == list(range(12))
    assert told["reads"]["example"]


def test_a_text_is_divided_into_characters(client):
    told = client.post("/api/characters", json={"text": "a 大\n"}).json()
    assert told == {"labels": ["a", "·", "大", "↵"], "widths": [1, 1, 3, 1]}
    assert client.post("/api/characters", json={"text": ""}).json() == {"labels": [], "widths": []}
    assert client.post("/api/characters", json={"text": "大" * 70_000}).status_code == 413


def test_a_text_is_read_and_its_tiles_are_there(client, read):
    key = read("def f(x):\n" * 110, model=1, f=0.5)
    tile = client.get(f"/api/readings/{key}/tile?layer=1&value=f&level=0&tile=1")
    units, columns = int(tile.headers["x-units"]), int(tile.headers["x-columns"])
    assert (units, columns) == (12, 512)
    assert set(tile.content) == {128}
    costs = np.frombuffer(client.get(f"/api/readings/{key}/costs?from=0").content, np.float32)
    assert len(costs) == 1100
    assert client.get(f"/api/readings/{key}/step?at=1099").json()["said"]["coming"] is None


def test_what_holds_a_gate_changes_what_comes_next(client, read):
    steps = [
        client.get(f"/api/readings/{read('def f(x)', model=2, **hold)}/step?at=7").json()
        for hold in ({}, {"z": 1.0})
    ]
    assert steps[0]["said"] != steps[1]["said"]


def test_where_a_unit_fires_and_what_the_cell_becomes(client):
    asked = {"model": 1, "layer": 1, "value": "c", "unit": 3}
    assert len(client.post("/api/passages", json=asked).json()["high"]) == 5
    told = client.post("/api/cell", json={"model": 2, "hold": {"r": 1.0, "z": 0.0}}).json()
    assert told["becomes"]["name"] == "rnn"
    assert told["svg"].startswith("<svg")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "testserver.evil.example"}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "https://testserver"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_other_pages_are_refused(client, headers, status):
    body = json.dumps({"model": 0, "text": "a"})
    headers = {"content-type": "application/json", **headers}
    answer = client.post("/api/readings", content=body, headers=headers)
    assert answer.status_code == status
    own = {"content-type": "application/json", "origin": "http://testserver"}
    assert client.post("/api/readings", content=body, headers=own).status_code == 200


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"model": 0, "text": ""}, 400),
        ({"model": 3, "text": "a"}, 400),
        ({"model": -1, "text": "a"}, 400),
        ({"model": True, "text": "a"}, 400),
        ({"model": 0, "text": "a", "hold": {"f": 0.5}}, 400),
        ({"model": 1, "text": "a", "hold": {"f": 1.5}}, 400),
        ({"model": 1, "text": "a", "hold": {"f": "1"}}, 400),
        ({"model": 1, "text": "a", "hold": {"c": 0.5}}, 400),
        ({"model": 1, "text": "a", "path": "/etc/passwd"}, 400),
        ({"model": 1, "text": "é" * (MOST_STEPS // 2 + 1)}, 413),
        ({"model": 1, "text": "a" * (MOST_STEPS + 1)}, 400),
        ({"model": 1, "text": "a" * (7 * MOST_STEPS)}, 413),
        ([], 400),
        ("x", 400),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_was_expected(client, body, status):
    answer = client.post("/api/readings", json=body)
    assert answer.status_code == status
    told = answer.json()
    assert told["error"]
    assert told["expected"]
    assert len(answer.content) < 1000


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"model":0,"text":"\\ud800"}']
)
def test_bodies_that_are_no_json_are_refused(client, content):
    headers = {"content-type": "application/json"}
    answer = client.post("/api/readings", content=content, headers=headers)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "query",
    [
        "tile", "tile?layer=0&value=h&level=0&tile=1", "tile?layer=1&value=h&level=0&tile=0",
        "tile?layer=0&value=h&level=4&tile=0", "tile?layer=0&value=i.pre&level=0&tile=0",
        "tile?layer=0&value=h&level=-1&tile=0", "tile?layer=٠&value=h&level=0&tile=0",
        "step?at=99", "step?at=-1", "step?at=1e1", "step?at=9999999999999999999999", "costs?from=x",
        "unit?layer=0&value=h&unit=12&from=0&to=5", "unit?layer=0&value=h&unit=1&from=0&to=99",
    ],
)  # fmt: skip
def test_questions_out_of_range_are_refused(client, read, query):
    key = read("def f(x):")
    answer = client.get(f"/api/readings/{key}/{query}")
    assert answer.status_code == 400
    assert answer.json()["expected"]


def test_paths_that_do_not_exist_and_other_methods_are_refused(client):
    for path in ("/../../etc/passwd", "/%2e%2e/config.yaml", "/assets/index.html", "/server.py"):
        assert client.get(path).status_code == 404
    assert client.get("/api/readings/unknown").status_code == 404
    assert client.delete("/api/models").status_code == 405
    assert client.put("/", content=b"x").status_code == 405


@pytest.mark.slow
@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(PATHS), st.dictionaries(st.sampled_from(list(FIELDS)), ANYTHING), st.data())
def test_malformed_bodies_are_survived(client, path, junk, data):
    drawn = {
        n: data.draw(s, n) for n, s in FIELDS.items() if n not in junk and data.draw(st.booleans())
    }
    content = json.dumps({**junk, **drawn}).encode("utf-8", "replace")
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    answer = client.post(path, content=content, headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400, 413), answer.text
    answer.json()


@pytest.mark.slow
@settings(
    max_examples=500, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(QUERIES),
    st.dictionaries(
        st.sampled_from(["layer", "unit", "value", "level", "tile", "from", "to", "at"]),
        st.integers(-3, 700).map(str) | st.sampled_from(["h", "c", "f"]) | st.text(max_size=8),
    ),
)
def test_malformed_questions_are_survived(client, read, question, query):
    key = read("def f(x): return x\n" * 40, model=1)
    answer = client.get(f"/api/readings/{key}/{question}", params=query)
    assert answer.status_code in (200, 400, 404), answer.text


def test_it_still_works_after_all_that(client, read):
    assert client.get(f"/api/readings/{read('def f', model=2)}/step?at=4").status_code == 200


def test_many_readings_do_not_fill_the_memory(client, read):
    keys = [read(f"text {k}") for k in range(30)]
    assert client.get(f"/api/readings/{keys[0]}").status_code == 404
    assert client.get(f"/api/readings/{keys[-1]}").status_code == 200
