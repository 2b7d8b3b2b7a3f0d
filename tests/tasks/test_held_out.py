"""Held-out data as what looks inside a model reads: the same for every task."""

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from gatework.tasks.held_out import Place
from gatework.train import RunConfig, Trainer
from gatework.train.models import make_model

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


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said_in_parts_is_what_is_said_of_the_whole(trainer):
    held_out, model = trainer.task.held_out(trainer.source), trainer.model.eval()
    place = held_out.whole(len(held_out.lengths) - 1)._replace(last=9)
    state, left, predictions = None, None, []
    for first, last in ((0, 4), (4, 5), (5, 9)):
        read = held_out.read(place._replace(first=first, last=last))
        further = model.further(read.more)
        outputs, state = model.layer(model.encode(read.inputs), state, **further)
        found, left = model.so_far(outputs, left, **read.more)
        predictions.append(found.detach())
    predictions = torch.cat(predictions)
    for last in range(1, 10):
        read = held_out.read(place._replace(last=last))
        whole, _ = model(read.inputs, **read.more)
        end = whole if model_says_it_once(trainer) else whole[-1]
        torch.testing.assert_close(predictions[last - 1], end.detach(), rtol=1e-4, atol=1e-5)
    costs = held_out.costs(predictions, place)
    assert costs.shape == (9,)
    assert np.isfinite(costs).any()
    for step in range(9):
        said = held_out.said(predictions[step], place.sequence, step, 3).as_data()
        json.dumps(said, allow_nan=False)
        assert {"read", "names", "value", "targets"} & said.keys()


def model_says_it_once(trainer):
    return trainer.task.settings.kind in ("classify", "regress")


@pytest.mark.parametrize("kind", ["classify"])
@pytest.mark.parametrize("pool", ["last", "mean", "max"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_classes_of_every_beginning(trainer, pool, bidirectional):
    config = trainer.config.model_copy(update={"bidirectional": bidirectional})
    model = make_model(config, trainer.task).eval()
    model.pool = pool
    held_out = trainer.task.held_out(trainer.source)
    read = held_out.read(held_out.whole(0))
    outputs, _ = model.layer(read.inputs)
    found, _ = model.so_far(outputs, **read.more)
    for last in range(1, len(outputs) + 1):
        seen = len(outputs) if bidirectional else last  # who reads backward has seen the end
        whole, _ = model(read.inputs[:seen])
        torch.testing.assert_close(found[last - 1], whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["forecast"])
def test_a_forecast_is_said_in_its_own_unit_and_costs_what_is_measured(trainer):
    held_out, task = trainer.task.held_out(trainer.source), trainer.task
    step = int(held_out.begins[1]) + 2
    row = held_out.row(1, step)
    place = Place(1, step + 1 - trainer.source.windows.shape.context, step + 1)
    read = held_out.read(place)
    outputs = trainer.model.eval().layer(read.inputs)[0].detach()
    predictions = trainer.model.so_far(outputs, **read.more)[0].detach()
    found = task.forecast(trainer.model, trainer.source.windows, [(1, row)])
    said = held_out.said(predictions[-1], 1, step, 3)
    assert said.levels == task.settings.quantiles
    assert said.times == tuple(step + k for k in (1.0, 2.0, 3.0))
    quantiles = np.array(said.targets[0].quantiles).T
    np.testing.assert_allclose(quantiles, found.quantiles[0, :, 0], rtol=1e-3)
    np.testing.assert_allclose(said.targets[0].truth, found.truth[0, :, 0], rtol=1e-3)
    cost = held_out.costs(predictions, place)[-1]
    assert cost == pytest.approx(task._quantile_loss(trainer.source, found), rel=1e-4)
    assert held_out.name(1) == "s1"


@pytest.mark.parametrize("kind", ["classify", "tag", "regress"])
def test_labels_cost_what_the_task_says(kind, trainer):
    held_out, task, model = trainer.task.held_out(trainer.source), trainer.task, trainer.model
    place = held_out.whole(0)
    read = held_out.read(place)
    outputs = model.eval().layer(read.inputs, **model.further(read.more))[0]
    predictions = model.so_far(outputs, **read.more)[0].detach()
    costs = held_out.costs(predictions, place)
    batch = task.gather(trainer.source.held_out, held_out.numbers[:1])
    loss = task.loss(task.scores(model, batch), batch)
    assert held_out.cost(costs, place) == pytest.approx(float(loss.total) / loss.terms, rel=1e-4)


@pytest.mark.parametrize("kind", ["bytes", "characters"])
def test_a_typed_text_is_read_as_the_held_out_one_is(kind, trainer):
    held_out, model = trainer.task.held_out(trainer.source), trainer.model.eval()
    typed = held_out.typed("def größer大")
    whole = typed.whole(0)
    assert whole.last == (15 if kind == "bytes" else 11)
    predictions = model(typed.read(whole).inputs)[0].detach()
    costs = typed.costs(predictions, whole)
    coming = typed.read(whole).inputs[1:, 0]
    bits = cross_entropy(predictions[:-1, 0], coming, reduction="none") / np.log(2)
    np.testing.assert_allclose(costs[:-1], bits, rtol=1e-4)
    assert np.isnan(costs[-1])
    said = typed.said(predictions[5], 0, 5, 4)
    assert said.read == "def·gr"
    assert said.coming.label == ("ö" if kind == "characters" else "C3")
    assert said.coming.begins == ("" if kind == "characters" else "öß")
    assert typed.said(predictions[-1], 0, whole.last - 1, 4).coming is None
    assert len(said.next) == 4
