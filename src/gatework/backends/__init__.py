"""From a plan to its results. A backend knows no cell; see `gatework.backends.calls`.

The first backend of `_BACKENDS` that can run a call runs it, but for those that it leaves to a
later one: `gatework.backends.preference`. One can be chosen by hand, with `use_backend`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from gatework.backends.calls import (
    Backend,
    Call,
    Given,
    Picker,
    Result,
    Stepper,
    filled,
    given,
    picker,
)
from gatework.backends.cpu import Cpu
from gatework.backends.gpu import Gpu
from gatework.backends.preference import deferral
from gatework.backends.reference import Reference
from gatework.backends.torch_kernels import TorchKernels
from gatework.compiler.plan import Plan
from gatework.lang.definition import check_known

_BACKENDS: dict[str, Backend] = {b.name: b for b in (Cpu(), Gpu(), TorchKernels(), Reference())}
_chosen: ContextVar[str | None] = ContextVar("backend", default=None)


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Run every plan inside the `with` block on one backend, or fail saying why it cannot.

    Args:
        name: A backend's name, such as "reference".

    Raises:
        ValueError: If there is no backend of that name.

    Example:
        >>> import torch, gatework as gw
        >>> with gw.use_backend("reference"):
        ...     y, h = gw.nn.GRU(3, 4)(torch.zeros(5, 1, 3))
    """
    check_known("backend", [name], _BACKENDS, "Gatework")
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


@contextmanager
def use_any() -> Iterator[None]:
    """Inside, no backend is chosen by hand: the first that can run a call runs it."""
    token = _chosen.set(None)
    try:
        yield
    finally:
        _chosen.reset(token)


def chosen() -> Backend | None:
    """The backend that is chosen by hand, None when none is."""
    name = _chosen.get()
    return None if name is None else _BACKENDS[name]


def select(plan: Plan, call: Call, of: str = "this") -> Backend:
    """The backend that runs this call.

    Args:
        plan: The plan.
        call: A call of it.
        of: What is run, for a message: a plan belongs to all cells with its equations.

    Raises:
        RuntimeError: If the backend chosen by hand cannot run it.
    """
    name = _chosen.get()
    if name is not None:
        reason = _BACKENDS[name].refusal(plan, call)
        if reason is not None:
            raise RuntimeError(f"the backend {name!r} cannot run {of}: {reason}")
        return _BACKENDS[name]
    for backend in _BACKENDS.values():
        # in this order: to see whether it can run a call, a backend may have to compile it
        if deferral(backend, plan, call) is None and backend.refusal(plan, call) is None:
            return backend
    raise AssertionError("the reference backend runs every call")


def takes_halves(device: str) -> bool:
    """Whether calls of float16 and bfloat16 on a kind of device are run as they are."""
    by_hand = chosen()
    backends = _BACKENDS.values() if by_hand is None else [by_hand]
    return any(b.takes_halves(device) for b in backends)


def reasons(plan: Plan, call: Call) -> list[str]:
    """Which backend runs this call and why the ones before it do not, a line each."""
    lines: list[str] = []
    for backend in _BACKENDS.values():
        refusal = backend.refusal(plan, call)
        if _chosen.get() not in (None, backend.name):
            lines.append(f"{backend.name}: not used, {_chosen.get()} is chosen by hand")
        elif refusal is not None:
            lines.append(f"{backend.name}: cannot, {refusal}")
        elif _chosen.get() is None and (faster := deferral(backend, plan, call)):
            lines.append(f"{backend.name}: could, but {faster}")
        else:
            about = backend.about(plan, call)
            return [*lines, f"{backend.name}: runs it" + (f", {about}" if about else "")]
    return lines


__all__ = [
    "Backend", "Call", "Given", "Picker", "Result", "Stepper",
    "chosen", "filled", "given", "picker", "reasons", "select", "takes_halves", "use_any",
    "use_backend",
]  # fmt: skip
