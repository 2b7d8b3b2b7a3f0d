"""Objects of derived classes: do they compute what the class they derive from does?"""

from __future__ import annotations

import inspect
from typing import Any

HARMLESS = {
    "build", "build_from_config", "compute_mask", "compute_output_shape", "compute_output_spec",
    "extra_repr", "from_config", "get_build_config", "get_config", "load_own_variables", "quantize",
    "reset_state", "reset_states", "save_own_variables",
}  # fmt: skip
"""Methods that a derived class may have of its own: none of them computes an output."""

COMPUTING = {"__call__", "__getattribute__", "__getattr__"}
"""Of the names with two underscores, those that have a say in what is computed."""


def changed_computation(made: Any, library: str) -> str | None:
    """Why an object need not compute what the library's class does, or None.

    Args:
        made: An object of a class of the library, or of one derived from it.
        library: How the names of the library's modules begin.
    """
    cls = type(made)
    base = next((c for c in cls.__mro__ if c.__module__.startswith(library)), None)
    if base is None:
        return f"{cls.__name__} is no class of {library}"
    for name in dir(base):
        if name in HARMLESS or (name.startswith("__") and name not in COMPUTING):
            continue
        own, theirs = (inspect.getattr_static(c, name) for c in (cls, base))
        if own is not theirs:
            return f"its class {cls.__name__} has a {name} of its own"
        if name in vars(made) and callable(theirs):
            return f"its {name} has been replaced"
    if any(getattr(made, f"_forward{kind}_hooks", None) for kind in ("", "_pre")):
        return "it has hooks, which may change what goes in or comes out"
    return None
