"""Labelled sequences: learned, judged, and predicted, whatever their lengths."""

import json

import numpy as np
import pytest
import torch

from gatework.errors import InputError
from gatework.tasks import task_class
from gatework.tasks.labelling.targets import MISSING, Classes
from gatework.tasks.task import Part
from gatework.train import Run, RunConfig, Runner, Trainer, fit

KINDS = ("classify", "regress", "tag")
SMALL = {"cell": "gru", "hidden_size": 12, "batch_size": 8, "steps": 60, "learning_rate": 0.02}


def written(folder, kind, sequences=48, seed=0):
    """A file of sequences whose first column rises or falls; some values are missing."""
    generator = np.random.default_rng(seed)
    path = folder / f"{kind}-{seed}.jsonl"
    with path.open("w") as file:
        for k in range(sequences):
            length, slope = int(generator.integers(3, 12)), generator.normal() or 1.0
            x = (slope * np.arange(length) + 0.1 * generator.normal(size=length)).tolist()
            z = [None if generator.random() < 0.2 else 1.0 for _ in x]
            place = ["left", "right"][k % 2]
            rising = "up" if slope > 0 else "down"
            y = {"classify": rising, "regress": slope, "tag": [rising] * length}[kind]
            row = {"unique_id": f"s{k}", "x": x, "z": z, "place": place, "y": y}
            file.write(json.dumps(row) + "\n")
    return path


def config_of(folder, kind, **more):
    return RunConfig.of(**{**SMALL, "task": kind, "files": (written(folder, kind),), **more})


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_what_can_be_seen(tmp_path, kind):
    trainer = Trainer.of(config_of(tmp_path, kind))
    for step in range(60):
        trainer.step(step / 60)
    found = trainer.task.evaluate(trainer.model, trainer.source)
    headline = next(iter(found.figures))
    if kind == "regress":
        assert found.figures[headline] < 0.6 * found.naive[headline]
    else:
        assert found.figures[headline] > 0.85 > found.naive[headline]
        assert trainer.task.show(trainer.model, trainer.source).text.count("\n") == 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pool", ["last", "mean", "max"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_sequence_alone_is_what_it_is_among_longer_ones(tmp_path, kind, pool, bidirectional):
    more = {} if kind == "tag" else {"pool": pool}
    trainer = Trainer.of(config_of(tmp_path, kind, bidirectional=bidirectional, **more))
    side = trainer.source.learned
    shortest, longest = side.lengths.argmin(), side.lengths.argmax()
    together = trainer.task.gather(side, np.array([longest, shortest]))
    alone = trainer.task.gather(side, np.array([shortest]))
    one, other = (trainer.task.scores(trainer.model, batch) for batch in (together, alone))
    if kind == "tag":
        one, other = one[: len(other), 1:], other
        np.testing.assert_array_equal(together.targets[: len(other), 1:], alone.targets)
    else:
        one = one[1:]
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_position_alone_decides_what_comes(tmp_path, kind):
    trainer = Trainer.of(config_of(tmp_path, kind))
    batches, again = (
        trainer.task.batches(trainer.source, batch_size=5, window=1, seed=3) for _ in range(2)
    )
    for _ in range(13):
        batches.next()
    again.position = 13
    assert batches.seen == again.seen
    one, other = batches.next(), again.next()
    assert one.inputs.equal(other.inputs)
    assert one.targets.equal(other.targets)


def test_parts_together_are_the_batch(tmp_path):
    trainer = Trainer.of(config_of(tmp_path, "classify"))
    parts = [
        trainer.task.batches(trainer.source, batch_size=7, window=1, seed=3, part=Part(k, 3))
        for k in range(3)
    ]
    whole = trainer.task.batches(trainer.source, batch_size=7, window=1, seed=3)
    for _ in range(8):
        targets = torch.cat([part.next().targets for part in parts])
        assert targets.equal(whole.next().targets)


