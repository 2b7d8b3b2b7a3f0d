"""Held-out data as what looks inside a model reads: the same for every task."""

import json

import numpy as np
import pytest
import torch

from gatework.tasks.held_out import Place
from gatework.train import RunConfig, Trainer

ROWS = 60
SMALL = {"cell": "gru", "hidden_size": 5, "batch_size": 2, "steps": 1}
KINDS = {
    "bytes": {"window": 8},
    "characters": {"window": 8, "symbols": "characters"},
    "forecast": {
        "task": "forecast",
        "target": ("x",),
        "horizon": 3,
        "season": (7,),
        "held_out_steps": 20,
    },
    "classify": {"task": "classify"},
    "regress": {"task": "regress"},
    "tag": {"task": "tag", "cell": "gru_d"},
}
TEXT = "def f(x):\n    return (x, 'größer 大')\n" * 60


def write(path, kind):
    """Data of a kind: a text, series of a column and a missing value, labelled sequences."""
    if kind in ("bytes", "characters"):
        path.write_text(TEXT, encoding="utf-8")
        return
    generator = np.random.default_rng(0)
    with path.open("w") as file:
        for k in range(12):
            length = ROWS if kind == "forecast" else 4 + k
            x = generator.normal(size=length).round(3).tolist()
            x[2] = None
            labels = {
                "classify": "ab"[k % 2],
                "regress": float(k),
                "tag": list("ab" * length)[:length],
            }
            label = {} if kind == "forecast" else {"y": labels[kind]}
            other = {"z": list(range(length))}
            file.write(json.dumps({"unique_id": f"s{k}", "x": x, **other, **label}) + "\n")


@pytest.fixture
def trainer(kind, tmp_path):
    path = tmp_path / ("data.txt" if kind in ("bytes", "characters") else "data.jsonl")
    write(path, kind)
    return Trainer.of(RunConfig.of(**{**SMALL, **KINDS[kind]}, files=(path,)))


@pytest.mark.parametrize("kind", KINDS)
def test_steps_read_in_parts_are_those_of_the_whole(trainer):
    held_out = trainer.task.held_out(trainer.source)
    whole = held_out.whole(len(held_out.lengths) - 1)
    cut = whole.last // 2
    parts = [whole._replace(last=cut), whole._replace(first=cut)]
    read, halves = held_out.read(whole), [held_out.read(part) for part in parts]
    assert torch.equal(read.inputs, torch.cat([half.inputs for half in halves]))
    for name in trainer.model.further(read.more) or set(read.more) & {"ahead", "earlier"}:
        joined = torch.cat([half.more[name] for half in halves])
        assert torch.equal(read.more[name], joined), name
    tracks = [held_out.track(part) for part in parts]
    seen = held_out.track(whole)
    for name, curve in seen.curves.items():
        np.testing.assert_array_equal(curve, np.concatenate([t.curves[name] for t in tracks]))
    assert seen.labels == tracks[0].labels + tracks[1].labels
    properties = held_out.properties(whole)
    for name, values in held_out.properties(parts[1]).items():
        assert values.shape == (whole.last - cut,)
        if not name.startswith("change of"):  # the first step has no step before
            np.testing.assert_array_equal(values, properties[name][cut:], err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_reads_and_predicts_them(trainer):
    held_out, model = trainer.task.held_out(trainer.source), trainer.model.eval()
    place = held_out.passage(10)
    assert 0 <= place.first < place.last <= held_out.lengths[place.sequence]
    stretch = held_out.read(place)
    steps = place.last - place.first
    assert stretch.inputs.shape[:2] == (steps, 1)
    predicted, _ = model(stretch.inputs, **stretch.more)
    trace = model.layer.trace(model.encode(stretch.inputs), **model.further(stretch.more))
    torch.testing.assert_close(model.predict(trace.output, **stretch.more), predicted)
    track = held_out.track(place)
    drawn = sum(c.width for c in track.characters) or len(track.curves["x"])
    assert drawn == steps
    names = list(held_out.properties(place))
    for sequence in range(len(held_out.lengths)):
        assert list(held_out.properties(held_out.whole(sequence))) == names


@pytest.mark.parametrize("kind", ["forecast"])
def test_a_step_of_a_series_is_what_a_forecast_reads_there(trainer):
    held_out, windows = trainer.task.held_out(trainer.source), trainer.source.windows
    last = int(held_out.lengths[1])
    context = windows.shape.context
    stretch = held_out.read(Place(1, last - context, last))
    own = windows.window(1, held_out.row(1, last - 1))
    np.testing.assert_array_equal(stretch.inputs[:, 0].numpy(), own.inputs)
    np.testing.assert_array_equal(stretch.more["ahead"][-1, 0].numpy(), own.ahead[0])
    np.testing.assert_array_equal(stretch.more["earlier"][-1, 0].numpy(), own.earlier[0])
    assert held_out.row(1, int(held_out.begins[1])) == trainer.source.cuts[1]


@pytest.mark.parametrize("kind", ["classify", "regress", "tag"])
def test_the_label_stands_in_the_name(kind, trainer):
    held_out = trainer.task.held_out(trainer.source)
    name = held_out.track(held_out.whole(0)).name
    labels = {"classify": (": a", ": b"), "regress": tuple(f": {k}" for k in range(12))}
    if kind in labels:
        assert name.startswith("s")
        assert name.endswith(labels[kind])
    else:
        assert held_out.track(held_out.whole(0)).labels[:3] == ("a", "b", "a")
