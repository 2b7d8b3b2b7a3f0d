"""What a layer's weights come from, so that it can be seen whether they have changed.

    what happens to a weight                                        what shows it
    a change in place, as by `load_state_dict` or an optimiser      the tensor's version
    other memory: `.data = …`, `vector_to_parameters`, `layer.to`   the tensor's address
    another tensor: a new Parameter, `assign=True`, pruning         which object it is
    the step of an optimiser that raises no version: `fused=True`   a hook after every step

A weight that is computed, by a parametrisation or by a hook before each call, changes with the
parameters and buffers that the layer holds. What is written otherwise, through `.data`, through
numpy or by another process, leaves no trace in a tensor, and so has none here.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from operator import attrgetter, itemgetter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.optim.optimizer import register_optimizer_step_post_hook

from gatework.backends.gate import PLAIN

WEIGHT_HOOKS = (BasePruningMethod, SpectralNorm, WeightNorm)

_address = Tensor.data_ptr
_tracked_version: Callable[[Tensor], int] = attrgetter("_version")

Table = Mapping[str, Any]
Getter = Callable[[Table], tuple[Any, ...]]
Look = Callable[[], tuple[Any, ...]]


class Origins:
    """The tensors that the weights of a layer are read or computed from, as they are now.

    Args:
        layer: The layer.
        names: The names of its weights.

    Attributes:
        changed: Says whether a weight is another one now, or lies elsewhere, or was written. It is
            asked at each step of a stream.
    """

    def __init__(self, layer: nn.Module, names: Sequence[str]) -> None:
        own = are_own(layer, names)
        look: Look = partial(_getter(names), layer._parameters)
        look = look if own else _Inside(layer, names).tensors
        self._tensors = look()
        # as long as these live, the memory cannot become another tensor's
        self._memory = [t.detach() for t in self._tensors]
        self.changed = _comparison(look, self._tensors)
        _observe_optimizers()
        _living[id(self)] = self

    def after_step(self, parameters: set[int]) -> None:
        """Take note that an optimiser has stepped on parameters, by id."""
        if not parameters.isdisjoint(map(id, self._tensors)):
            self.changed = lambda: True


def _comparison(look: Look, tensors: tuple[Tensor, ...]) -> Callable[[], bool]:
    """What compares the tensors that are found later with these as they are now; by few calls."""
    untracked = any(t.is_inference() for t in tensors)
    version = _version_if_any if untracked else _tracked_version
    address = _address if PLAIN.issuperset(map(type, tensors)) else id  # others may have none
    versions, addresses = sum(map(version, tensors)), tuple(map(address, tensors))

    def changed() -> bool:
        try:
            now = look()
            return not (
                now == tensors  # the same objects: Python takes those as equal without comparing
                and sum(map(version, now)) == versions
                and tuple(map(address, now)) == addresses
            )
        except (KeyError, RuntimeError):
            return True  # one is gone, was compared with another, or has no version any more

    return changed


class _Inside:
    """All tensors in a layer, whose weights are computed from some of them."""

    def __init__(self, layer: nn.Module, names: Sequence[str]) -> None:
        modules = list(layer.modules())
        tables: list[Table] = [t for m in modules for t in (m._parameters, m._buffers)]
        attributes = [name for name in names if name in vars(layer)]
        self._places = [
            *((t, _getter(list(t))) for t in tables),
            (vars(layer), _getter(attributes)),
        ]
        self._tables = [*tables, *(m._modules for m in modules)]
        self._parts = self._parts_now()

    def _parts_now(self) -> list[int]:
        """The modules, and how much each holds."""
        modules = [id(m) for table in self._tables for m in table.values() if m is not None]
        return [*modules, *map(len, self._tables)]

    def tensors(self) -> tuple[Tensor, ...]:
        """Those that are there.

        Raises:
            KeyError: If others are there than were at the beginning.
        """
        if self._parts_now() != self._parts:
            raise KeyError("the modules in the layer are others")
        return tuple([t for table, get in self._places for t in get(table) if t is not None])


def are_own(layer: nn.Module, names: Sequence[str]) -> bool:
    """Whether the weights are the layer's own parameters; else some are computed."""
    return all(layer._parameters.get(name) is not None for name in names)


def _getter(names: Sequence[str]) -> Getter:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda table: tuple([table[name] for name in names])


def _version_if_any(tensor: Tensor) -> int:
    """A tensor's version; one that was made in inference mode has none."""
    return 0 if tensor.is_inference() else tensor._version


class Unread:
    """The origins of weights that have not been read yet."""

    def changed(self) -> bool:
        """They have to be read."""
        return True


UNREAD = Unread()

# ---- optimisers --------------------------------------------------------------------------------

_living: weakref.WeakValueDictionary[int, Origins] = weakref.WeakValueDictionary()


@cache
def _observe_optimizers() -> None:
    register_optimizer_step_post_hook(_after_step)


def _after_step(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
    if torch.compiler.is_compiling() or not _living:
        return
    stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
    for reference in _living.valuerefs():  # a copy: others may come and go in other threads
        origins = reference()
        if origins is not None:
            origins.after_step(stepped)


# ---- weights that are computed -----------------------------------------------------------------


@contextmanager
def computed(layer: nn.Module, names: Sequence[str]) -> Iterator[None]:
    """Inside, the layer's weights are those of a call in eval mode, without a call.

    What computes them may change its buffers in training mode, as the spectral norm does, so there
    it is put into eval mode. What makes a weight before each call, as pruning does, makes it now.
    """
    if are_own(layer, names):
        yield
        return
    modes = [(module, module.training) for module in layer.modules()]
    try:
        for module, _ in modes:
            module.training = False
        for hook in layer._forward_pre_hooks.values():
            if isinstance(hook, WEIGHT_HOOKS):
                hook(layer, ())
        yield
    finally:
        for module, mode in modes:
            module.training = mode
