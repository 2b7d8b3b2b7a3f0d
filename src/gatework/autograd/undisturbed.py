"""Code that torch.compile must not look into."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import torch


def undisturbed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, run as it is also where torch.compile has broken the graph before it.

    There it would compile one by one the functions that this one calls, down to those that hand
    addresses to native code.

    Asking torch for that loads its compiler, which takes a second: only where it is loaded already.
    """
    return _disabled(function) if "torch._dynamo" in sys.modules else function


@cache
def _disabled(function: Callable[..., Any]) -> Callable[..., Any]:
    disabled: Callable[..., Any] = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
    return disabled
