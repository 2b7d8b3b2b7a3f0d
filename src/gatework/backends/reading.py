"""The last look at a tensor before native code reads its memory."""

from __future__ import annotations

import torch
from torch import Tensor

from gatework.backends.gate import LOW, has_memory


def address(tensor: Tensor) -> int:
    """Where native code finds each number of a tensor: below LOW, where it may not find them."""
    try:
        return 0 if tensor.is_neg() or not tensor.is_contiguous() else tensor.data_ptr()
    except RuntimeError:  # some layouts do not even answer
        return 0


def readable(tensor: Tensor, name: str) -> Tensor:
    """The tensor with each number where native code looks for it, copied if need be.

    The numbers of a strided tensor lie elsewhere. Those of a view that is negated lazily, as the
    imaginary part of a conjugate is, have the other sign in memory. A zero of autograd has none.

    Raises:
        ValueError: If the tensor has no memory.
    """
    if tensor.layout is not torch.strided:
        raise ValueError(f"{name} has the layout {tensor.layout}; give it as tensor.to_dense()")
    if tensor.data_ptr() < LOW:
        if tensor._is_zerotensor():
            return torch.zeros(tensor.shape, dtype=tensor.dtype, device=tensor.device)
        if not has_memory(tensor):
            raise ValueError(
                f"{name} has no memory: its storage was freed, or it is a tensor that only stands "
                "for numbers elsewhere; give a tensor whose numbers are in memory"
            )
    return tensor.detach().resolve_neg().contiguous()
