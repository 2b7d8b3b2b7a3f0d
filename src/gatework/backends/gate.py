"""The gate before native code: what may pass to it, and when.

Native code gets plain tensors in memory and numbers of Python, while nothing records torch's
operations. These questions are asked of each call, so they cost less than a microsecond; who may
not pass goes by another way, see `gatework.autograd.routes`. The last look, at the memory of each
tensor, is that of `gatework.backends.reading`.
"""

from __future__ import annotations

from functools import cache
from types import NoneType

from torch import Tensor
from torch._C import (
    _get_dispatch_mode,
    _is_tracing,
    _len_torch_dispatch_stack,
    _len_torch_function_stack,
    _TorchDispatchModeKey,
)
from torch.nn import Parameter
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

LOW = 2**40
"""An address below may be an offset into memory that is not there: look closer."""

PLAIN: frozenset[type] = frozenset({Tensor, Parameter, NoneType})
"""A tensor of any other class may see and change what is done with it."""


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
    if _len_torch_dispatch_stack() or _is_tracing():
        return True
    return _len_torch_function_stack() > 0 and _functions_are_watched()


def is_graph_made() -> bool:
    """Whether a graph is made of the operations that are run now, to be run again later."""
    if _is_tracing():
        return True
    if not _len_torch_dispatch_stack():
        return False
    return _get_dispatch_mode(_TorchDispatchModeKey.PROXY) is not None  # make_fx, torch.export


def is_freed(tensor: Tensor) -> bool:
    """Whether a tensor of no class of its own has lost its memory: torch reads on all the same."""
    low = type(tensor) in PLAIN and tensor.data_ptr() < LOW and not tensor.is_meta
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
