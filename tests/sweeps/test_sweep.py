"""Sweeps: runs whose settings a study chooses, which goes on and is shared."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import gatework as gw
from gatework.errors import InputError
from gatework.sweeps import trial as trials
from gatework.sweeps.sweeping import plan_of, sweep_on
from gatework.train import Run
from gatework.train.trainer import Diverged

optuna = pytest.importorskip("optuna")

SMALL = {"steps": 3, "hidden_size": 6, "batch_size": 2, "window": 8, "threads": 1}
SEARCH = {"lr": "1e-3..1e-1:log", "cell": "gru,lstm"}


@pytest.fixture
def text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "notes.txt"
    path.write_text("What is written twice is learned once. " * 60)
    return path


def test_a_study_goes_on_and_its_runs_are_runs(text):
    first = gw.sweep(text, search=SEARCH, trials=2, study="mine", **SMALL)
    assert [trial.state for trial in first.trials] == ["finished"] * 2
    found = gw.sweep(text, search=SEARCH, trials=3, study="mine", **SMALL)
    assert found.trials[:2] == first.trials
    best = found.best
    assert best.cost == min(trial.cost for trial in found.trials)
    run = Run.open(best.folder)
    assert run.config.cell == best.settings["cell"]
    assert run.config.learning_rate == best.settings["learning_rate"]
    assert run.best().cost == pytest.approx(best.cost)
    assert best.again.startswith("gatework train --config")
    assert str(found).splitlines()[1].split()[0] == str(best.number)
    assert {row["state"] for row in found.table()} == {"finished"}


def test_the_same_study_chooses_the_same(text):
    one, other = (
        gw.sweep(text, search=SEARCH, trials=2, study=name, **SMALL) for name in ("a", "b")
    )
    assert [t.settings for t in one.trials] == [t.settings for t in other.trials]
    assert [t.cost for t in one.trials] == [t.cost for t in other.trials]


def test_a_trial_that_was_interrupted_is_gone_on_with(text):
    plan = plan_of(SEARCH, "mine", None, None, {**SMALL, "files": (text,)})
    asked = iter([False, True, True, True])
    found = sweep_on(plan, 2, interrupted=lambda: next(asked, True))
    assert [trial.state for trial in found.trials] == ["interrupted"]
    found = gw.sweep(text, search=SEARCH, trials=1, study="mine", **SMALL)
    assert [trial.state for trial in found.trials] == ["finished"]
    whole = gw.sweep(text, search=SEARCH, trials=1, study="other", **SMALL)
    assert found.best.cost == whole.best.cost


def test_a_study_of_other_runs_and_a_store_that_is_none_are_told(text):
    gw.sweep(text, search=SEARCH, trials=1, study="mine", **SMALL)
    with pytest.raises(InputError, match="of other runs: hidden_size was 6, and is 7"):
        gw.sweep(text, search=SEARCH, study="mine", **{**SMALL, "hidden_size": 7})
    with pytest.raises(InputError, match="cannot be used"):
        gw.sweep(text, search=SEARCH, study="x", storage="nosuch://here", **SMALL)
    assert not Path("runs", "x").exists()
    with pytest.raises(InputError, match="a name that a folder can have"):
        gw.sweep(text, search=SEARCH, study="a/b", **SMALL)


def test_settings_of_the_task_are_tried(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "rows.jsonl"
    rows = [{"x": [k % 2, 1.0, 2.0], "y": "ab"[k % 2]} for k in range(20)]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    settings = {n: v for n, v in SMALL.items() if n != "window"}
    found = gw.sweep(path, search={"pool": "last,max"}, trials=2, task="classify", **settings)
    assert all(Run.open(t.folder).config.task.pool == t.settings["pool"] for t in found.trials)


def test_a_trial_that_another_process_took_first_is_left_to_it(text, monkeypatch):
    plan = plan_of(SEARCH, "mine", None, None, {**SMALL, "files": (text,)})
    claim = trials.claim

    def but_the_first(folder):
        if folder.name == "0000":
            raise InputError("a run that is trained", "one that is not", "wait")
        return claim(folder)

    monkeypatch.setattr(trials, "claim", but_the_first)
    found, _lock = trials.next_trial(plan, 2)
    assert found.number == 1


def test_a_study_of_other_data_is_not_gone_on_with(text):
    gw.sweep(text, search=SEARCH, trials=1, study="mine", **SMALL)
    text.write_text("What is written once is soon forgotten. " * 60)
    with pytest.raises(InputError, match="of other runs: data was"):
        gw.sweep(text, search=SEARCH, study="mine", **SMALL)


def test_a_store_of_the_users_own_keeps_studies_of_others_as_they_are(text):
    store = "sqlite:///mine.db"
    optuna.create_study(study_name="other", storage=store).ask()
    found = gw.sweep(text, search=SEARCH, trials=1, study="mine", storage=store, **SMALL)
    assert [trial.state for trial in found.trials] == ["finished"]
    assert not Path("runs", "mine", "study.db").exists()
    with pytest.raises(InputError, match="of other runs"):
        gw.sweep(text, search=SEARCH, study="other", storage=store, **SMALL)


def test_a_run_that_does_badly_is_ended(text, monkeypatch):
    monkeypatch.setattr(optuna.pruners.MedianPruner, "prune", lambda *_: True)
    found = gw.sweep(text, search=SEARCH, trials=1, **{**SMALL, "steps": 200})
    (only,) = found.trials
    assert only.state == "pruned"
    assert only.cost is not None
    assert Run.open(only.folder).validations()[-1].step < 200
    with pytest.raises(InputError, match="no finished run among 1"):
        _ = found.best


def failing(monkeypatch, error, number):
    """Trains, but for the trial with this number."""
    fit = trials.fit

    def fails(runners, *others):
        if int(runners[0].run.path.name) == number:
            raise error
        return fit(runners, *others)

    monkeypatch.setattr(trials, "fit", fails)


def test_a_run_that_diverges_has_done_badly(text, monkeypatch):
    failing(monkeypatch, Diverged("training diverged at step 3", "finite gradients", "less"), 0)
    found = gw.sweep(text, search=SEARCH, trials=2, **SMALL)
    assert [trial.state for trial in found.trials] == ["pruned", "finished"]
    assert found.trials[0].ended == "training diverged at step 3"


def test_settings_that_cannot_be_end_a_sweep_only_before_there_is_a_result(text, monkeypatch):
    error = InputError("a cell of such sizes", "others", "change them")
    with monkeypatch.context() as patch:
        failing(patch, error, 0)
        with pytest.raises(InputError, match="of such sizes"):
            gw.sweep(text, search=SEARCH, trials=2, study="first", **SMALL)
    failing(monkeypatch, error, 1)
    found = gw.sweep(text, search=SEARCH, trials=3, study="later", **SMALL)
    assert [trial.state for trial in found.trials] == ["finished", "failed", "finished"]


PART = """
import sys, gatework as gw
from pathlib import Path
search, settings = {search}, {settings}
gw.sweep(Path(sys.argv[1]), search=search, trials=4, study="mine", **settings)
"""


@pytest.mark.slow
def test_two_processes_share_a_study(text):
    script = PART.format(search=SEARCH, settings=SMALL)
    processes = [subprocess.Popen([sys.executable, "-c", script, text]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    found = gw.sweep(text, search=SEARCH, trials=4, study="mine", **SMALL)
    assert len(found.trials) in (4, 5)  # both may have begun a last one at the same moment
    assert {trial.state for trial in found.trials} == {"finished"}
    assert len({str(trial.settings) for trial in found.trials}) == len(found.trials)
