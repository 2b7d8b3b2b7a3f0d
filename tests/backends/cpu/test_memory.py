"""Memory: a training step gets back what the one before it freed."""

import subprocess
import sys

import pytest
import torch

from gatework.backends.cpu import memory

STEPS = """
import resource, torch, gatework as gw
torch.set_num_threads(1)
layer, x = gw.nn.LSTM(64, 64), torch.randn(100, 64, 64)
for step in range(7):
    if step == 3:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    layer(x)[0].sum().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, x.nbytes)
"""


@pytest.mark.parametrize("shape", [(3, 0, 5), (2, 3), (5, 2**20)])
@pytest.mark.parametrize("filled", [False, True])
def test_memory_of_any_size(shape, filled):
    found = memory.maker(shape, torch.float32, filled)()
    assert (found.shape, found.dtype, found.is_contiguous()) == (shape, torch.float32, True)
    assert not filled or not found.any()


@pytest.mark.skipif(sys.platform != "linux", reason="counts page faults as Linux does")
def test_a_step_touches_no_new_memory():
    """In a process of its own: here other tests have freed blocks of any size."""
    done = subprocess.run([sys.executable, "-c", STEPS], capture_output=True, text=True, check=True)
    faults, row_bytes = map(int, done.stdout.split())
    assert faults < 5 * row_bytes // 4096, "four steps touched more pages than one keeps"
