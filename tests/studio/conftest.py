"""Small trained networks of every task, on data that is on disk, and the studio that shows them."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from starlette.testclient import TestClient

from gatework.studio.models import open_models
from gatework.studio.server import make_app
from gatework.studio.serving import serve
from gatework.train import Run, RunConfig, Runner, Trainer, fit

TEXT = b'def f(x):\n    return [x, (x + 1), "a string"]\n\n' * 500


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder as `gatework compare` leaves it: a vanilla RNN, an LSTM of two layers, a GRU."""
    path = tmp_path_factory.mktemp("studio")
    (path / "text.py").write_bytes(TEXT)
    for cell, layers in (("gru", 1), ("lstm", 2), ("rnn", 1)):
        settings = {"embedding_size": 6, "layers": layers, "batch_size": 4, "window": 16}
        train(path / "runs" / cell, path / "text.py", cell=cell, steps=60, **settings)
    return path / "runs"


def train(folder, file, **settings):
    """Train a small network."""
    trainer = Trainer.of(RunConfig.of(**{"hidden_size": 12, **settings}, files=(file,)))
    fit([Runner(trainer, Run.create(trainer, folder))], lambda *_: None)


TASKS = {
    "forecast": {
        "task": "forecast", "target": ("x",), "horizon": 6, "season": (12,),
        "held_out_steps": 40, "context": 24,
    },
    "classify": {"task": "classify", "held_out_share": 0.4},
    "both": {
        "task": "classify", "held_out_share": 0.4, "cell": "gru", "layers": 2,
        "bidirectional": True,
    },
    "regress": {"task": "regress", "held_out_share": 0.4, "cell": "gru"},
    "tag": {"task": "tag", "held_out_share": 0.4, "layers": 2},
    "characters": {"symbols": "characters", "window": 16},
}  # fmt: skip
"""Settings of a run of each kind; "both" reads in both directions."""


@pytest.fixture(scope="session")
def of_task(tmp_path_factory):
    """Open a run of a kind of `TASKS`; each is trained once."""
    path, opened = tmp_path_factory.mktemp("tasks"), {}

    def open_one(kind):
        if kind not in opened:
            file = path / ("text.py" if kind == "characters" else f"{kind}.jsonl")
            file.write_bytes(TEXT if kind == "characters" else sequences(kind))
            settings = {"cell": "lstm", "batch_size": 4, "steps": 40, **TASKS[kind]}
            train(path / "runs" / kind, file, **settings)
            opened[kind] = open_models(path / "runs" / kind)
        return opened[kind]

    return open_one


def sequences(kind):
    """Waves of two columns, of unequal lengths down to a single row, with missing values."""
    generator, lines = np.random.default_rng(0), []
    for k in range(3 if kind == "forecast" else 40):
        length = 700 + k if kind == "forecast" else (1, 7, 12, 23)[k % 4]
        steps, label = np.arange(length), k // 4 % 2
        x = np.sin(steps * (0.5 + label)) + 0.1 * generator.normal(size=length)
        row = {"unique_id": f"s{k}", "x": x.round(3).tolist(), "z": (steps % 7).tolist()}
        row["x"][length // 2] = None
        labels = {
            "classify": ["slow", "fast"][label], "both": ["slow", "fast"][label],
            "regress": float(label), "tag": ["up" if v > 0 else "down" for v in x],
        }  # fmt: skip
        lines.append({**row, **({"y": labels[kind]} if kind in labels else {})})
    return "\n".join(map(json.dumps, lines)).encode()


@pytest.fixture(scope="session")
def served():
    """Serve models while entered: `with served(models) as address`."""
    return serving


@contextmanager
def serving(models):
    """The studio, served as the command does it; its address."""
    import uvicorn

    told: list[str] = []
    ready = threading.Event()
    servers: list[uvicorn.Server] = []
    run = uvicorn.Server.run

    def remember(server, *args, **kwargs):
        servers.append(server)
        run(server, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uvicorn.Server, "run", remember)
        patch.setattr(uvicorn.Server, "install_signal_handlers", lambda _: None, raising=False)
        thread = threading.Thread(
            target=serve, args=(models, 0, lambda a: (told.append(a), ready.set()))
        )
        thread.start()
        assert ready.wait(30)
        while not servers or not servers[0].started:
            assert thread.is_alive()
        try:
            yield told[0]
        finally:
            servers[0].should_exit = True
            thread.join(30)


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
