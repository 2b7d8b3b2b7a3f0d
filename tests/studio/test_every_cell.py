"""The studio shows a network of any cell of the catalogue: of cells whose equations differ in kind.

That every cell has a drawing, gates and a trace is tested where these are made.
"""

import numpy as np
import pytest
import torch

import gatework as gw
from gatework.data import Corpus
from gatework.studio.models import Studied
from gatework.studio.reading import Reading
from gatework.tasks import task_class
from gatework.tasks.text.held_out import HeldOutText
from gatework.train import RunConfig, cell_settings
from language_models import language_model

pytestmark = pytest.mark.slow

KINDS = {
    "rnn": "no gate",
    "gru": "a state that a gate keeps",
    "gru_reset_before": "a product of a gated state",
    "lstm": "a memory beside the output",
    "projected_lstm": "a state of another size",
    "layer_norm_lstm": "sums over the units, learned vectors",
    "slstm": "four states, gates that are not sigmoids",
    "scrn": "an output that is no state, a state kept by a number",
    "tau_gru": "a state that is another's old value",
    "qrnn": "four states, the last inputs among them",
    "lmu": "known numbers, a memory of another size",
    "lru": "values of learned numbers alone",
    "rg_lru": "a learned decay, no recurrent matrix",
    "nas": "many functions, one after the other",
}
TEXT = "def f(x):\n    return x\n" * 5
HELD_OUT = HeldOutText(Corpus.of("a text", b"", TEXT.encode() * 2), None)


@pytest.fixture(autouse=True)
def reference():
    """Its numbers are the same, and no machine code has to be made for each cell."""
    with gw.use_backend("reference"):
        yield


@pytest.mark.parametrize("name", KINDS)
def test_a_network_of_any_cell_is_shown(name):
    torch.manual_seed(0)
    config = RunConfig.of(cell=name, hidden_size=6, embedding_size=4, layers=2)
    studied = Studied(name, _RunOf(config), language_model(config).eval(), HELD_OUT)
    described = studied.describe()["values"]
    assert {v["name"] for v in described} >= {*studied.cell.result_names()}
    assert all(v["words"] for v in described)
    typed = HELD_OUT.typed(TEXT)
    reading = Reading(studied, typed, typed.whole(0), {})
    while not reading.finished:
        reading.advance()
    assert reading.error is None
    for layer in range(2):
        for value in described:
            tile = reading.tile(layer, value["name"], 1, 0)
            assert tile.shape == (value["units"], (len(TEXT) + 7) // 8)
    assert np.isfinite(reading.mean_cost())
    for offered in studied.worded.tries():
        assert offered["words"]
        (gate,) = offered["hold"]
        assert gate in studied.gates
        assert studied.picture(offered["hold"])["svg"]
    assert bool(studied.worded.tries()) == bool(studied.gates)
    held = dict.fromkeys(studied.gates, 0.5)
    other = Reading(studied, typed, typed.whole(0), held)
    other.advance()
    assert other.error is None
    assert not held or other.step(40, 3) != reading.step(40, 3)
    for gate in studied.gates:
        assert (other.chunk(0).values[0, gate] == 0.5).all()
        assert studied.picture({gate: 1.0})["svg"]


def test_a_cell_of_ones_own_is_not_described_by_its_name():
    @gw.cell
    def lstm(x, h):
        f = gw.sigmoid(gw.linear("f", x, h))
        return f * h + (1 - f) * gw.tanh(gw.linear("i", x))

    config = RunConfig.of(**cell_settings(lstm), hidden_size=6, embedding_size=4)
    studied = Studied("mine", _RunOf(config), language_model(config).eval(), HELD_OUT)
    words = {value["name"]: value["words"] for value in studied.describe()["values"]}
    assert words["f"] == "gate: open, it keeps h"
    assert words["i"] == "value within the step"
    assert all("forget gate" not in offered["words"] for offered in studied.worded.tries())


class _RunOf:
    """What the studio asks of a run."""

    def __init__(self, config):
        self.config = config
        self.task = task_class("text")(config.task, {})
        self.manifest = type("Manifest", (), {"parameters": 0, "source": "a text"})

    def records(self):
        return iter(())
