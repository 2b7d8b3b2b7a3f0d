"""Which calls a backend leaves to a later one that is measured to be faster: the rule, here alone.

On CUDA that is cuDNN, which has kernels of its own for float32 at few units. Microseconds a step,
forward / training step, whole calls replayed as CUDA graphs on one H200, TF32 off (the GPU
backend's prototype; `docs/gpu.md` has all rows):

    cell    B, T, H        cuDNN          GPU backend
    lstm    64, 100, 64    0.67 / 1.9     1.2  / 3.5
    lstm    8, 512, 128    1.67 / 3.53    1.10 / 2.44
    gru     8, 512, 128    0.76 / 1.74    0.92 / 2.10
    rnn     8, 512, 128    0.47 / 1.12    0.49 / 1.14

From 256 units on, and in float16 and bfloat16 at all sizes, cuDNN takes 1.3 to 10 times as long.
"""

from __future__ import annotations

import torch

from gatework.backends.calls import Backend, Call
from gatework.backends.torch_kernels import Kernel, TorchKernels, kernel_of
from gatework.compiler.plan import Plan

UNITS: dict[Kernel, int] = {
    torch.lstm: 64,
    torch.gru: 128,
    torch.rnn_tanh: 128,
    torch.rnn_relu: 128,  # not measured; the work is that of tanh's
}
"""Up to how many units cuDNN was the faster one in float32."""

DEVICES = {"cuda"}  # where torch's kernels are cuDNN's
_TORCH = TorchKernels()


def deferral(backend: Backend, plan: Plan, call: Call) -> str | None:
    """Why a backend leaves a call to a later one though it can run it; None where it does not."""
    return _cudnn_is_faster(plan, call) if backend.name == "gpu" else None


def _cudnn_is_faster(plan: Plan, call: Call) -> str | None:
    if call.like.dtype != torch.float32 or call.like.device.type not in DEVICES:
        return None
    if call.lengths is not None:  # they would have to be read on the CPU, and the batch packed
        return None
    if call.shape[0] == 1:  # nothing but the launch; and steps of a stream are not cuDNN's
        return None
    kernel = kernel_of(plan)
    if kernel is None or not torch.backends.cudnn.enabled or _TORCH.refusal(plan, call):
        return None
    rows = {call.sizes[state.size] for state in plan.recurrence.states}
    if len(rows) > 1 or max(rows) > UNITS[kernel]:  # a projection was not measured
        return None
    return f"cuDNN is faster here: its float32 kernel of {UNITS[kernel]} units or fewer"
