"""Every measurement is saved with its axes and comes back as it was."""

from __future__ import annotations

import dataclasses
import json
import pkgutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import gatework as gw
from gatework.lens import Measurement, MemoryHorizon, Retention, load

LAYER = gw.nn.GRU(3, 4)
X = torch.randn(12, 2, 3)
LABELLED = [(part, {"first": part[..., 0].numpy()}) for part in X.split(6)]
MAKERS = {
    "MemoryHorizon": lambda: gw.lens.memory_horizon(LAYER, [X], 6),
    "Saturation": lambda: gw.lens.saturation(LAYER, [X]),
    "Retention": lambda: gw.lens.retention(LAYER, [X], lags=[1, 2]),
    "KeptShares": lambda: gw.lens.kept_shares(LAYER, X),
    "GradientFlow": lambda: gw.lens.gradient_flow(LAYER, [X]),
    "FoundUnits": lambda: gw.lens.find_units(LAYER, LABELLED),
    "Peaks": lambda: gw.lens.find_peaks(LAYER, [X], [("l0.h", 2)]),
    "Ablation": lambda: gw.lens.ablate(LAYER, lambda m: m(X)[0].mean().item()),
    "Comparison": lambda: gw.lens.compare(LAYER, gw.nn.GRU(3, 4), [X]),
}


def assert_equal(found, expected):
    if isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for name in expected:
            assert_equal(found[name], expected[name])
    else:
        assert found == expected
        assert type(found) is type(expected)


def test_all_measurements_are_tested():
    assert set(MAKERS) == set(Measurement.types)


def test_all_measurements_are_exported_and_documented():
    for module in pkgutil.iter_modules(gw.lens.__path__, "gatework.lens."):
        import_module(module.name)  # so that what nobody imports is known too
    names = set(Measurement.types)
    assert names - set(gw.lens.__all__) == set()
    listed = (Path(__file__).parents[2] / "docs" / "reference.md").read_text(encoding="utf-8")
    assert [n for n in sorted(names) if f"::: gatework.lens.{n}\n" not in listed] == []


@pytest.mark.parametrize("name", MAKERS)
def test_a_saved_measurement_comes_back(name, tmp_path):
    measured = MAKERS[name]()
    assert type(measured).__name__ == name
    measured.save(tmp_path / "m.safetensors")
    found = load(tmp_path / "m.safetensors")
    assert type(found) is type(measured)
    for field in dataclasses.fields(measured):
        assert_equal(getattr(found, field.name), getattr(measured, field.name))


@pytest.mark.parametrize("name", MAKERS)
def test_every_array_has_named_axes(name):
    measured = MAKERS[name]()
    for field in dataclasses.fields(measured):
        value = getattr(measured, field.name)
        arrays = list(value.values()) if isinstance(value, dict) else [value]
        if any(isinstance(a, np.ndarray) for a in arrays):
            assert all(a.ndim == len(measured.axes()[field.name]) for a in arrays)


def test_arrays_with_other_axes_are_refused():
    with pytest.raises(ValueError, match=r"influence has the shape \[3\]; expected the axes seq"):
        MemoryHorizon(np.ones(3))


def test_a_file_of_another_measurement_is_refused(tmp_path):
    MemoryHorizon(np.ones((2, 3))).save(tmp_path / "m")
    with pytest.raises(ValueError, match=r"holds a MemoryHorizon; expected a Retention"):
        Retention.load(tmp_path / "m")


def about(**changes) -> dict[str, str]:
    whole = {"format": 1, "type": "MemoryHorizon", "keys": {}, "fields": {}, **changes}
    return {"gatework.measurement": json.dumps(whole)}


@pytest.mark.parametrize(
    "metadata",
    [None, {}, {"gatework.measurement": "{"}, {"gatework.measurement": "[]"}, about(format=2),
     about(type="Path"), about(), about(fields={"nonsense": 1})],
)  # fmt: skip
def test_a_file_that_is_no_measurement_is_refused(tmp_path, metadata):
    save_file({"a": np.ones(2)}, tmp_path / "m", metadata)
    with pytest.raises(ValueError, match="is no measurement"):
        load(tmp_path / "m")


def test_a_damaged_or_missing_file_is_refused(tmp_path):
    (tmp_path / "m").write_bytes(b"x" * 100)
    with pytest.raises(ValueError, match="is no measurement"):
        load(tmp_path / "m")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")
