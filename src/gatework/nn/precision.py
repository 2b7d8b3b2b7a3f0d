"""Half precision: what comes and goes is float16 or bfloat16, the arithmetic is float32.

A memory cell in bfloat16, with its eight bits, no longer moves by less than 1/256 of its value, so
a long sequence is forgotten. Therefore every product, every state between two steps and every
gradient is float32, and results are rounded once, at the end.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gatework.backends.reference import autocasts

HALF = (torch.float16, torch.bfloat16)
CASTABLE = (torch.float32, *HALF)  # what autocast touches; float64 stays what it is


def rounded_to(x: Tensor, weight: Tensor) -> torch.dtype | None:
    """The dtype to which results are rounded; None for a call without half precision.

    Under autocast, inputs of float32 and of half precision may meet weights of either, and results
    have autocast's dtype. Without it, a layer of half precision takes and gives its own dtype.
    """
    if autocasts(x):
        if x.dtype in CASTABLE and weight.dtype in CASTABLE:
            return torch.get_autocast_dtype(x.device.type)
    elif x.dtype in HALF and x.dtype == weight.dtype:
        return x.dtype
    return None


def widened(tensor: Tensor) -> Tensor:
    """The tensor as float32 if it has half precision."""
    return tensor.float() if tensor.dtype in HALF else tensor
