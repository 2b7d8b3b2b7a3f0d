"""CUDA's driver through ctypes: the functions that kernels are loaded and launched with.

It comes with the card's driver, so nothing is installed for it. It is loaded on first use.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_size_t, c_uint, c_void_p
from functools import lru_cache
from typing import Any

from gatework.backends.gpu.loop import Refused
from gatework.backends.gpu.machine import Launch

LIBRARY = "libcuda.so.1"
NEWEST_FUNCTION = "cuOccupancyMaxActiveClusters"  # of CUDA 11.8

# names of the driver's header, without their CU_ and what they are of
MULTIPROCESSOR_COUNT, MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 16, 97  # of a device
COMPUTE_CAPABILITY_MAJOR, COMPUTE_CAPABILITY_MINOR = 75, 76
MAX_DYNAMIC_SHARED_SIZE_BYTES, NON_PORTABLE_CLUSTER_SIZE_ALLOWED = 8, 14  # of a function
COOPERATIVE, CLUSTER_DIMENSION = 2, 4  # of a launch
CAPTURE_MODE_RELAXED = 2
HOSTALLOC_PORTABLE, HOSTALLOC_DEVICEMAP = 1, 2

BROKEN = (
    "an earlier kernel, of whatever library, has broken CUDA in this process: start it again; "
    "with the environment variable CUDA_LAUNCH_BLOCKING=1 the error names its place"
)
UNKNOWN_CODE = (209, 218, 222)  # no binary for the card, invalid code, newer than the driver
TO_MEND = {  # by the driver's error code
    1: "the launch asks for what this card does not have, which is a mistake of Gatework",
    2: "the card's memory is full: shorter or fewer sequences, or free what other tensors hold",
    3: "CUDA does not work in a forked process: start it by spawn",
    201: "CUDA is not ready in this thread, which is a mistake of Gatework",
    700: BROKEN,
    701: "a block asks for more registers or memory than there are, which is a mistake of Gatework",
    715: BROKEN,
    718: BROKEN,
    719: BROKEN,
    720: "its blocks do not fit on the card at the same time: another process may hold a part",
    900: "this is not allowed while a CUDA graph is captured: call the layer once before",
    912: "clusters of so many blocks do not fit on this card",
}


class DriverError(RuntimeError):
    """What the driver refused, and what to do.

    Attributes:
        code: The driver's number of the error.
    """

    def __init__(self, doing: str, code: int) -> None:
        self.code = code
        mend = TO_MEND.get(code, "see the driver's documentation of this error")
        super().__init__(f"{doing}: CUDA says {_name(code)} ({code}); {mend}")


class Attribute(Structure):
    """CUlaunchAttribute: something more about a launch."""

    _fields_ = (("id", c_uint), ("padding", c_uint), ("value", c_uint * 16))


class Config(Structure):
    """CUlaunchConfig: how a kernel is launched."""

    _fields_ = (
        ("grid", c_uint * 3),
        ("block", c_uint * 3),
        ("shared", c_uint),
        ("stream", c_void_p),
        ("attributes", POINTER(Attribute)),
        ("count", c_uint),
    )


def config(launch: Launch, stream: int = 0) -> Config:
    """A launch as the driver takes it; it keeps its attributes alive."""
    attributes = (Attribute * 2)()
    count = 0
    if launch.cluster > 1:
        attributes[count].id = CLUSTER_DIMENSION
        attributes[count].value[:3] = (launch.cluster, 1, 1)
        count += 1
    if launch.together:
        attributes[count].id = COOPERATIVE
        attributes[count].value[0] = 1
        count += 1
    grid, block = (c_uint * 3)(launch.blocks, 1, 1), (c_uint * 3)(launch.threads, 1, 1)
    return Config(grid, block, launch.shared, stream, attributes, count)


@lru_cache(maxsize=1)
def library() -> Any:
    """The driver, ready for use.

    Raises:
        Refused: If there is none, or it is too old.
    """
    try:
        found = ctypes.CDLL(LIBRARY)
    except OSError:
        raise Refused(f"{LIBRARY}, the driver of the card, is not on this machine") from None
    if not hasattr(found, NEWEST_FUNCTION):
        raise Refused("the card's driver is older than CUDA 11.8: update it")
    failed = found.cuInit(0)
    if failed:
        raise DriverError("starting CUDA", failed)
    return found


def ask(doing: str, function: str, *arguments: object) -> None:
    """Call a function of the driver.

    Args:
        doing: What for, in an error.
        function: Its name.
        arguments: Its arguments.

    Raises:
        DriverError: If it did not succeed.
    """
    code = getattr(library(), function)(*arguments)
    if code:
        raise DriverError(doing, code)


def device_attribute(index: int, attribute: int) -> int:
    """A fact of a device."""
    value, device = c_int(), c_int()
    ask("looking for the card", "cuDeviceGet", byref(device), index)
    ask("asking for a fact of the card", "cuDeviceGetAttribute", byref(value), attribute, device)
    return value.value


def primary_context(index: int) -> c_void_p:
    """The context of a device that torch works in."""
    context, device = c_void_p(), c_int()
    ask("looking for the card", "cuDeviceGet", byref(device), index)
    ask("entering the card", "cuDevicePrimaryCtxRetain", byref(context), device)
    return context


@contextmanager
def inside(context: c_void_p) -> Iterator[None]:
    """In a device's context, which other threads and devices have to be brought to first.

    Also while a CUDA graph is captured, where loading and allocating are forbidden by default
    because they might wait for what is only recorded; what is done here waits for no stream.
    """
    mode = c_int(CAPTURE_MODE_RELAXED)
    ask("entering the card", "cuCtxPushCurrent_v2", context)
    try:
        ask("entering the card", "cuThreadExchangeStreamCaptureMode", byref(mode))
        try:
            yield
        finally:
            ask("leaving the card", "cuThreadExchangeStreamCaptureMode", byref(mode))
    finally:
        ask("leaving the card", "cuCtxPopCurrent_v2", byref(c_void_p()))


def load(cubin: bytes, entry: str) -> c_void_p:
    """A function of machine code, in the current context, for as long as that lasts.

    Raises:
        Refused: If the driver is too old for it.
    """
    module, function = c_void_p(), c_void_p()
    try:
        ask("loading a kernel", "cuModuleLoadData", byref(module), cubin)
    except DriverError as error:
        if error.code not in UNKNOWN_CODE:
            raise
        raise Refused("the card's driver is older than this torch's CUDA: update it") from None
    ask("loading a kernel", "cuModuleGetFunction", byref(function), module, entry.encode())
    return function


def set_attribute(function: c_void_p, attribute: int, value: int) -> None:
    """Set an attribute of a function."""
    ask("preparing a kernel", "cuFuncSetAttribute", function, attribute, value)


def shared_with_host(size: int) -> int:
    """The address of memory, zeros, that both the host and all kernels read and write."""
    address = c_void_p()
    flags = HOSTALLOC_PORTABLE | HOSTALLOC_DEVICEMAP
    ask("making memory", "cuMemHostAlloc", byref(address), c_size_t(size), flags)
    assert address.value is not None
    ctypes.memset(address.value, 0, size)
    return address.value


def active_clusters(function: c_void_p, launch: Launch) -> int:
    """How many clusters of a launch run at the same time."""
    count = c_int()
    how = config(launch)
    ask("asking what fits", "cuOccupancyMaxActiveClusters", byref(count), function, byref(how))
    return count.value


def active_blocks(function: c_void_p, launch: Launch) -> int:
    """How many blocks of a launch run at the same time on one multiprocessor."""
    count = c_int()
    ask(
        "asking what fits", "cuOccupancyMaxActiveBlocksPerMultiprocessor",
        byref(count), function, launch.threads, c_size_t(launch.shared),
    )  # fmt: skip
    return count.value


def _name(code: int) -> str:
    """The driver's name of an error."""
    text = c_char_p()
    library().cuGetErrorName(code, byref(text))
    return text.value.decode() if text.value else "an error that it has no name for"
