"""Runs of a model on one batch, watched and changed at its recurrent layers, that leave no trace.

Every run is in eval mode, unless asked for otherwise, with the same random numbers, and begins with
the model as it was found.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatework.checkup.graph import nodes_of, now
from gatework.checkup.layers import (
    Visit,
    gives_state_alone,
    recurrent_layers,
    states_of,
    weights_of,
)

Edit = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Changes the arguments of a layer's first call."""


@dataclass(frozen=True)
class Run:
    """What came of one run.

    Attributes:
        outputs: The tensors of real numbers that the model returned.
        visits: The first call of each layer that was called, by name.
        began: Operations of autograd's graph with a lower number are older than the run.
    """

    outputs: tuple[Tensor, ...]
    visits: Mapping[str, Visit]
    began: int


class Trial:
    """A model and a batch to run it on.

    Args:
        model: The model.
        batch: What it is given.
        call: How: `call(model, batch)`.
    """

    def __init__(
        self, model: nn.Module, batch: Any, call: Callable[[nn.Module, Any], Any] | None
    ) -> None:
        self.model, self.batch = model, batch
        self.call = call or plain_call
        self.layers = recurrent_layers(model)

    def run(
        self,
        batch: Any = None,
        edits: Mapping[str, Edit] | None = None,
        leaf: str | None = None,
        grad: bool = False,
        training: bool = False,
    ) -> Run:
        """One run from the model as it was found.

        Args:
            batch: Another batch than the trial's.
            edits: Changes of what layers are given, by name.
            leaf: The layer whose results are cut from their past, so that a gradient with respect
                to them shows what is made of them.
            grad: Whether autograd records the run.
            training: Whether it is in training mode.
        """
        with restored(self.model):
            return self.run_on(batch, edits, leaf, grad or leaf is not None, training)

    def run_on(
        self,
        batch: Any = None,
        edits: Mapping[str, Edit] | None = None,
        leaf: str | None = None,
        grad: bool = True,
        training: bool = False,
    ) -> Run:
        """One run that goes on from the run before."""
        watch, began = _Watch(self.layers, edits or {}, leaf), now()
        with watch.hooked(), quiet(self.model, training), torch.set_grad_enabled(grad):
            result = self._result(self.batch if batch is None else batch)
        return Run(tuple(real_tensors(result)), watch.visits, began)

    @cached_property
    def _twice(self) -> tuple[Run, Run]:
        return self.run(), self.run()

    def steady(self) -> bool:
        """Whether two runs give the same outputs."""
        pairs = zip(self._twice[0].outputs, self._twice[1].outputs, strict=False)
        return all(a.shape == b.shape and torch.allclose(a, b, equal_nan=True) for a, b in pairs)

    def _result(self, batch: Any) -> Any:
        try:
            return self.call(self.model, batch)
        except Exception as error:
            if self.call is not plain_call:
                raise
            ran = f"gatework.doctor ran the model on {_described(batch)}"
            if next(tensors(batch), None) is None and not isinstance(batch, PackedSequence):
                raise TypeError(
                    f"{ran}, and it raised: {error}. A batch is a tensor, a tuple of arguments or "
                    "a dict of keyword arguments; for others, say how the model is run with call="
                ) from error
            error.add_note(
                f"{ran}; say how it is run on your batch with call=, such as "
                "call=lambda model, batch: model(batch[0])"
            )
            raise


def plain_call(model: nn.Module, batch: Any) -> Any:
    """The model on a batch: a tuple's or list's items are its arguments, a dict's its keywords."""
    if isinstance(batch, PackedSequence | Tensor):
        return model(batch)
    if isinstance(batch, Mapping):
        return model(**batch)
    if isinstance(batch, tuple | list):
        return model(*batch)
    return model(batch)


def tensors(batch: Any) -> Iterator[Tensor]:
    """The tensors of a batch in order."""
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for part in batch.values():
            yield from tensors(part)
    elif isinstance(batch, tuple | list) and not isinstance(batch, PackedSequence):
        for part in batch:
            yield from tensors(part)


def _described(batch: Any) -> str:
    """How a batch is given to the model."""
    if isinstance(batch, Mapping):
        return f"the keyword arguments {', '.join(map(str, batch))}"
    if isinstance(batch, Tensor):
        return f"one tensor of {batch.dtype}, {list(batch.shape)}, on {batch.device}"
    several = isinstance(batch, tuple | list) and not isinstance(batch, PackedSequence)
    return f"{len(batch)} arguments" if several else f"one {type(batch).__name__}"


