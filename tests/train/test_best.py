"""The best model is kept beside the last; validation is spared; a run is saved early."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file

from gatework.data import Corpus
from gatework.errors import InputError
from gatework.tasks.text import bits_per_symbol as bits_per_byte
from gatework.train import Run, Runner, fit, loop
from language_models import trainer_on

LEARNED, OTHER = b"abcabcacb" * 40, b"the quick brown fox jumps over it"


@pytest.fixture
def overfitting(tmp_path, tiny):
    """A run that learns one text by heart while another is held out."""
    corpus = Corpus.of("letters", LEARNED, OTHER)
    config = tiny.model_copy(update={"steps": 120, "learning_rate": 0.05})
    trainer = trainer_on(corpus, config)
    runner = Runner(trainer, Run.create(trainer, tmp_path / "run"))
    fit([runner], lambda *_: None)
    return runner


def test_the_best_model_is_the_one_with_the_least_held_out_cost(overfitting):
    run = overfitting.run
    figures = {r.step: r.cost for r in run.validations()}
    best = run.best()
    assert best.step == min(figures, key=figures.get) < max(figures)
    assert best.cost == figures[best.step]
    valid = overfitting.trainer.source.valid
    assert bits_per_byte(run.load_model(), valid) == pytest.approx(best.cost, rel=1e-5)
    last = bits_per_byte(run.load_model(last=True), valid)
    assert last == pytest.approx(figures[max(figures)], rel=1e-5)
    said = run.about_best()
    assert f"costs {figures[max(figures)]:.3f}" in said
    assert "--dropout 0.2, fewer units" in said


def test_who_drops_half_is_not_told_to_drop_less(overfitting):
    run = overfitting.run
    for dropout, advice in ((0.3, "--dropout 0.5"), (0.5, "more data, fewer units")):
        config = run.config.model_copy(update={"dropout": dropout})
        run.manifest = run.manifest.model_copy(update={"config": config})
        assert advice in run.about_best()


def test_a_run_that_goes_on_keeps_a_best_that_is_better(overfitting):
    run = overfitting.run
    before = load_file(run.path / "best.safetensors")
    again = Runner(overfitting.trainer, run)
    again.validate(0.9)
    assert all(before[n].equal(w) for n, w in load_file(run.path / "best.safetensors").items())


def test_a_run_without_a_best_has_its_last(overfitting):
    (overfitting.run.path / "best.safetensors").unlink()
    assert overfitting.run.best() is None
    assert overfitting.run.about_best() is None
    weights = overfitting.run.load_model().state_dict()
    assert all(w.equal(weights[n]) for n, w in overfitting.trainer.model.state_dict().items())


def test_held_out_text_is_read_sparingly(tmp_path, tiny):
    corpus = Corpus.of("long", LEARNED * 20, LEARNED * 2)  # 720 bytes held out
    config = tiny.model_copy(update={"steps": 500})  # of 32 bytes
    trainer = trainer_on(corpus, config)
    runner = Runner(trainer, Run.create(trainer, tmp_path / "run"))
    fit([runner], lambda *_: None)
    steps = [r.step for r in runner.run.validations()]
    assert 2 < len(steps) <= 1 + 500 * 32 / (5 * 719)  # twelve would be too many
    assert steps[-1] == 500


def test_costs_that_are_no_numbers_end_training(make_runner, tiny):
    runner = make_runner(tiny)
    for weight in runner.trainer.model.parameters():
        weight.data.fill_(3e38)
    with pytest.raises(InputError, match="diverged"):
        runner.validate(0.5)


def test_a_run_is_saved_early_and_then_ever_less_often(make_runner, tiny):
    runner, saved = make_runner(tiny), []
    for second in range(400):
        runner.trainer.seconds = float(second)
        if runner.save_is_due:
            saved.append(second)
            runner.save()
    apart = [b - a for a, b in zip([0, *saved], saved, strict=False)]
    assert saved[0] == 5
    assert apart == sorted(apart)
    assert apart[-1] == 60


def test_when_asked_to_end_nothing_long_is_begun(make_runner, tiny, monkeypatch):
    runner = make_runner(tiny.model_copy(update={"steps": 100}))
    monkeypatch.setattr(loop, "PATIENCE", 0.0)
    assert not fit([runner], lambda *_: None, interrupted=lambda: runner.trainer.steps >= 1)
    assert runner.run.validations() == []
    assert list(runner.run.records())[-1].step == 1
