"""Measurements drawn: as files, in notebooks."""

import xml.etree.ElementTree as ElementTree

import pytest
import torch
from PIL import Image

import gatework as gw
from gatework.lens.plots import plot


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


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_show_a_measurement(measurements, name):
    assert "<svg" in measurements[name]._repr_html_()
    assert measurements[name].plot()._repr_svg_().startswith("<svg")


def test_what_has_no_drawing_says_so():
    layer, x = gw.nn.LSTM(3, 6), torch.randn(10, 2, 3)
    found = gw.lens.ablate(layer, lambda model: model(x)[0].sum().item())
    assert found._repr_html_() is None
    with pytest.raises(TypeError, match="Ablation has no drawing"):
        plot(found)


def test_a_cell_without_gates_has_a_drawing_too():
    found = gw.lens.saturation(gw.nn.RNN(3, 6), [torch.randn(10, 2, 3)])
    assert "<svg" in found.plot().svg
