"""Packages that only some parts of Gatework need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from gatework.errors import InputError

__all__ = ["needed"]


def needed(package: str, extra: str) -> Any:
    """Return a package that may be missing.

    Args:
        package: its name.
        extra: the optional part of Gatework that brings it.

    Raises:
        InputError: it is not installed.

    Example:
        >>> needed("json", "tables").dumps([1])
        '[1]'
    """
    try:
        return import_module(package)
    except ImportError:
        raise InputError(
            f"the package {package!r} is not installed",
            f"Gatework with its optional part {extra!r}",
            f"pip install {package}, or in a copy of the repository pip install '.[{extra}]'",
        ) from None
