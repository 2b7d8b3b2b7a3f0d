"""The primitives of kernels: the emulated ones do what PTX says, and all compile for cards."""

from array import array

import pytest
import torch

from backends.gpu.emulator.emulated import Emulated
from gatework.backends.gpu import text as texts
from gatework.backends.gpu.machine import Launch
from gatework.backends.gpu.nvrtc import compile_text

SUM = """
struct Arguments { const el* x; el* total; i64 count; };

// Adds numbers: each thread some, then each warp its own, then the block.
extern "C" __global__ void __launch_bounds__(128) run(const Arguments a) {
  float* sums = (float*)shared_memory();
  float sum = 0.f;
  for (int i = threadIdx.x; i < a.count; i += blockDim.x) sum += load(a.x + i);
  sum = sum_of_warp(sum);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
  sync_block();
  if (threadIdx.x == 0) store(a.total, sums[0] + sums[1] + sums[2] + sums[3]);
}
"""


def test_a_block_adds_numbers():
    x, total = torch.arange(77.0), torch.full((1,), torch.nan)
    kernel = Emulated(seed=1).kernel(texts.assembled(SUM, "float"))
    slots = array("q", [x.data_ptr(), total.data_ptr(), x.numel()])
    kernel.launch(Launch(blocks=1, threads=128, shared=16), slots)
    assert total.item() == x.sum()


@pytest.mark.parametrize("element", ["float", "half", "bfloat16"])
@pytest.mark.parametrize("architecture", ["sm_90a", "sm_80"])
def test_it_compiles_for_cards(architecture, element):
    assert compile_text(texts.assembled(SUM, element), architecture).spilled == 0
