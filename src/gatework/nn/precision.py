"""Half precision: what comes and goes is float16 or bfloat16, what is carried on is float32.

A memory cell in bfloat16, with its eight bits, no longer moves by less than 1/256 of its value, so
a long sequence is forgotten. Therefore sums, gates, every state between two steps and every
gradient between two steps are float32. Who sees to it depends on the backend:

    it takes 16-bit tensors   its kernels do; a state is rounded where it enters a product, as in
                              cuDNN, and where it lies in memory: between two layers, at the end
    it does not               the layers hand it float32, and round results once, at the end
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gatework.backends import takes_halves
from gatework.backends.calls import HALVES
from gatework.backends.reference import autocasts

CASTABLE = (torch.float32, *HALVES)  # what autocast touches; float64 stays what it is


class Precision(NamedTuple):
    """The dtypes of a call of half precision.

    Attributes:
        inside: That of the tensors which a backend is handed.
        result: That of the results.
    """

    inside: torch.dtype
    result: torch.dtype


def precision_of(x: Tensor, weight: Tensor) -> Precision | None:
    """The dtypes of a call with this input and weight; None without half precision.

    Under autocast, inputs of float32 and of half precision may meet weights of either, and results
    have autocast's dtype. Without it, a layer of half precision takes and gives its own dtype.
    """
    result = None
    if autocasts(x):
        if x.dtype in CASTABLE and weight.dtype in CASTABLE:
            result = torch.get_autocast_dtype(x.device.type)
    elif x.dtype in HALVES and x.dtype == weight.dtype:
        result = x.dtype
    if result is None:
        return None
    return Precision(result if _takes_halves(x.device.type) else torch.float32, result)


def inside_step(x: Tensor, weight: Tensor) -> torch.dtype | None:
    """The dtype inside of a single step of half precision; None without half precision.

    Under autocast it is float32: the state that is carried on to the next step stays as exact.
    """
    precision = precision_of(x, weight)
    if precision is None:
        return None
    return torch.float32 if autocasts(x) else precision.inside


def within(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A tensor in the dtype inside of a call of half precision; float64 stays what it is."""
    return tensor.to(dtype) if tensor.dtype in CASTABLE else tensor


def widened(tensor: Tensor) -> Tensor:
    """The tensor as float32 if it has half precision."""
    return within(tensor, torch.float32)


def _takes_halves(device: str) -> bool:
    return takes_halves(device)


# What torch.compiler.assume_constant_result does, which would load torch's compiler for it.
_takes_halves._dynamo_marked_constant = True  # type: ignore[attr-defined]
