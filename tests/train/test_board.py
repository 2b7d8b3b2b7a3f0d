"""Events for TensorBoard: what is in them, and that a run that goes on writes nothing twice."""

from __future__ import annotations

import sys

import pytest
import torch

from gatework.errors import InputError
from gatework.train import Record, Run, RunConfig, Runner, board, fit
from gatework.train.board import Board, gate_means
from language_models import language_model, trainer_on

pytest.importorskip("tensorboard")


def events_of(folder):
    """All that is in the files, none left out: [(tag, step, value)]."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    return [
        (value.tag, event.step, value.tensor.float_val[0])
        for file in sorted(folder.glob(board.EVENTS))
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
    ]


def record(split, step, cost, **more):
    return Record(split, step, 10 * step, float(step), step / 10, cost, **more)


def test_records_are_told_by_name_and_unit(tmp_path):
    told = Board(tmp_path, "bits per byte")
    told.add(record("train", 1, 4.0, learning_rate=0.5, gradient_norm=2.0))
    told.add(record("valid", 2, 3.0, figures={"accuracy": 0.5}, naive={"accuracy": 0.25}))
    told.add(record("valid", 2, 2.5, gates={"layer.l0.f": 0.75}))
    told.close()
    assert events_of(tmp_path) == [
        ("train/bits_per_byte", 1, 4.0),
        ("train/learning_rate", 1, 0.5),
        ("train/gradient_norm", 1, 2.0),
        ("held_out/bits_per_byte", 2, 3.0),
        ("held_out/accuracy", 2, 0.5),
        ("no_model/accuracy", 2, 0.25),
        ("held_out_all/bits_per_byte", 2, 2.5),
        ("gates/layer.l0.f", 2, 0.75),
    ]


def test_a_run_that_goes_on_has_one_log_without_a_step_twice(tmp_path, corpus, tiny):
    config = tiny.model_copy(update={"tensorboard": True})
    trainer = trainer_on(corpus, config)
    first = Runner(trainer, Run.create(trainer, tmp_path / "run"))
    assert not fit([first], lambda *_: None, lambda: trainer.steps == 5)
    whole = config.model_copy(update={"steps": 24})
    run = Run.open(tmp_path / "run")
    again = trainer_on(corpus, whole)
    board_before = events_of(run.path)
    from gatework.train.checkpoint import read_trainer, restore_trainer

    saved = read_trainer(whole, trainer.task, run.path / "checkpoint.safetensors", 1)
    restore_trainer(again, saved)
    run.go_on(again)
    assert fit([Runner(again, run)], lambda *_: None)
    events = events_of(run.path)
    assert len({event[:2] for event in events}) == len(events)
    assert events[: len(board_before)] == board_before
    costs = [(s, v) for tag, s, v in events if tag == "held_out/bits_per_byte"]
    kept = [(r.step, r.cost) for r in run.validations()]
    assert costs == [(step, pytest.approx(cost)) for step, cost in kept]
    assert {tag for tag, *_ in events} >= {"train/learning_rate", "gates/layer.l0.f"}


def test_writing_events_changes_no_weight(tmp_path, corpus, tiny):
    weights = []
    for told in (False, True):
        config = tiny.model_copy(update={"tensorboard": told, "dropout": 0.2})
        trainer = trainer_on(corpus, config)
        fit([Runner(trainer, Run.create(trainer, tmp_path / str(told)))], lambda *_: None)
        weights.append([p.detach() for p in trainer.model.parameters()])
    assert all(map(torch.equal, *weights))


@pytest.mark.parametrize(("cell", "gates"), [("rnn", ""), ("gru", "rz"), ("lstm", "ifo")])
def test_gates_are_told_by_their_means(corpus, tiny, cell, gates):
    config = RunConfig.of(**{**tiny.model_dump(), "cell": cell})
    batch = trainer_on(corpus, config).first_batch()
    model = language_model(config)
    found = gate_means(model, batch)
    assert list(found) == [f"layer.l0.{gate}" for gate in gates]
    assert all(0 < mean < 1 for mean in found.values())
    assert model.training


def test_without_the_package_the_way_to_it_is_told_before_there_is_a_folder(
    tmp_path, corpus, tiny, monkeypatch
):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    trainer = trainer_on(corpus, tiny.model_copy(update={"tensorboard": True}))
    with pytest.raises(InputError, match="pip install tensorboard"):
        Run.create(trainer, tmp_path / "run")
    assert not (tmp_path / "run").exists()
