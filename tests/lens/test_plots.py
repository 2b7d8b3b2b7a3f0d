"""Measurements drawn: as files, in notebooks."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass

import pytest
import torch
from PIL import Image

import gatework as gw
from gatework.lens import Measurement
from gatework.lens.drawing import Plot, canvas, finished, in_style
from gatework.lens.plots import draw_flows, draw_horizons, draw_retentions


@pytest.fixture(scope="module")
def measurements():
    torch.manual_seed(0)
    layer, x = gw.nn.LSTM(3, 6), torch.randn(30, 4, 3)
    return {
        "horizon": gw.lens.memory_horizon(layer, [x], 20),
        "flow": gw.lens.gradient_flow(layer, [x]),
        "retention": gw.lens.retention(layer, [x], lags=[1, 5, 20, 50]),
        "saturation": gw.lens.saturation(layer, [x]),
    }


NAMES = ["horizon", "flow", "retention", "saturation"]


@pytest.mark.parametrize("name", NAMES)
def test_a_drawing_is_saved_as_svg_and_as_png(measurements, name, tmp_path):
    drawing = measurements[name].plot()
    drawing.save(tmp_path / "drawing.svg")
    drawing.save(str(tmp_path / "drawing.png"))
    text = (tmp_path / "drawing.svg").read_text(encoding="utf-8")
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert "var(--" not in text  # a file has no page to take colours from
    with Image.open(tmp_path / "drawing.png") as image:
        assert image.width > 400
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        assert len(image.convert("RGB").getcolors(1 << 20)) > 20
    with pytest.raises(ValueError, match=r"\.svg or \.png"):
        drawing.save(tmp_path / "drawing.pdf")


def test_the_grid_of_a_png_is_light(tmp_path):
    layer, x = gw.nn.LSTM(3, 6), torch.randn(30, 2, 3)
    gw.lens.retention(layer, [x], lags=[1, 5, 20]).plot().save(tmp_path / "drawing.png")
    with Image.open(tmp_path / "drawing.png") as image:
        colours = {c: n for n, c in image.convert("RGB").getcolors(1 << 20)}
    assert colours[0xD9, 0xDB, 0xD6] > 1000
    assert colours.get((4, 5, 6), 0) < 100  # what stands for it in a page


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_show_a_measurement(measurements, name):
    assert "<svg" in measurements[name]._repr_html_()
    assert measurements[name].plot()._repr_svg_().startswith("<svg")


def test_what_has_no_drawing_says_so():
    layer, x = gw.nn.LSTM(3, 6), torch.randn(10, 2, 3)
    found = gw.lens.ablate(layer, lambda model: model(x)[0].sum().item())
    assert found._repr_html_() is None
    with pytest.raises(TypeError, match=r"Ablation has no drawing; .* MemoryHorizon, Retention"):
        found.plot()


def test_a_measurement_of_ones_own_draws_itself(monkeypatch):
    monkeypatch.setattr(Measurement, "types", dict(Measurement.types))  # and is forgotten after

    @dataclass(frozen=True, eq=False)
    class Speed(Measurement):
        steps: tuple[int, ...]

        @in_style
        def plot(self) -> Plot:
            figure, axes = canvas(3.0, 2.0)
            axes.plot(self.steps)
            return finished(figure, "speed")

    assert "<svg" in Speed((1, 2, 4))._repr_html_()


@pytest.mark.parametrize(
    ("name", "draw"),
    [("horizon", draw_horizons), ("flow", draw_flows), ("retention", draw_retentions)],
)
def test_several_models_are_drawn_into_one_picture(measurements, name, draw):
    drawing = draw({"old": measurements[name], "new": measurements[name]}).svg
    assert ">old" in drawing
    assert ">new" in drawing


def test_matplotlib_is_loaded_by_those_who_draw_alone():
    asked = "import sys, gatework.lens.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0


def test_a_cell_without_gates_has_a_drawing_too():
    found = gw.lens.saturation(gw.nn.RNN(3, 6), [torch.randn(10, 2, 3)])
    assert "<svg" in found.plot().svg
