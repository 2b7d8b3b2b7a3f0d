"""Layers on a backend that is given by hand, such as that for the GPU with another machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gatework import backends
from gatework.backends.calls import Backend


@contextmanager
def running_on(backend: Backend) -> Iterator[Backend]:
    """Inside, a backend is asked before all others, in the place of that of its name.

    It runs all that it does not refuse, what it would leave to a faster one as well.
    """
    others = {n: b for n, b in backends._BACKENDS.items() if n != backend.name}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backends, "_BACKENDS", {backend.name: backend, **others})
        patch.setattr(backends, "deferral", lambda backend, plan, call: None)
        yield backend
