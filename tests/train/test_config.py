"""Settings are checked when they are made, and the error names the field."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatework.cells import catalogue
from gatework.errors import InputError
from gatework.tasks import task_class
from gatework.train import RunConfig
from gatework.train.cells import check_cell
from gatework.train.config import DEFAULT_SECONDS
from gatework.train.manifest import Manifest


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_size", 0),
        ("hidden_size", -3),
        ("hidden_size", 2.5),
        ("hidden_size", float("nan")),
        ("layers", 0),
        ("embedding_size", 0),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("dropout", float("nan")),
        ("batch_size", 0),
        ("window", 0),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("weight_decay", -1.0),
        ("clip", 0.0),
        ("threads", 0),
        ("seconds", 0.0),
        ("seconds", float("nan")),
        ("steps", 0),
        ("seed", -1),
        ("seed", 2**63),
    ],
)
def test_a_bad_value_is_named(field, value):
    with pytest.raises(InputError) as caught:
        RunConfig.of(**{field: value})
    assert caught.value.came == f"{field} = {value!r}"
    assert field in caught.value.expected
    assert field in caught.value.mend


def test_a_setting_of_nothing_is_named_with_the_nearest():
    with pytest.raises(InputError, match=r"hiden_size = 1 for the task 'text'") as caught:
        RunConfig.of(hiden_size=1)
    assert "did you mean 'hidden_size'" in caught.value.mend


def test_settings_of_the_task_may_stand_among_the_others():
    config = RunConfig.of(symbols="characters", hidden_size=8)
    assert config.task.symbols == "characters"
    again = RunConfig.of(**{**config.model_dump(), "embedding_size": 3})
    assert (again.task.symbols, again.task.embedding_size) == ("characters", 3)


def test_all_faults_are_named_at_once():
    with pytest.raises(InputError, match=r"layers = 0; seed = -1"):
        RunConfig.of(layers=0, seed=-1)


def test_an_unknown_cell_suggests_the_near_one():
    with pytest.raises(InputError, match="did you mean 'lstm'") as caught:
        RunConfig.of(cell="lsmt")
    assert caught.value.came == "unknown cell 'lsmt'"


def test_every_cell_of_the_catalogue_is_known():
    assert [check_cell(name) for name in catalogue()] == list(catalogue())


def test_a_cell_without_gates_takes_smaller_steps():
    rates = [RunConfig.of(cell=c, hidden_size=256).peak_rate for c in ("rnn", "gru", "lstm")]
    assert rates == [2e-3, 5e-3, 1e-2]
    assert RunConfig.of(cell="rnn", learning_rate=0.5).peak_rate == 0.5


def test_settings_cannot_be_changed_afterwards(tiny):
    with pytest.raises(ValueError, match="frozen"):
        tiny.steps = 3


@given(steps=st.integers(0, 200), seconds=st.floats(0, 200))
def test_progress_is_the_larger_share_of_both_budgets(steps, seconds):
    both = RunConfig.of(steps=100, seconds=50.0).progress(steps, seconds)
    assert both == min(1.0, max(steps / 100, seconds / 50))
    assert RunConfig.of(steps=100).progress(steps, seconds) == min(1.0, steps / 100)
    assert RunConfig.of(seconds=50.0).progress(steps, seconds) == min(1.0, seconds / 50)
    assert RunConfig.of().progress(steps, seconds) == min(1.0, seconds / DEFAULT_SECONDS)


def test_a_manifest_goes_through_json_unchanged(tiny, corpus):
    manifest = Manifest.describe(tiny, task_class("text")(tiny.task, {}), corpus, parameters=7)
    assert Manifest.of(**manifest.model_dump(mode="json")) == manifest
    assert set(manifest.versions) == {"gatework", "python", "torch"}


def test_a_cell_of_several_inputs_is_refused_by_name():
    with pytest.raises(
        InputError, match="the cell 'gru_d' reads mask, gap beside its input"
    ) as told:
        RunConfig.of(cell="gru_d")
    assert "gatework.nn.Recurrent" in told.value.mend
    assert RunConfig.of(cell="gru").cell == "gru"
