"""A trained run, inspected: the figures are those of the lens, and the page says them."""

from __future__ import annotations

import re
from dataclasses import fields

import numpy as np
import pytest

from gatework.errors import InputError
from gatework.lens import Measurement
from gatework.reports.inspection import inspect_run
from gatework.reports.inspection_page import inspection_page
from gatework.reports.sections import SECTIONS, shown_measurements
from gatework.tasks.text import bits_per_symbol as bits_per_byte
from gatework.train import Run, RunConfig, Runner, Trainer, fit
from gatework.train.run import runs_of

pytestmark = pytest.mark.slow

LINES = ['def f(x):\n    return [x, (x + 1), "a string"]\n\n', "y = 'it is' + z  # why\n"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("inspection")
    rows = np.random.default_rng(0).choice(LINES, 2500)
    (path / "text.py").write_text("".join(rows), encoding="utf-8")
    for cell, layers in (("lstm", 2), ("rnn", 1)):
        config = RunConfig.of(
            cell=cell, hidden_size=10, embedding_size=6, layers=layers, batch_size=8, window=32,
            steps=150, files=(path / "text.py",),
        )  # fmt: skip
        trainer = Trainer.of(config)
        run = Run.create(trainer, path / "runs" / cell)
        fit([Runner(trainer, run)], lambda *_: None)
    return path / "runs"


@pytest.fixture(scope="module")
def found(folder):
    return [inspect_run(run) for run in runs_of(folder)]


@pytest.fixture(scope="module")
def html(found):
    return inspection_page(found)


def test_runs_of_a_folder_are_those_in_it(folder):
    assert [r.path.name for r in runs_of(folder)] == ["rnn", "lstm"]
    assert [r.path.name for r in runs_of(folder / "lstm")] == ["lstm"]
    with pytest.raises(InputError, match="no run"):
        runs_of(folder.parent)


def test_the_figures_are_those_of_held_out_text(found):
    rnn, lstm = found
    assert rnn.ablation is None
    assert lstm.cost == pytest.approx(
        bits_per_byte(lstm.subject.model, lstm.subject.data.valid), rel=1e-6
    )
    assert set(lstm.saturation.gates) == {f"layer.l{k}.{g}" for k in (0, 1) for g in "ifo"}
    assert set(lstm.retention.mean) == {f"layer.l{k}.{s}" for k in (0, 1) for s in "hc"}
    assert (rnn.retention.mean["layer.l0.h"] == 0).all()
    assert len(lstm.ablation.changes) == 12
    assert np.isfinite(lstm.ablation.metric).all()


def test_units_that_track_are_found_on_one_half_and_judged_on_the_other(found):
    for one in found:
        assert "position in line" in one.units.properties
        for name, unit in one.tracking.items():
            p = one.units.properties.index(name)
            assert abs(unit.held_out) >= 0.3
            assert unit.held_out == pytest.approx(one.units.held_out[unit.value][p, unit.unit])
    assert any(one.tracking for one in found)
    assert any(one.peaks is not None for one in found)


def test_every_measurement_of_a_model_is_shown(found):
    for one in found:
        values = {field.name: getattr(one, field.name) for field in fields(one)}
        measured = {n: value for n, value in values.items() if isinstance(value, Measurement)}
        assert shown_measurements(one) == measured


def test_the_page_has_every_section(html):
    headings = re.findall("<h2>(.*)</h2>", html)
    assert headings == [section.heading for section in SECTIONS]


def test_the_page_is_one_file_that_needs_nothing(html):
    assert len(html.encode()) < 5_000_000
    assert "<script" not in html
    outside = re.sub(r"http://www\.w3\.org/[\w/]+", "", html)
    assert not re.search(r'(src|href)="(?!data:|#)', outside)
    assert not re.search(r"@import|url\((?!#)", outside)


def test_the_page_says_the_figures(found, html):
    for one in found:
        assert f"{one.cost:.3f}" in html
        for unit in one.tracking.values():
            assert f"{unit.held_out:.2f}" in html
    assert "forget gate" not in html  # words of the cell, not of one cell
    assert "held out" in html
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


@pytest.fixture(scope="module")
def chinese(tmp_path_factory):
    """A text without brackets, quotes or indentation, and lines of unequal length."""
    path = tmp_path_factory.mktemp("poems")
    lines = np.random.default_rng(1).choice(["床前明月光，疑是地上霜。\n", "春眠不觉晓。é\n"], 900)
    (path / "poems.txt").write_text("".join(lines), encoding="utf-8")
    config = RunConfig.of(
        cell="lstm", hidden_size=10, embedding_size=6, batch_size=8, window=32, steps=60,
        files=(path / "poems.txt",),
    )  # fmt: skip
    trainer = Trainer.of(config)
    run = Run.create(trainer, path / "诗")
    fit([Runner(trainer, run)], lambda *_: None)
    return inspect_run(run)


def test_a_page_on_a_chinese_text_shows_its_characters(chinese):
    html = inspection_page([chinese])
    assert "\ufffd" not in html
    passage = chinese.passage.forward
    assert passage.steps == 96
    assert passage.text in chinese.subject.data.valid.numpy().tobytes().decode("utf-8", "replace")
    for said in (">床</text>", "Does not occur in this text: inside quotes", "诗 (lstm, 10 units)"):
        assert said in html
    assert "nothing is stored: h." in html
    assert "indentation</td>" not in html  # no row of zeros


def test_a_peak_is_shown_in_the_characters_that_were_read(chinese):
    assert chinese.peaks is not None
    for rank in range(chinese.peaks.activation.shape[1]):
        symbols = chinese.peaks.symbols[0, rank]
        given = bytes(symbols[symbols >= 0].tolist())
        shown = chinese.peak_track(0, rank).characters
        assert sum(c.width for c in shown) == len(given)
        whole = "".join(c.text for c in shown[1:-1]).encode()
        assert given[shown[0].width : len(given) - shown[-1].width] == whole
        assert not any(c.label == f"{b:02X}" for c in shown for b in given)  # half ones are known


def test_a_text_that_is_gone_or_too_short_is_told(folder, tmp_path):
    run = Run.open(folder / "lstm")
    config = run.config.model_copy(update={"files": (tmp_path / "gone.py",)})
    gone = Run(run.path, run.manifest.model_copy(update={"config": config}))
    with pytest.raises(InputError, match="gone"):
        inspect_run(gone)
    (tmp_path / "gone.py").write_text("another text\n" * 900, encoding="utf-8")
    with pytest.raises(InputError, match="changed"):
        inspect_run(gone)


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_opens_from_disk(browser, html, tmp_path, scheme, width):
    path = tmp_path / "inspection.html"
    path.write_text(html, encoding="utf-8")
    settings = {"viewport": {"width": width, "height": 700}, "color_scheme": scheme}
    with browser.visit(path.as_uri(), **settings) as page:
        assert page.get_by_role("heading", level=2).count() == 8
        images = page.locator("svg image")
        assert images.count() >= 8  # the heat maps
        shown = "e => { const b = e.getBoundingClientRect(); return b.width > 50 && b.height > 10 }"
        assert images.first.evaluate(shown)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        unnamed = page.locator("figure [role=img]:not([aria-label]):not(svg)")
        assert unnamed.count() == 0
        page.emulate_media(media="print")
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == "rgb(255, 255, 255)"
