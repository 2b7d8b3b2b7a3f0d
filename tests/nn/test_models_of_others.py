"""Models of other packages give the same results and gradients after one line of ours.

They are built by benchmarks/models_of_others.py.
"""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch

import gatework as gw
from numerics import assert_same

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]  # the packages' warnings

_PATH = Path(__file__).parents[2] / "benchmarks" / "models_of_others.py"
_SPEC = importlib.util.spec_from_file_location("models_of_others", _PATH)
others = sys.modules["models_of_others"] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(others)

TOLERANCE = 2e-4  # float32, through whole models
LIGHT = {"tagger", "tagger with GRU", "policy update", "policy step"}
CASES = [
    pytest.param(case, id=name, marks=[] if name in LIGHT else pytest.mark.slow)
    for name, case in others.CASES.items()
]


@pytest.mark.parametrize("case", CASES)
def test_the_same_results_and_gradients(case):
    pytest.importorskip(case.package)
    before, after, call = others.made(case)
    report = gw.acceleration(after)
    assert report.changed
    assert not report.left
    assert list(after.state_dict()) == list(before.state_dict())
    assert_same(others.results(after, call), others.results(before, call), TOLERANCE)
    with torch.no_grad():
        found, expected = (dict(enumerate(others.outputs(m, call))) for m in (after, before))
    assert_same(found, expected, TOLERANCE)
    gw.restore(after)
    assert [type(m) for m in after.modules()] == [type(m) for m in before.modules()]


@pytest.mark.parametrize("case", CASES)
def test_the_doctor_accuses_none(case):
    pytest.importorskip(case.package)
    before, after, call = others.made(case)
    for model in (before, after):
        report = gw.doctor(model, (), call=lambda m, _: call(m))
        assert report.ok, report