def test_every_sequence_is_learned_from_once_each_time_through(tmp_path):
    trainer = Trainer.of(config_of(tmp_path, "regress"))
    batches = trainer.task.batches(trainer.source, batch_size=5, window=1, seed=0)
    count = len(trainer.source.learned)
    targets = torch.cat([batches.next().targets for _ in range(-(-count // 5))])
    assert batches.seen == count
    side = trainer.source.learned
    labels = trainer.task.targets.numbers(trainer.task.labels_of(side), "data")
    assert sorted(targets.tolist()) == sorted(labels.tolist())


def test_what_is_held_out_has_no_part_in_what_is_fitted(tmp_path):
    first = Trainer.of(config_of(tmp_path, "classify"))
    path = first.config.files[0]
    held_out = {first.source.held_out.sequences.ids[k] for k in first.source.held_out.indices}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["unique_id"] in held_out:
            line["x"] = [1e6] * len(line["x"])
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    assert Trainer.of(first.config).task.understood == first.task.understood


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_used_without_what_it_learned_from(tmp_path, kind):
    trainer = Trainer.of(config_of(tmp_path, kind, steps=6))
    run = Run.create(trainer, tmp_path / "run")
    assert fit([Runner(trainer, run)], lambda *_: None)
    trainer.config.files[0].unlink()
    opened = Run.open(run.path)
    side = opened.task.read([written(tmp_path, kind, 5, seed=1)])
    found = list(opened.task.predict(opened.load_model(), side))
    assert sorted(one.id for one in found) == [f"s{k}" for k in range(5)]
    for one in found:
        assert len(one.labels) == (side.lengths[int(one.id[1:])] if kind == "tag" else 1)
        if kind != "regress":
            assert set(one.labels) <= {"up", "down"}
            np.testing.assert_allclose(one.chances.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("cell", ["gru_d", "cfc", "time_aware_lstm", "phased_lstm"])
def test_a_cell_gets_the_times_and_masks_that_it_reads(tmp_path, cell):
    path = tmp_path / "timed.csv"
    rows = [f"{s},{t * t},{t},{s}" for s in "ab" for t in range(6)] + ["c,1,2,a", "c,4,1,a"]
    path.write_text("unique_id,ds,x,y\n" + "\n".join(rows) + "\n")
    config = RunConfig.of(task="classify", files=(path,), **{**SMALL, "cell": cell, "steps": 2})
    trainer = Trainer.of(config)
    assert np.isfinite(trainer.step(0.5).cost)
    batch = trainer.task.gather(trainer.source.learned, np.array([0]))
    np.testing.assert_allclose(batch.more["gap"][1, 0, 0], np.log1p(1.0), rtol=1e-6)


def test_rare_classes_may_weigh_as_much(tmp_path):
    path = tmp_path / "rare.csv"
    labels = ["rare" if k == 0 else "common" for k in range(20)]
    path.write_text("unique_id,x,y\n" + "".join(f"s{k},1,{y}\n" for k, y in enumerate(labels)))
    config = RunConfig.of(task="classify", files=(path,), balanced=True, **SMALL)
    task = Trainer.of(config).task
    common, rare = task.weights.tolist()
    assert rare > 10 * common


WRONG = {
    "one class": ("unique_id,x,y\na,1,up\nb,2,up\n", "classify", "the one class 'up'"),
    "a text as target": ("unique_id,x,y\na,1,up\nb,2,3\n", "regress", "no numbers"),
    "one sequence": ("unique_id,x,y\na,1,up\na,2,up\n", "classify", "single sequence"),
    "many numbers": (
        "unique_id,x,y\n" + "".join(f"s{k},1,{k}.5\n" for k in range(60)),
        "classify",
        "--task regress",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_learned_is_told(tmp_path, name):
    content, kind, message = WRONG[name]
    path = tmp_path / "wrong.csv"
    path.write_text(content)
    with pytest.raises(InputError) as told:
        Trainer.of(RunConfig.of(task=kind, files=(path,), **SMALL))
    assert message in str(told.value)


def test_a_class_that_was_never_seen_is_told(tmp_path):
    learned, judged = tmp_path / "a.csv", tmp_path / "b.csv"
    learned.write_text("unique_id,x,y\na,1,up\nb,2,down\n")
    judged.write_text("unique_id,x,y\na,1,sideways\n")
    config = RunConfig.of(task="classify", files=(learned,), held_out=(judged,), **SMALL)
    with pytest.raises(InputError, match="'sideways'"):
        Trainer.of(config)


DAMAGES = {
    "classify": {"features": None, "classes": ["up"], "shares": [2.0, -1.0], "id": 3},
    "regress": {"features": {}, "target": {"means": [1.0]}, "time": ["t"]},
    "tag": {"features": [], "classes": 7, "shares": None},
}


@pytest.mark.parametrize(("kind", "part"), [(k, part) for k in KINDS for part in DAMAGES[k]])
def test_a_damaged_description_is_told(tmp_path, kind, part):
    task = Trainer.of(config_of(tmp_path, kind)).task
    understood = {**task.understood, part: DAMAGES[kind][part]}
    with pytest.raises(InputError, match="train again"):
        task_class(kind)(task.settings, understood)


def test_texts_that_hold_for_a_sequence_are_found_in_another_file(tmp_path):
    lines = [f"s{k},1,{place},{place}" for k, place in enumerate(["sea", "land"] * 10)]
    learned, other = tmp_path / "learned.csv", tmp_path / "other.csv"
    learned.write_text("\n".join(["unique_id,x,place,y", *lines]) + "\n")
    other.write_text("unique_id,x,place\na,1,land\nb,1,sea\nc,1,moon\n")  # numbered otherwise
    config = {**SMALL, "task": "classify", "files": (learned,), "static": ("place",)}
    trainer = Trainer.of(RunConfig.of(**config))
    for step in range(30):
        trainer.step(step / 30)
    found = {f.id: f for f in trainer.task.predict(trainer.model, trainer.task.read([other]))}
    assert [found[name].labels for name in "ab"] == [["land"], ["sea"]]


def test_classes_that_are_large_numbers_are_told_apart():
    numbers = np.array([1234567.0, 1234568.0, np.nan, 0.5])
    classes = Classes.of(numbers, "data")
    assert classes.names == ("0.5", "1234567", "1234568")
    assert classes.numbers(numbers, "data").tolist() == [1, 2, MISSING, 0]
