"""What users of a layer rely on, whatever memory the backend shares inside."""

import subprocess
import sys

import pytest
import torch

import gatework as gw


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_an_output_may_be_changed_in_place(name):
    layer, x = getattr(gw.nn, name)(4, 5), torch.randn(6, 3, 4)
    expected = torch.autograd.grad((3 * layer(x)[0]).sum(), list(layer.parameters()))
    y, _ = layer(x)
    y.mul_(3)
    found = torch.autograd.grad(y.sum(), list(layer.parameters()))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_a_changed_final_state_changes_no_output():
    layer, x = gw.nn.GRU(4, 5), torch.randn(6, 3, 4)
    with torch.no_grad():
        y, h = layer(x)
        expected = y.clone()
        h.zero_()
    torch.testing.assert_close(y, expected, rtol=0, atol=0)


def test_importing_gatework_loads_no_compiler():
    code = "import sys, gatework; sys.exit('llvmlite' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
