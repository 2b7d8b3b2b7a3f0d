"""From LLVM IR to machine code in this process.

The functions of one object and the constants they read have to lie close together: they find each
other by distances of 32 bits, and LLVM's older linker, which asks for memory section by section,
ends the process where these are gigabytes apart. So objects are linked by JITLink. It reserves one
block for a whole object, and the object reaches what lies elsewhere, such as the shared routines,
through full addresses in its block.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from contextlib import nullcontext
from functools import lru_cache

import llvmlite
import llvmlite.binding as llvm
from llvmlite.binding.newpassmanagers import ModulePassManager, NewPassManager

from gatework.backends.cache import cached
from gatework.backends.cpu.machine.code_memory import require
from gatework.backends.cpu.vector.errors import CodeMemoryError
from gatework.backends.cpu.vector.target import GENERATION, Target, initialise
from gatework.forking import building, hold_at_fork

OPTIMISATION = {"speed_level": 1, "loop_unrolling": False}
SERVED = 64  # libraries of one linker

_numbers = itertools.count()
hold_at_fork(getattr(llvm.ffi.lib, "_lock", nullcontext()))  # llvmlite's, around calls of LLVM


def compile_object(ir: str, target: Target) -> bytes:
    """A module as an object file, from the cache on disk if it was compiled before."""
    processor = (target.triple, target.cpu, target.features, repr(target.optimised))
    versions = (llvmlite.__version__, ".".join(map(str, llvm.llvm_version_info)))
    parts = (ir, *processor, *versions, repr(OPTIMISATION), repr(GENERATION))
    return cached(parts, lambda: _compile(ir, target))


def _compile(ir: str, target: Target) -> bytes:
    """Optimise a module and translate it to an object file."""
    initialise()
    with building:  # LLVM's global context is not safe to use from two threads
        module = llvm.parse_assembly(ir)
        module.verify()
        machine = target.machine()
        options = llvm.create_pipeline_tuning_options()
        for name, value in OPTIMISATION.items():
            setattr(options, name, value)
        if not target.optimised:
            options.speed_level = 0
        passes = llvm.create_pass_builder(machine, options)
        pipeline = passes.getModulePassManager()
        pipeline.run(module, passes)
        free_passes(pipeline)
        return bytes(machine.emit_object(module))


def free_passes(pipeline: ModulePassManager) -> None:
    """Free the passes and what they know of a module, some 100 kB.

    In llvmlite 0.50 the order of the base classes hides the method that does it when the object
    goes.
    """
    if type(pipeline)._dispose is llvm.ffi.ObjectRef._dispose:
        NewPassManager._dispose(pipeline)


class Library:
    """Machine code in memory; it is released with this object."""

    def __init__(
        self, image: bytes, symbols: tuple[str, ...], imports: Mapping[str, int] | None = None
    ) -> None:
        builder = llvm.JITLibraryBuilder().add_object_img(image).add_current_process()
        for symbol, address in (imports or {}).items():
            builder.import_symbol(symbol, address)
        for symbol in symbols:
            builder.export_symbol(symbol)
        with building:
            require(len(image))
            number = next(_numbers)
            try:
                self._code = builder.link(_linker(number // SERVED), f"gatework{number}")
            except RuntimeError as error:
                raise CodeMemoryError(
                    f"machine code could not be put into memory: {error}"
                ) from error

    def address(self, symbol: str) -> int:
        """Where an exported function starts."""
        return int(self._code[symbol])


@lru_cache(maxsize=1)
def _linker(generation: int) -> llvm.LLJIT:
    """The linker of some libraries in a row.

    A linker keeps some kilobytes for each library that it has ever had. It goes, and they with it,
    when another has followed and the last of its libraries is gone.
    """
    initialise()
    return llvm.create_lljit_compiler(use_jit_link=True)
