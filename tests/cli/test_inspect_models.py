"""`gatework inspect FILE.py:FUNCTION`: any torch model on rows of numbers, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import gatework as gw
from gatework.cli.torch_models import typed_subject
from gatework.data.columns import Columns
from gatework.data.reading import read_sequences
from gatework.errors import InputError
from gatework.reports import held_out
from gatework.reports.inspection import inspect
from gatework.reports.torch_models import TorchSubject

MODEL = """
from torch import nn

import gatework as gw

class Net(nn.Module):
    def __init__(self, size=6):
        super().__init__()
        self.rnn = nn.LSTM(2, size, batch_first=True)
        self.head = nn.Linear(size, 3)

    def forward(self, x):
        return {"logits": self.head(self.rnn(x)[0].mean(1))}

def make():
    return Net()

def larger():
    return Net(7)

def broken():
    return nn.GRU(2, "no")

def nothing():
    return None

def linear():
    return nn.Linear(2, 2)

plain = nn.GRU(2, 4)
"""


class Stack(nn.Module):
    """Two modules of layers, of which the second reads backward too."""

    def __init__(self) -> None:
        super().__init__()
        self.below = gw.nn.GRU(2, 5, 2)
        self.above = nn.LSTM(5, 4, bidirectional=True)

    def forward(self, x):
        return self.above(self.below(x)[0])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(held_out, "ANCHORS", 12)
    Path("model.py").write_text(MODEL)
    rows = ["id,ds,a,b,text,gaps"]
    for k in range(6):
        values = np.random.default_rng(k).normal(size=(20 + k, 2)).round(3)
        rows += [f"{k},{t},{a},{b},x,{t or ''}" for t, (a, b) in enumerate(values)]
    Path("rows.csv").write_text("\n".join(rows) + "\n")
    lstm = nn.LSTM(2, 6, batch_first=True)
    head = nn.Linear(6, 3)
    state = {f"rnn.{n}": v for n, v in lstm.state_dict().items()}
    state |= {f"head.{n}": v for n, v in head.state_dict().items()}
    save_file(state, "w.safetensors")
    torch.save({"state_dict": state, "epoch": 3}, "w.pt")
    torch.save(lstm, "whole.pt")
    return tmp_path


DATA = "--data rows.csv --id id --inputs a,b"


@pytest.mark.slow
def test_a_page_is_written_of_a_model_of_ones_own(gatework, folder):
    arguments = f"inspect model.py:make --weights w.safetensors {DATA} --out page.html"
    result = gatework(*arguments.split())
    assert result.code == 0, result.err
    assert "influence of a step stays above 1 %" in result.out
    page = Path("page.html").read_text(encoding="utf-8")
    assert page.count("<h2>") == 7  # no learning curve
    what = "What model (lstm, 6 units) makes of rows.csv"
    for said in (what, "w.safetensors", ">a</text>", "steps read"):
        assert said in page
    assert "nobody said what the model should predict" in page


def test_weights_are_read_from_both_kinds_of_files(folder):
    columns = {"id": "id", "inputs": ("a", "b")}
    one, other = (
        typed_subject("model.py:make", Path(name), [Path("rows.csv")], columns).model.state_dict()
        for name in ("w.safetensors", "w.pt")
    )
    assert all(one[name].equal(other[name]) for name in other)


def sequences():
    return read_sequences([Path("rows.csv")], Columns.of(id="id", inputs=("a", "b")), "read")


@pytest.mark.parametrize("make", [Stack, lambda: nn.GRU(2, 4)])
def test_layers_wherever_they_stand_are_looked_into(folder, make):
    model = make()
    with gw.use_backend("reference"):
        found = inspect(TorchSubject("mine", model, sequences()))
    assert np.isfinite(found.horizon.influence).all()
    assert found.ablation is None
    if make is Stack:
        assert {s.rpartition(".")[0] for s in found.retention.mean} == {
            "below.l0", "below.l1", "above.l0", "above.l0_reverse",
        }  # fmt: skip
        assert found.subject.what == "gru, 2 layers of 5 units; lstm, 4 units"
        assert found.passage.backward is not None
    else:
        trace = found.subject.model.trace(torch.tensor(sequences().values[:20, None]))
        whole = found.subject.run(found.subject.read([held_out.Place(0, 0, 20)]))[0]
        torch.testing.assert_close(trace.output, whole)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (f"model.py:mak {DATA}", "did you mean 'make'?"),
        (f"model.py {DATA}", "it has Net, make"),
        (f"modle.py:make {DATA}", "did you mean 'model.py'?"),
        (f"model.py:broken {DATA}", "model.py:22: TypeError"),
        (f"model.py:nothing {DATA}", "model.py:nothing makes a NoneType"),
        (f"model.py:linear {DATA}", "a Linear without a recurrent layer"),
        (f"model.py:make --weights none.pt {DATA}", "no such file: 'none.pt'"),
        (f"model.py:make --weights whole.pt {DATA}", "'whole.pt' holds no weights by name"),
        (f"model.py:make --weights rows.csv {DATA}", "'rows.csv' holds no weights by name"),
        (f"model.py:plain --weights w.pt {DATA}", "has no weights for: weight_ih_l0"),
        (f"model.py:larger --weights w.pt {DATA}", "rnn.weight_ih_l0 [24, 2] for [28, 2]"),
        ("model.py:make", "model.py:make without data"),
        ("model.py:make --data gone.csv", "no such file: 'gone.csv'"),
        ("model.py:make --data rows.csv --inputs c", "--inputs c: there is no such column"),
        ("model.py:make --data rows.csv --inputs a,text", "column 'text' of rows.csv with texts"),
        ("model.py:make --data rows.csv --inputs a,gaps", "'gaps' of rows.csv with missing values"),
        ("model.py:make --data rows.csv --id id --inputs a", "float32 [1, 8, 1]"),
        (f"nowhere {DATA}", "--data beside 'nowhere'"),
        ("nowhere --time-column ds", "--time-column beside 'nowhere'"),
    ],
)
def test_what_cannot_be_used_is_told(gatework, folder, arguments, told):
    result = gatework("inspect", *arguments.split())
    assert result.code == 2
    assert told in result.err
    assert "Traceback" not in result.err


def test_a_model_that_does_not_call_its_layers_is_told(folder):
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.GRU(2, 4)

        def forward(self, x):
            return x

    with pytest.raises(InputError, match="without calling one of its recurrent layers"):
        TorchSubject("idle", Idle(), sequences())
