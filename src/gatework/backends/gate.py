"""The gate before native code: what may pass to it, and when.

Native code gets plain tensors in memory and numbers of Python, while nothing records torch's
operations. These questions are asked of each call, so they cost less than a microsecond; who may
not pass goes by another way, see `gatework.nn.routes`. The last look, at the memory of each tensor,
is that of `gatework.backends.cpu.reading`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

LOW = 2**40
"""An address below may be an offset into memory that is not there: look closer."""

_PLAIN = frozenset({Tensor, Parameter, type(None)})


def are_plain(tensors: Iterable[Tensor | None]) -> bool:
    """Whether none is of a class of its own, which may see and change what is done with it."""
    return _PLAIN.issuperset(map(type, tensors))


def have_memory(tensors: Iterable[Tensor | None]) -> bool:
    """Whether none is of a class that only stands for its numbers, such as a DTensor."""
    classes: set[type] = {*map(type, tensors)}
    return _PLAIN.issuperset(classes) or not any(map(stands_for_numbers, classes))


@cache
def stands_for_numbers(cls: type) -> bool:
    """Whether the tensors of a class have their numbers elsewhere: it runs operations itself."""
    own = getattr(cls, "__torch_dispatch__", None)
    return own is not None and own is not Tensor.__torch_dispatch__


def are_watched() -> bool:
    """Whether something follows the operations of torch that are run now.

    That is `torch.jit.trace`, and every mode of torch: `make_fx`, counters of operations, a mode of
    the user's. `torch.device` as a context is one too, but it looks only at where tensors are made.
    """
    return (
        torch._C._len_torch_dispatch_stack() > 0
        or torch._C._is_tracing()
        or (torch._C._len_torch_function_stack() > 0 and _functions_are_watched())
    )


def is_graph_made() -> bool:
    """Whether a graph is made of the operations that are run now, to be run again later."""
    if torch._C._is_tracing():
        return True
    proxies = torch._C._TorchDispatchModeKey.PROXY  # those of make_fx and torch.export
    if torch._C._len_torch_dispatch_stack() == 0:
        return False
    return torch._C._get_dispatch_mode(proxies) is not None


def is_freed(tensor: Tensor) -> bool:
    """Whether a tensor of no class of its own has lost its memory: torch reads on all the same."""
    low = type(tensor) in _PLAIN and tensor.data_ptr() < LOW
    return low and not tensor._is_zerotensor() and not has_memory(tensor)


def has_memory(tensor: Tensor) -> bool:
    """Whether a tensor has memory, or needs none; slower than a look at its address."""
    try:
        return tensor.numel() == 0 or tensor.untyped_storage().data_ptr() != 0
    except RuntimeError:  # it is of a kind whose memory nobody may see
        return False


def _functions_are_watched() -> bool:
    modes = _get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    return any(type(m) is not DeviceContext for m in modes)
