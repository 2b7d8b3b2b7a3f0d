"""From a kernel's text to the card's machine code, by NVRTC: no nvcc, no headers, no card.

NVRTC is a library that torch for CUDA brings with it. Nothing is loaded before the first text is
compiled, and what was compiled is kept on disk, see `gatework.backends.cache`.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterator
from ctypes import byref, c_char_p, c_int, c_size_t, c_void_p, create_string_buffer
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from gatework.backends.cache import cached
from gatework.backends.gpu.loop import Refused
from gatework.forking import building

OPTIONS = (
    "--std=c++17",
    "--ptxas-options=-v",  # the log has registers and spills
    "--disable-warnings",
)
OLDEST = 80  # the architecture from which the kernels' instructions are there
SONAMES = ("libnvrtc.so.13", "libnvrtc.so.12")  # where no wheel has it; older ones know no sm_90a
LOG_LINES = 12  # of a log, in an error


class CompileError(RuntimeError):
    """A text that is not CUDA C++: a mistake of ours, with what NVRTC says of it."""


@dataclass(frozen=True)
class Compiled:
    """A compiled text.

    Attributes:
        cubin: The machine code.
        registers: Registers of a thread.
        spilled: Bytes of a thread that did not fit in its registers.
    """

    cubin: bytes
    registers: int
    spilled: int


def compile_text(text: str, architecture: str) -> Compiled:
    """A kernel's text as machine code, from the cache on disk if it was compiled before.

    Args:
        text: CUDA C++ with nothing to include.
        architecture: What it is compiled for, such as "sm_90a".

    Raises:
        Refused: If there is no NVRTC here, or it does not know the architecture.
        CompileError: If the text is wrong.
    """
    reason = refusal(architecture)
    if reason is not None:
        raise Refused(reason)
    library = _library()
    assert library is not None
    parts = (text, library.version, architecture, *OPTIONS)
    return _unpacked(cached(parts, lambda: _packed(library.compile_text(text, architecture))))


def refusal(architecture: str) -> str | None:
    """Why nothing can be compiled for an architecture, or None."""
    number = _number(architecture)
    if number < OLDEST:
        return f"the card is {architecture}; kernels are made for sm_{OLDEST} (Ampere) and newer"
    library = _library()
    if library is None:
        return (
            "NVRTC, which compiles kernels, is not installed: "
            f"pip install {_wheel()} (torch for CUDA brings it)"
        )
    if number not in library.architectures:
        return f"NVRTC {library.version} does not know {architecture}; a newer torch's does"
    return None


def _number(architecture: str) -> int:
    """80 of "sm_80", 90 of "sm_90a"."""
    return int(re.sub(r"\D", "", architecture))


def _wheel() -> str:
    """The wheel that has the NVRTC that fits torch."""
    return "nvidia-cuda-nvrtc-cu12" if _major(torch.version.cuda) == 12 else "nvidia-cuda-nvrtc"


def _major(version: str | None) -> int:
    """13 of "13.0", 0 of None."""
    return int(version.split(".")[0]) if version else 0


def _packed(compiled: Compiled) -> bytes:
    """As it is kept on disk."""
    return f"{compiled.registers} {compiled.spilled}\n".encode() + compiled.cubin


def _unpacked(entry: bytes) -> Compiled:
    numbers, _, cubin = entry.partition(b"\n")
    registers, spilled = map(int, numbers.split())
    return Compiled(cubin, registers, spilled)


class Library:
    """NVRTC.

    Attributes:
        version: Its version, such as "13.0".
        architectures: The numbers of the architectures that it knows.
    """

    def __init__(self, path: str) -> None:
        for builtins in sorted(Path(path).parent.glob("libnvrtc-builtins.so.*")):
            ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)  # NVRTC looks for it by its name
        self._functions = ctypes.CDLL(path)
        self._functions.nvrtcGetErrorString.restype = c_char_p
        self.version = self._version()
        self.architectures = self._architectures()

    def compile_text(self, text: str, architecture: str) -> Compiled:
        """A text as machine code for an architecture."""
        options = [f"--gpu-architecture={architecture}", *OPTIONS]
        program = c_void_p()
        with building:  # a fork in the middle would leave the child half a compiler
            self._ask(
                "nvrtcCreateProgram", byref(program), text.encode(), b"kernel.cu", 0, None, None
            )
            try:
                given = (c_char_p * len(options))(*(o.encode() for o in options))
                failed = self._functions.nvrtcCompileProgram(program, len(options), given)
                log = (
                    self._read("nvrtcGetProgramLog", program).rstrip(b"\0").decode(errors="replace")
                )
                if failed:
                    raise CompileError(self._complaint(failed, log, architecture))
                return Compiled(self._read("nvrtcGetCUBIN", program), *resources(log))
            finally:
                self._ask("nvrtcDestroyProgram", byref(program))

    def _complaint(self, failed: int, log: str, architecture: str) -> str:
        lines = log.splitlines()[:LOG_LINES] or [
            self._functions.nvrtcGetErrorString(failed).decode()
        ]
        first = f"NVRTC {self.version} could not compile a kernel for {architecture}:"
        return "\n  ".join([first, *lines])

    def _read(self, what: str, program: c_void_p) -> bytes:
        """What a program has: its log or its code."""
        size = c_size_t()
        self._ask(f"{what}Size", program, byref(size))
        content = create_string_buffer(size.value)
        self._ask(what, program, content)
        return content.raw

    def _version(self) -> str:
        major, minor = c_int(), c_int()
        self._ask("nvrtcVersion", byref(major), byref(minor))
        return f"{major.value}.{minor.value}"

    def _architectures(self) -> frozenset[int]:
        count = c_int()
        self._ask("nvrtcGetNumSupportedArchs", byref(count))
        numbers = (c_int * count.value)()
        self._ask("nvrtcGetSupportedArchs", numbers)
        return frozenset(numbers)

    def _ask(self, function: str, *arguments: object) -> None:
        """Call a function that returns 0 where it succeeds."""
        failed = getattr(self._functions, function)(*arguments)
        if failed:
            said = self._functions.nvrtcGetErrorString(failed).decode()
            raise RuntimeError(f"{function} of NVRTC failed: {said}")


def resources(log: str) -> tuple[int, int]:
    """Registers of a thread and bytes that are spilled, as the log of the assembler has them."""
    registers = max(map(int, re.findall(r"Used (\d+) registers", log)), default=0)
    spilled = sum(map(int, re.findall(r"(\d+) bytes spill stores", log)))
    return registers, spilled


@lru_cache(maxsize=1)
def _library() -> Library | None:
    """The first NVRTC that can be loaded, None where there is none."""
    for path in _candidates():
        try:
            return Library(path)
        except (OSError, AttributeError):  # not there, or too old to name its architectures
            continue
    return None


def _candidates() -> Iterator[str]:
    """Where NVRTC may be: beside torch, that of torch's own CUDA first, or on the system."""
    wheels = (folder for place in sys.path for folder in Path(place or ".").glob("nvidia/*/lib"))
    folders = (*wheels, Path(torch.__file__).parent / "lib", Path(sys.prefix) / "lib")
    found = {
        path
        for folder in folders
        for path in folder.glob("libnvrtc*.so.*")
        if re.fullmatch(r"libnvrtc(-\w+)?\.so\.\d+(\.\d+)*", path.name)
        and "builtins" not in path.name
    }
    own = _major(torch.version.cuda)

    def rank(path: Path) -> tuple[bool, list[int], str]:
        version = [int(n) for n in path.name.partition(".so.")[2].split(".")]
        return version[0] != own, [-n for n in version], str(path)

    yield from map(str, sorted(found, key=rank))
    yield from SONAMES
