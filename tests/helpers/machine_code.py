"""Machine code that tests call with NumPy's arrays: small functions of their own, and routines."""

import ctypes
from dataclasses import replace

import numpy as np

from gatework.backends.cpu.compiled import routine as shared
from gatework.backends.cpu.machine.jit import Library, compile_object
from gatework.backends.cpu.vector.routines import parameters
from gatework.backends.cpu.vector.target import host

AS_IT_STANDS = replace(host(), optimised=False)
"""This processor, for code that LLVM does not optimise: it computes the same."""

TYPES = {"ptr": ctypes.c_void_p, "i64": ctypes.c_int64, "i1": ctypes.c_bool}
DTYPES = {"float": np.float32, "double": np.float64}


def compiled(module, name, params, target):
    """A function of a module as a function of Python."""
    library = Library(compile_object(module.text(8 * target.vector_bytes), target), (name,))
    return called(library.address(name), params, library)


def routine(name, target, element):
    """One of the routines that every kernel calls, as a function of Python."""
    found = shared(name, target, element)
    return called(found.address, parameters(name), found)


def called(address, params, code):
    """A native function; an array is given to it as its address. Its code lives as long as it."""
    native = ctypes.CFUNCTYPE(None, *(TYPES[type_] for type_, _ in params))(address)

    def call(*given):
        native(*(g.ctypes.data if isinstance(g, np.ndarray) else g for g in given))

    call.code = code
    return call
