"""A card with CUDA as a machine: kernels are compiled, loaded and launched on torch's streams.

What a launch needs is prepared once for each launch and stream, so that launching costs a few
microseconds, and threads may launch the same kernel at the same time. Nothing waits for the card,
and all of it may happen while a CUDA graph is captured. Kernels and their words stay for as long as
the process does, since a graph may have captured them. A forked process has no CUDA, of torch
neither.

A kernel that has waited too long for its other blocks ends and sets its word, in memory that the
host reads without asking the card. The next launch on that card raises an error that names it;
replays of a CUDA graph, which nobody looks at, go on without it until then.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from ctypes import byref, c_char, c_void_p, memset
from functools import cache
from typing import Any

import torch

from gatework.backends.gpu import libcuda, nvrtc
from gatework.backends.gpu.libcuda import DriverError
from gatework.backends.gpu.loop import Refused
from gatework.backends.gpu.machine import ENTRY, Launch
from gatework.forking import building

WORDS, WORD = 64, 4  # kernels take turns in them; bytes
QUIET = bytes(WORDS * WORD)
HOPPER = 9  # from here blocks of a cluster reach each other
MOST_PREPARED = 64  # launches and streams of a kernel
Pointer = c_void_p * 1


def card(device: torch.device) -> Card:
    """A device of torch as a machine, the same one each time.

    Raises:
        Refused: If no kernels can be made for it.

    Example:
        >>> import torch
        >>> if torch.cuda.is_available():
        ...     print(card(torch.device("cuda", 0)).processors)
    """
    index = device.index if device.index is not None else torch.cuda.current_device()
    found = _card(index)
    if isinstance(found, str):
        raise Refused(found)
    return found


@cache
def _card(index: int) -> Card | str:
    """A card, or why it is none; either stays so while the process lasts."""
    if torch.version.hip is not None:
        return "ROCm; kernels are made for CUDA"
    try:
        made = Card(index)
    except Refused as reason:
        return str(reason)
    return nvrtc.refusal(made.architecture) or made


class Card:
    """A CUDA device; see `Machine`.

    Args:
        index: Its number in torch.
    """

    def __init__(self, index: int) -> None:
        self.index = index
        self.processors = libcuda.device_attribute(index, libcuda.MULTIPROCESSOR_COUNT)
        self.shared = libcuda.device_attribute(index, libcuda.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)
        major = libcuda.device_attribute(index, libcuda.COMPUTE_CAPABILITY_MAJOR)
        minor = libcuda.device_attribute(index, libcuda.COMPUTE_CAPABILITY_MINOR)
        self.architecture = f"sm_{major}{minor}{'a' if (major, minor) == (9, 0) else ''}"
        self.clusters = major >= HOPPER
        self.context = libcuda.primary_context(index)
        self._kernels: dict[str, CardKernel] = {}
        with libcuda.inside(self.context):
            self._words = libcuda.shared_with_host(WORDS * WORD)
        self.words = (c_char * (WORDS * WORD)).from_address(self._words)

    def kernel(self, text: str, about: str = "") -> CardKernel:
        """The kernel of a text, which is compiled and loaded once."""
        found = self._kernels.get(text)
        if found is None:
            with building:  # of two threads that come at once, one loads it
                found = self._kernels.get(text)
                if found is None:
                    found = self._kernels[text] = self._loaded(text, about)
        return found

    def _loaded(self, text: str, about: str) -> CardKernel:
        compiled = nvrtc.compile_text(text, self.architecture)
        with libcuda.inside(self.context):
            function = libcuda.load(compiled.cubin, ENTRY)
            if self.clusters:  # of more than 8 blocks
                libcuda.set_attribute(function, libcuda.NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1)
        status = self._words + len(self._kernels) % WORDS * WORD
        return CardKernel(self, function, compiled, status, about)

    def resident(self, kernel: Any, launch: Launch) -> int:
        """How many clusters of a launch, or blocks without clusters, run at the same time."""
        kernel.allow(launch.shared)
        with libcuda.inside(self.context):
            if launch.cluster > 1:
                return libcuda.active_clusters(kernel.function, launch)
            return libcuda.active_blocks(kernel.function, launch) * self.processors

    def late(self) -> RuntimeError:
        """The error for kernels that have waited too long; their words are quiet again."""
        said = memoryview(self.words.raw).cast("i")
        names = [k.about for k in self._kernels.values() if said[(k.status - self._words) // WORD]]
        memset(self._words, 0, WORDS * WORD)
        return RuntimeError(
            f"on cuda:{self.index} a kernel of Gatework ({' or '.join(names)}) waited too long for "
            "blocks of its own and gave up, so what was computed since is wrong. The card may be "
            "shared with a process that holds a part of it, or stopped by a debugger: give this "
            "process the card alone, or use gatework.use_backend('reference')"
        )


class CardKernel:
    """A kernel that is loaded on a card; see `Kernel`."""

    def __init__(
        self, card: Card, function: c_void_p, compiled: nvrtc.Compiled, status: int, about: str
    ) -> None:
        self.registers, self.spilled = compiled.registers, compiled.spilled
        self.function, self.status, self.about = function, status, about or "with no name"
        self._card, self._context = card, card.context.value
        self._run, self._current = (
            libcuda.library().cuLaunchKernelEx,
            libcuda.library().cuCtxGetCurrent,
        )
        self._stream = raw_stream()
        self._prepared: dict[tuple[Launch, int], Any] = {}
        self._allowed = 0

    def launch(self, launch: Launch, arguments: array[int]) -> None:
        """Launch it on torch's current stream of its card."""
        if self._card.words.raw != QUIET:
            raise self._card.late()
        stream = self._stream(self._card.index)
        how = self._prepared.get((launch, stream)) or self._prepare(launch, stream)
        slots = Pointer(arguments.buffer_info()[0])  # one parameter: a struct of all slots
        current = c_void_p()
        self._current(byref(current))
        if current.value == self._context:
            failed = self._run(how, self.function, slots, None)
        else:  # the thread is new to CUDA, or at another card
            with libcuda.inside(self._card.context):
                failed = self._run(how, self.function, slots, None)
        if failed:
            raise DriverError(f"launching {launch} of a kernel ({self.about})", failed)

    def allow(self, shared: int) -> None:
        """Let its blocks have so much shared memory."""
        with building:
            if shared > self._allowed:
                with libcuda.inside(self._card.context):
                    limit = libcuda.MAX_DYNAMIC_SHARED_SIZE_BYTES
                    libcuda.set_attribute(self.function, limit, shared)
                self._allowed = shared

    def _prepare(self, launch: Launch, stream: int) -> Any:
        """A launch as the driver takes it, which does not change, so that threads share it."""
        self.allow(launch.shared)
        if len(self._prepared) >= MOST_PREPARED:  # streams come and go
            self._prepared.clear()
        how = self._prepared[launch, stream] = byref(libcuda.config(launch, stream))
        return how


def raw_stream() -> Callable[[int], int]:
    """What gives the current stream of a device: torch's own short way, which its compiler uses."""
    short: Callable[[int], int] | None = getattr(torch._C, "_cuda_getCurrentRawStream", None)
    return short or (lambda index: torch.cuda.current_stream(index).cuda_stream)
