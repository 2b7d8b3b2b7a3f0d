"""Run folders: nothing is overwritten, every damage is named, resuming is exact."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import gatework as gw
from gatework import cells
from gatework.data import Corpus
from gatework.errors import InputError
from gatework.files import write_atomically
from gatework.tasks.text import generate
from gatework.tasks.text import task as task_module
from gatework.train import Run, RunConfig, Runner, cell_settings, fit
from gatework.train.run import Record, new_folder
from language_models import trainer_on


def ignore(runner: Runner, record: Record) -> None:
    pass


def after(steps: int, runner: Runner):
    """Interrupt once the runner has taken so many steps."""
    return lambda: runner.trainer.steps >= steps


@pytest.fixture
def finished(make_runner, tiny) -> Runner:
    runner = make_runner(tiny, "finished")
    assert fit([runner], ignore)
    return runner


def test_a_run_leaves_what_it_promises(finished, tiny):
    path = finished.run.path
    assert {file.name for file in path.iterdir()} == {
        "config.yaml",
        "metrics.jsonl",
        "weights.safetensors",
        "best.safetensors",
        "checkpoint.safetensors",
        "checkpoint.previous.safetensors",
    }
    assert Run.open(path).config == tiny.settled
    for name, weight in load_file(path / "weights.safetensors").items():
        assert weight.equal(finished.trainer.model.state_dict()[name])


def test_measurements_are_json_lines_in_order(finished):
    lines = (finished.run.path / "metrics.jsonl").read_text().splitlines()
    measured = [json.loads(line) for line in lines]
    assert [m["step"] for m in measured if m["split"] == "valid"] == list(range(1, 13))
    assert [Record(**m) for m in measured] == list(finished.run.records())
    assert all(m["seen"] == m["step"] * 4 * 8 for m in measured)


def test_a_loaded_model_writes_what_the_trained_one_does(finished):
    loaded = Run.open(finished.run.path).load_model(last=True)
    assert generate(loaded, b"def", 20) == generate(finished.trainer.model, b"def", 20)


@gw.cell
def fixed_gate(x, h):
    """No gradient reaches the weights of f."""
    f = gw.stop(gw.sigmoid(gw.linear("f", x, h)))
    return f * h + (1 - f) * gw.tanh(gw.linear("n", x))


RESUMED = [(cells.rnn, 1), (cells.lstm, 5), (cells.lstm, 11), (cells.gru, 8), (fixed_gate, 3)]


@pytest.mark.parametrize(("cell", "stop"), RESUMED)
def test_a_resumed_run_is_the_uninterrupted_one(make_runner, corpus, tiny, cell, stop, monkeypatch):
    """Bit for bit: weights, moments, random state (dropout draws from it) and figures."""
    monkeypatch.setattr(task_module, "load_corpus", lambda *_, **options: corpus)
    config = tiny.model_copy(update={**cell_settings(cell), "layers": 2, "dropout": 0.3})
    whole = make_runner(config, "whole")
    assert fit([whole], ignore)
    parted = make_runner(config, "parted")
    assert not fit([parted], ignore, interrupted=after(stop, parted))

    torch.manual_seed(999)
    run = Run.open(parted.run.path)
    trainer = run.load_trainer(config)
    assert trainer.steps == stop
    run.go_on(trainer)
    assert fit([Runner(trainer, run)], ignore)

    final = [load_file(r.path / "checkpoint.safetensors") for r in (whole.run, run)]
    assert final[0].keys() == final[1].keys()
    assert all(final[0][name].equal(final[1][name]) for name in final[0])
    figures = [
        {r.step: r.cost for r in w.records() if r.split == "valid"} for w in (whole.run, run)
    ]
    assert figures[0].items() <= figures[1].items()


def test_a_finished_run_can_be_given_a_larger_budget(finished, corpus, tiny, monkeypatch):
    monkeypatch.setattr(task_module, "load_corpus", lambda *_, **options: corpus)
    longer = tiny.model_copy(update={"steps": 30})
    run = Run.open(finished.run.path)
    trainer = run.load_trainer(longer)
    run.go_on(trainer)
    fit([Runner(trainer, run)], ignore)
    assert Run.open(finished.run.path).config == longer
    assert max(record.step for record in run.records()) == 30


def test_measurements_after_the_checkpoint_are_taken_again(finished, corpus, monkeypatch):
    monkeypatch.setattr(task_module, "load_corpus", lambda *_, **options: corpus)
    run = finished.run
    run.log(Record("train", 99, 1, 1.0, 1.0, 2.0))
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"split": "tra')  # as a crash in the middle of a line leaves it
    run.go_on(run.load_trainer(run.config))
    assert max(record.step for record in run.records()) == 12
    assert (run.path / "metrics.jsonl").read_text().endswith("}\n")


@pytest.mark.parametrize("content", [None, "{}\n", "[\n", '{"no": "such field"}\n', "3\n"])
def test_damaged_measurements_are_named(finished, content):
    path = finished.run.path / "metrics.jsonl"
    path.unlink()
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=r"metrics\.jsonl"):
        list(finished.run.records())


def test_a_changed_text_is_refused(finished, monkeypatch):
    other = Corpus.of("b", b"x" * 999, b"yy")
    monkeypatch.setattr(task_module, "load_corpus", lambda *_, **options: other)
    with pytest.raises(InputError, match="has changed"):
        finished.run.load_trainer(finished.run.config)


@pytest.mark.parametrize("damage", [b"", b"noise", None])
def test_a_damaged_checkpoint_is_told_and_the_one_before_goes_on(
    make_runner, corpus, tiny, damage, monkeypatch
):
    monkeypatch.setattr(task_module, "load_corpus", lambda *_, **options: corpus)
    whole, parted = make_runner(tiny, "whole"), make_runner(tiny, "parted")
    assert fit([whole], ignore)
    assert not fit([parted], ignore, interrupted=after(5, parted))
    path = parted.run.path / "checkpoint.safetensors"
    path.unlink() if damage is None else path.write_bytes(damage)
    run = Run.open(parted.run.path)
    trainer = run.load_trainer(run.config)
    assert "checkpoint.safetensors" in run.passed_over
    assert trainer.steps == 0  # the checkpoint before, with which it began
    run.go_on(trainer)
    assert fit([Runner(trainer, run)], ignore)
    weights = [load_file(r.path / "weights.safetensors") for r in (whole.run, run)]
    assert all(weights[0][name].equal(weights[1][name]) for name in weights[0])


def test_the_checkpoint_that_goes_on_outlives_a_full_disk(make_runner, corpus, tiny, monkeypatch):
    monkeypatch.setattr(task_module, "load_corpus", lambda *_, **options: corpus)
    runner = make_runner(tiny, "parted")
    assert not fit([runner], ignore, interrupted=after(5, runner))
    (runner.run.path / "checkpoint.safetensors").write_bytes(b"noise")
    run = Run.open(runner.run.path)
    trainer = run.load_trainer(run.config)

    def full(path, content, **options):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("gatework.train.checkpoint.write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        run.save(trainer)
    assert Run.open(run.path).load_trainer(run.config).steps == trainer.steps


def test_several_runners_share_data_steps_and_budget(make_runner, tiny):
    runners = [make_runner(tiny.model_copy(update={"cell": c}), c) for c in ("rnn", "gru")]
    heard = []
    assert fit(runners, lambda runner, record: heard.append((runner, record.split)))
    assert [runner.trainer.steps for runner in runners] == [12, 12]
    assert heard.count((runners[0], "valid")) == heard.count((runners[1], "valid")) == 12


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        (f"{name}.safetensors", damage)
        for name in ("weights", "best", "checkpoint")
        for damage in ("missing", "cut", "noise", "of another model")
        if (name, damage) != ("best", "missing")  # then the last one is taken
    ],
)
def test_damaged_files_are_named(finished, corpus, name, damage, monkeypatch):
    monkeypatch.setattr(task_module, "load_corpus", lambda *_, **options: corpus)
    path = finished.run.path / name
    (finished.run.path / "checkpoint.previous.safetensors").unlink()
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "noise":
        path.write_bytes(os.urandom(200))
    elif damage == "of another model":
        save_file({"weight": torch.zeros(2)}, path)
    run = Run.open(finished.run.path)
    load = {
        "weights.safetensors": lambda: run.load_model(last=True),
        "best.safetensors": run.load_model,
        "checkpoint.safetensors": lambda: run.load_trainer(run.config),
    }
    with pytest.raises(InputError, match=name):
        load[name]()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no run in"),
        ("", "no settings"),
        ("1: 2\n", "config"),
        ("- a\n- b\n", "no settings"),
        ("a: [", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        ("format: 1\n", "config"),
        ("format: 2\n", "format"),
    ],
)
def test_a_damaged_config_is_named(tmp_path, content, message):
    if content is not None:
        data = content if isinstance(content, bytes) else content.encode()
        (tmp_path / "config.yaml").write_bytes(data)
    with pytest.raises(InputError, match=message):
        Run.open(tmp_path)


def test_one_who_names_no_run_is_shown_one(finished):
    with pytest.raises(InputError, match=str(finished.run.path)):
        Run.open(finished.run.path.parent)


def test_a_folder_with_content_is_never_written_to(make_runner, tiny, tmp_path):
    make_runner(tiny, "taken")
    before = sorted((tmp_path / "taken").iterdir())
    with pytest.raises(InputError, match="not empty"):
        make_runner(tiny, "taken")
    assert sorted((tmp_path / "taken").iterdir()) == before


def test_new_folders_never_meet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [new_folder("lstm") for _ in range(5)]
    assert len(set(folders)) == 5
    assert all(folder.parent == Path("runs") for folder in folders)


@pytest.mark.parametrize("blocked", ["file", "refused"])
def test_a_folder_that_cannot_be_made_is_named(tmp_path, blocked, monkeypatch):
    (tmp_path / "file").touch()

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    if blocked == "refused":
        monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InputError, match="cannot make the run folder"):
        new_folder("lstm", tmp_path / blocked / "below")


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_atomically(path, b"old")

    def fail(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match=r"No space left on device; it needs 3 bytes\).*/a'"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_training_without_text_enough_is_refused(tiny):
    with pytest.raises(InputError, match="at least 33 bytes"):
        trainer_on(Corpus.of("short", b"x" * 30, b"yy"), tiny)


def test_a_time_budget_ends(make_runner):
    config = RunConfig.of(hidden_size=4, batch_size=2, window=4, seconds=0.05)
    runner = make_runner(config)
    assert fit([runner], ignore)
    assert runner.trainer.steps >= 1
