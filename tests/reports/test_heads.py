"""A trained cell whose states have heads, inspected: the page tells heads, and stays small."""

from __future__ import annotations

import numpy as np
import pytest

import gatework as gw
from gatework.data import characters_of
from gatework.lens import Passage
from gatework.reports import held_out, inspection
from gatework.reports.held_out import sequences_at_once
from gatework.reports.inspection_page import inspection_page
from gatework.reports.passages import draw_passage, rows_in_words
from gatework.reports.sections import shown_measurements
from gatework.train import RunConfig
from language_models import language_model

TEXT = 'def f(x):\n    return [x, (x + 1), "a string"]\n\n' * 400
SMALL = {"hidden_size": 12, "embedding_size": 6, "batch_size": 4, "window": 16, "steps": 20}


@pytest.fixture(scope="module", params=["delta_net", "gated_delta_net"])
def found(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("heads")
    (path / "text.py").write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held_out, "ANCHORS", 8)
        patch.setattr(inspection, "FLOW_SEQUENCES", 2)
        cell = getattr(gw.cells, request.param)
        run = gw.train_cell(cell, path / "text.py", out=path / request.param, **SMALL)
        return inspection.inspect_run(run)


@pytest.mark.slow
def test_the_page_tells_heads(found, tmp_path):
    page = inspection_page([found])
    assert found.passage.forward.axis == "head"
    assert "head 3</text>" in page
    for unit in found.tracking.values():
        label = found.units.label(unit.value, unit.unit)
        assert "head" not in label or label in page
    assert "By head:" in page
    assert "S: what a step takes away by way of a sum" in page
    assert ("never forgets" in page) == (found.name == "delta_net")
    assert ("By head, the longest first:" in page) == bool(found.retention.keeping)
    assert len(page) < 500_000
    for name, measurement in shown_measurements(found).items():
        measurement.save(tmp_path / name)


def test_states_of_many_units_are_read_a_few_sequences_at_a_time():
    small = language_model(RunConfig.of(cell="lstm", hidden_size=192))
    assert sequences_at_once(small, 301, 128) == 128
    large = language_model(RunConfig.of(cell="gated_delta_net", hidden_size=1024, embedding_size=4))
    assert sequences_at_once(large, 301, 128) == (1 << 27) // (301 * 16_384 * 2)
    assert sequences_at_once(large, 10**9, 128) == 1


def test_rows_of_a_passage_are_named():
    text = characters_of(b"ab")
    heads = Passage(
        text, (0, 2), {"a": np.zeros((2, 2))}, {"S": np.ones((2, 2))}, "head",
        {"S": (5, 30)}, {"S": {"head": 3, "key": 3, "value": 4}},
    )  # fmt: skip
    svg = draw_passage(heads, "heads").svg
    assert ">head 2</text>" in svg
    assert ">head 2, key 1, value 2</text>" in svg
    assert rows_in_words(heads).startswith("by head, those 2 that change most")
    units = Passage(text, (3, 7), {}, {"h": np.ones((2, 2))})
    assert units.labels("h") == ("3", "7")
    assert "the number of the unit stands at the left" in rows_in_words(units)