def real_tensors(value: Any) -> Iterator[Tensor]:
    """The tensors of real numbers in nested tuples, lists, dicts and dataclasses."""
    if isinstance(value, Tensor):
        if value.dtype.is_floating_point:
            yield value
    elif isinstance(value, PackedSequence):
        yield value.data
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from real_tensors(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from real_tensors(part)
    elif hasattr(value, "__dataclass_fields__"):
        yield from real_tensors(vars(value))


# ---- watching ----------------------------------------------------------------------------------


class _Watch:
    def __init__(
        self, layers: Mapping[str, nn.Module], edits: Mapping[str, Edit], leaf: str | None
    ) -> None:
        self.layers, self.edits, self.leaf = layers, edits, leaf
        self.visits: dict[str, Visit] = {}
        self.given: dict[str, Mapping[str, Any]] = {}
        self.held: dict[str, Mapping[str, Tensor]] = {}

    @contextlib.contextmanager
    def hooked(self) -> Iterator[None]:
        """The layers report what they are given and what they return."""
        handles = []
        for name, layer in self.layers.items():
            handles += [
                layer.register_forward_pre_hook(self._before(name), with_kwargs=True),
                layer.register_forward_hook(self._after(name)),
            ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _before(self, name: str) -> Any:
        def hook(layer: nn.Module, args: Any, kwargs: Any) -> Any:
            if name in self.visits:
                return None
            self.given[name], self.held[name] = named_arguments(args, kwargs), weights_of(layer)
            _check_form(name, self.given[name].get("input"))
            if name in self.edits:
                self.given[name] = self.edits[name](self.given[name])
                return (), dict(self.given[name])
            return None

        return hook

    def _after(self, name: str) -> Any:
        def hook(layer: nn.Module, args: Any, result: Any) -> Any:
            alone = gives_state_alone(layer)
            if not alone and not (isinstance(result, tuple) and len(result) == 2):
                return None  # a derived class with results of its own
            made = tuple(nodes_of(real_tensors(result)))
            if name in self.visits:
                first, last = self.visits[name], states_of(result if alone else result[1])
                self.visits[name] = replace(
                    first, last=last, made=first.made + made, calls=first.calls + 1
                )
                return None
            if name == self.leaf:
                result = cut(result)
            output, state = (result, result) if alone else result
            states = states_of(state)
            self.visits[name] = Visit(
                layer, self.given[name], output, states, states, self.held[name], made
            )
            return None if name != self.leaf else result

        return hook


def _check_form(name: str, given: Any) -> None:
    """Raise where a layer is given its sequences one by one: it is changed as a whole."""
    if isinstance(given, PackedSequence) or (isinstance(given, Tensor) and not given.is_nested):
        return
    form = "a nested tensor" if isinstance(given, Tensor) else type(given).__name__
    raise TypeError(
        f"gatework.doctor follows layers that read a tensor or a packed sequence, and "
        f"{name or 'the model'} was given {form}; examine the model on a padded batch with lengths="
    )


def named_arguments(args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """A call's arguments by name: the first two positions have one, the others are keywords."""
    return {**dict(zip(("input", "hx"), args, strict=False)), **kwargs}


def cut(value: Any) -> Any:
    """The same values as leaves, cut from their past."""
    if isinstance(value, Tensor):
        return value.detach().requires_grad_()
    if isinstance(value, PackedSequence):
        return PackedSequence(cut(value.data), *value[1:])
    return tuple(cut(v) for v in value)


# ---- leaving no trace --------------------------------------------------------------------------


@contextlib.contextmanager
def quiet(model: nn.Module, training: bool = False) -> Iterator[None]:
    """Eval mode and fixed random numbers, and torch's own kernels where cuDNN's refuse eval."""
    before = {m: m.training for m in model.modules()}
    model.train(training)
    try:
        with torch.random.fork_rng(), torch.backends.cudnn.flags(enabled=False):
            torch.manual_seed(0)
            yield
    finally:
        for module, was in before.items():
            module.training = was


@contextlib.contextmanager
def same_chance() -> Iterator[None]:
    """The random numbers of torch, numpy and Python go on as if nothing had been drawn."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


@contextlib.contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """What the model's modules hold is put back at the end: attributes, and buffers' values."""
    held = {m: dict(vars(m)) for m in model.modules()}
    containers = [
        (v, v.copy()) for attributes in held.values() for v in attributes.values()
        if isinstance(v, list | dict)
    ]  # fmt: skip
    values = [(b, b._version, b.detach().clone()) for b in model.buffers()]
    try:
        yield
    finally:
        for module, attributes in held.items():
            vars(module).clear()
            vars(module).update(attributes)
        for container, copy in containers:
            container.clear()
            (container.extend if isinstance(container, list) else container.update)(copy)
        with torch.no_grad():
            for buffer, version, value in values:
                if buffer._version != version:
                    buffer.copy_(value)
