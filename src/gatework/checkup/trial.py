"""Runs of a model on one batch, watched and changed at its recurrent layers, that leave no trace.

Every run is in eval mode with the same random numbers, and begins with the model as it was found.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gatework.checkup.layers import STEPS, Visit, recurrent_layers, states_of

Edit = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Changes the arguments of a layer's first call."""


@dataclass(frozen=True)
class Run:
    """What came of one run.

    Attributes:
        outputs: The tensors of real numbers that the model returned.
        visits: The first call of each layer that was called, by name.
    """

    outputs: tuple[Tensor, ...]
    visits: Mapping[str, Visit]


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
    ) -> Run:
        """One run from the model as it was found.

        Args:
            batch: Another batch than the trial's.
            edits: Changes of what layers are given, by name.
            leaf: The layer whose results are cut from their past, so that a gradient with respect
                to them shows what is made of them.
            grad: Whether autograd records the run.
        """
        with restored(self.model):
            return self.run_on(batch, edits, leaf, grad or leaf is not None)

    def run_on(
        self,
        batch: Any = None,
        edits: Mapping[str, Edit] | None = None,
        leaf: str | None = None,
        grad: bool = True,
    ) -> Run:
        """One run that goes on from the run before."""
        watch = _Watch(self.layers, edits or {}, leaf)
        with watch.hooked(), quiet(self.model), torch.set_grad_enabled(grad):
            result = self._result(self.batch if batch is None else batch)
        return Run(tuple(real_tensors(result)), watch.visits)

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
            if self.call is plain_call:
                error.add_note(
                    f"gatework.doctor ran the model on {_described(batch)}; say how it is run on "
                    "your batch with call=, such as call=lambda model, batch: model(batch[0])"
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


def _described(batch: Any) -> str:
    """How a batch is given to the model."""
    if isinstance(batch, Mapping):
        return f"the keyword arguments {', '.join(map(str, batch))}"
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
            self.given[name] = named_arguments(args, kwargs)
            if name in self.edits:
                self.given[name] = self.edits[name](self.given[name])
                return (), dict(self.given[name])
            return None

        return hook

    def _after(self, name: str) -> Any:
        def hook(layer: nn.Module, args: Any, result: Any) -> Any:
            if isinstance(layer, STEPS):
                output, state = result, result
            elif isinstance(result, tuple) and len(result) == 2:
                output, state = result
            else:
                return None  # a derived class with results of its own
            if name in self.visits:
                first = self.visits[name]
                last = states_of(state)
                self.visits[name] = replace(first, last=last, calls=first.calls + 1)
                return None
            if name == self.leaf:
                output, state = _leaf(output), _leaf(state)
            states = states_of(state)
            self.visits[name] = Visit(layer, self.given[name], output, states, states)
            return None if name != self.leaf else (output, state)

        return hook


def named_arguments(args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """A call's arguments by name: the first two positions have one, the others are keywords."""
    return {**dict(zip(("input", "hx"), args, strict=False)), **kwargs}


def _leaf(value: Any) -> Any:
    """The same values, cut from their past."""
    if isinstance(value, Tensor):
        return value.detach().requires_grad_()
    if isinstance(value, PackedSequence):
        return PackedSequence(_leaf(value.data), *value[1:])
    return tuple(_leaf(v) for v in value)


# ---- leaving no trace --------------------------------------------------------------------------


@contextlib.contextmanager
def quiet(model: nn.Module) -> Iterator[None]:
    """Eval mode and fixed random numbers, and torch's own kernels where cuDNN's refuse eval."""
    training = {m: m.training for m in model.modules()}
    model.eval()
    try:
        with torch.random.fork_rng(), torch.backends.cudnn.flags(enabled=False):
            torch.manual_seed(0)
            yield
    finally:
        for module, was in training.items():
            module.training = was


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
