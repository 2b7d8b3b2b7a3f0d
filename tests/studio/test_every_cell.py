"""The studio shows a network of any cell of the catalogue."""

import numpy as np
import pytest
import torch

import gatework as gw
from gatework.studio.models import Studied
from gatework.studio.reading import Reading
from gatework.train import RunConfig
from gatework.train.model import LanguageModel

CORE = {"rnn", "lstm", "gru", "gru_reset_before", "scrn", "tau_gru", "projected_lstm"}
TEXT = b"def f(x):\n    return x\n" * 5


@pytest.fixture(autouse=True)
def reference():
    """Its numbers are the same, and no machine code has to be made for each cell."""
    with gw.use_backend("reference"):
        yield


@pytest.mark.parametrize(
    "name",
    [n if n in CORE else pytest.param(n, marks=pytest.mark.slow) for n in gw.cells.catalogue()],
)
def test_a_network_of_any_cell_is_shown(name):
    torch.manual_seed(0)
    config = RunConfig.of(cell=name, hidden_size=6, embedding_size=4, layers=2)
    studied = Studied(name, _RunOf(config), LanguageModel(config).eval(), TEXT * 20)
    described = studied.describe()["values"]
    assert {v["name"] for v in described} >= {s.name for s in studied.cell.states}
    assert all(v["words"] for v in described)
    reading = Reading(studied, TEXT, {})
    while not reading.finished:
        reading.advance()
    assert reading.error is None
    for layer in range(2):
        for value in described:
            tile = reading.tile(layer, value["name"], 1, 0)
            assert tile.shape == (value["units"], (len(TEXT) + 7) // 8)
    assert np.isfinite(reading.mean_bits())
    for offered in studied.tries():
        assert offered["words"]
        (gate,) = offered["hold"]
        assert gate in studied.gates
        assert studied.picture(offered["hold"])["svg"]
    assert bool(studied.tries()) == bool(studied.gates)
    held = dict.fromkeys(studied.gates, 0.5)
    other = Reading(studied, TEXT, held)
    other.advance()
    assert other.error is None
    assert not held or other.step(40, 3) != reading.step(40, 3)
    for gate in studied.gates:
        assert (other.chunk(0).values[0, gate] == 0.5).all()
        assert studied.picture({gate: 1.0})["svg"]


class _RunOf:
    """What the studio asks of a run."""

    def __init__(self, config):
        self.config = config
        self.manifest = type("Manifest", (), {"parameters": 0, "corpus": "a text"})

    def records(self):
        return iter(())
