"""From LLVM IR to machine code in this process."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from functools import cache

import llvmlite
import llvmlite.binding as llvm

from gatework.backends.cpu.cache import cached
from gatework.backends.cpu.target import Target, initialise

_names = itertools.count()
_lock = threading.Lock()  # LLVM's global context is not safe to use from two threads


def compile_object(ir: str, target: Target) -> bytes:
    """A module as an object file, from the cache on disk if it was compiled before."""
    versions = (llvmlite.__version__, ".".join(map(str, llvm.llvm_version_info)))
    parts = (ir, target.triple, target.cpu, target.features, *versions)
    return cached(parts, lambda: _compile(ir, target))


def _compile(ir: str, target: Target) -> bytes:
    """Optimise a module and translate it to an object file."""
    initialise()
    with _lock:
        module = llvm.parse_assembly(ir)
        module.verify()
        machine = target.machine()
        options = llvm.create_pipeline_tuning_options(speed_level=1)
        options.loop_unrolling = False
        passes = llvm.create_pass_builder(machine, options)
        passes.getModulePassManager().run(module, passes)
        return bytes(machine.emit_object(module))


class Library:
    """Machine code in memory; it is released with this object."""

    def __init__(
        self, image: bytes, symbols: tuple[str, ...], imports: Mapping[str, int] | None = None
    ) -> None:
        with _lock:
            builder = llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
            for symbol, address in (imports or {}).items():
                builder.import_symbol(symbol, address)
            for symbol in symbols:
                builder.export_symbol(symbol)
            self._code = builder.link(_linker(), f"gatework{next(_names)}")

    def address(self, symbol: str) -> int:
        """Where an exported function starts."""
        return int(self._code[symbol])


@cache
def _linker() -> llvm.LLJIT:
    initialise()
    return llvm.create_lljit_compiler()
