"""Two small trained networks on a text that is on disk, and the studio that shows them."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from gatework.studio.models import open_models
from gatework.studio.server import make_app
from gatework.train import Run, RunConfig, Runner, Trainer, fit

TEXT = b'def f(x):\n    return [x, (x + 1), "a string"]\n\n' * 500


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder as `gatework compare` leaves it: a vanilla RNN, an LSTM of two layers, a GRU."""
    path = tmp_path_factory.mktemp("studio")
    (path / "text.py").write_bytes(TEXT)
    for cell, layers in (("gru", 1), ("lstm", 2), ("rnn", 1)):
        config = RunConfig.of(
            cell=cell, hidden_size=12, embedding_size=6, layers=layers, batch_size=4, window=16,
            steps=60, files=(path / "text.py",),
        )  # fmt: skip
        trainer = Trainer.of(config)
        runner = Runner(trainer, Run.create(trainer, path / "runs" / cell))
        fit([runner], lambda *_: None)
    return path / "runs"


@pytest.fixture(scope="session")
def models(folder):
    return open_models(folder)


@pytest.fixture
def client(models):
    app = make_app(models, frozenset({"testserver"}))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def read(client):
    """Begin a reading and wait for its end; its key."""

    def go(text: str, model: int = 0, **hold: float) -> str:
        body = {"model": model, "text": text, "hold": hold}
        key = client.post("/api/readings", json=body).json()["reading"]
        for _ in range(10_000):
            told = client.get(f"/api/readings/{key}").json()
            assert told["error"] is None
            if told["done"] == told["length"]:
                return key
        raise AssertionError("the reading does not end")

    return go
