"""The Python function behind what is given as a cell's equations."""

from __future__ import annotations

import functools
import inspect
from types import FunctionType, MethodType
from typing import Any


def source_of(given: Any) -> FunctionType:
    """The function whose lines are the equations: inside a partial, a method, an object.

    Raises:
        TypeError: If there is none; says what was given.
    """
    function = inspect.unwrap(given) if callable(given) else given
    if isinstance(function, FunctionType):
        return function
    if isinstance(function, functools.partial):
        return source_of(function.func)
    if isinstance(function, MethodType):
        return source_of(function.__func__)
    call = function.__call__ if callable(function) and not isinstance(function, type) else None
    if isinstance(call, MethodType) and not hasattr(function, "next_states"):
        return source_of(call)
    raise TypeError(
        f"cell expects a Python function of the input and the states, got {_described(given)}"
    )


def name_of(given: Any) -> str:
    """What a cell made of it is called: as the function, or as an object's class."""
    function = inspect.unwrap(given)
    if isinstance(function, functools.partial):
        return name_of(function.func)
    return str(getattr(function, "__name__", type(function).__name__))


def _described(given: Any) -> str:
    """What was given, and what to give in its place."""
    if hasattr(given, "next_states"):
        return f"{given}, which is a cell already"
    if isinstance(given, type):
        return f"the class {given.__name__}; give a function, or an object of it that can be called"
    name = getattr(given, "__name__", None)
    if callable(given) and name:
        return f"{name}, which is not written in Python, so it has no equations to be traced"
    return f"{given!r}, which is no function"


def kind_problem(source: FunctionType) -> str | None:
    """Why a function of this kind is none of a cell, or None."""
    if inspect.iscoroutinefunction(source):
        return "a cell's function is called once and returns the new states; write def, not async"
    if inspect.isgeneratorfunction(source) or inspect.isasyncgenfunction(source):
        return "a cell's function returns the new states, in one tuple; write return, not yield"
    return None
