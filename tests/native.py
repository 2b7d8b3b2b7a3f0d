"""Machine code that tests call with NumPy's arrays: small functions of their own, and routines."""

import ctypes

import numpy as np

from gatework.backends.cpu.machine.jit import Library, compile_object
from gatework.backends.cpu.vector import routines
from gatework.backends.cpu.vector.ir import Module

TYPES = {"ptr": ctypes.c_void_p, "i64": ctypes.c_int64, "i1": ctypes.c_bool}


def compiled(module, name, params, target):
    """A function of a module; an array is given as its address."""
    image = compile_object(module.text(8 * target.vector_bytes), target)
    library = Library(image, (name,))
    types = [TYPES[type_] for type_, _ in params]
    native = ctypes.CFUNCTYPE(None, *types)(library.address(name))

    def call(*given):
        native(*(g.ctypes.data if isinstance(g, np.ndarray) else g for g in given))

    call.library = library  # the code lives as long as the function
    return call


def routine(name, target, element):
    """One of the routines that kernels call."""
    module = Module()
    routines.write(name, module, target, element)
    return compiled(module, name, routines.parameters(name), target)
