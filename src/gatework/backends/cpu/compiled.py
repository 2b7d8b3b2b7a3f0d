"""Kernels and shared routines as machine code in memory."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Iterable
from functools import cache

from gatework.backends.cpu.kernel.build import ENTRY, build
from gatework.backends.cpu.kernel.setting import Setting
from gatework.backends.cpu.machine.jit import Library, compile_object
from gatework.backends.cpu.vector import routines
from gatework.backends.cpu.vector.ir import Module
from gatework.backends.cpu.vector.target import Target
from gatework.backends.cpu.vector.values import Element
from gatework.compiler.plan import Plan
from gatework.lang.keeping import Shared


class Compiled:
    """A kernel as a native function: `function(address of the arguments)`."""

    def __init__(self, plan: Plan, setting: Setting, skip: frozenset[str]) -> None:
        self.setting = setting
        kernel = build(plan, setting, skip)
        self.layout, self.scratch, ir = kernel.layout, kernel.scratch, kernel.ir
        self._routines = [
            routine(name, setting.target, setting.element)
            for name in _wanted(ir, setting.target.tile_vectors)
        ]
        self._library = _library(ir, setting.target, self._routines)
        self.address = self._library.address(ENTRY)
        self.function: Callable[[int], None] = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.address)


class Routine:
    """One of the shared routines, compiled."""

    def __init__(self, name: str, target: Target, element: Element) -> None:
        module = Module()
        routines.write(name, module, target, element)
        image = compile_object(module.text(8 * target.vector_bytes), target)
        self.name = name
        self._library = Library(image, (name,))
        self.address = self._library.address(name)


@cache
def routine(name: str, target: Target, element: Element) -> Routine:
    """A shared routine for a processor and a precision, compiled when it is first wanted."""
    return Routine(name, target, element)


_libraries: Shared[Library] = Shared()


def _library(ir: str, target: Target, imported: Iterable[Routine]) -> Library:
    """The machine code of a module: modules of equal text share it, whatever they were made for."""
    key = hashlib.sha256(ir.encode()).digest(), target
    imports = {r.name: r.address for r in imported}
    return _libraries.get(key, lambda: Library(compile_object(ir, target), (ENTRY,), imports))


def _wanted(ir: str, widest: int) -> list[str]:
    """The shared routines that a kernel calls."""
    return [name for name in routines.names(widest) if f"@{name}(" in ir]
