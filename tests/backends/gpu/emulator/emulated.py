"""A machine for the GPU backend that runs the text of kernels on the CPU.

    machine = Emulated(seed=3)
    machine.kernel(text).launch(Launch(blocks=2, threads=64), slots(x, y, x.numel()))

g++ compiles the text with `primitives_emulated.h` in the place of `primitives.cu`; `runtime.cpp`
runs it. Without a seed blocks and threads run in their order and what one sends is there at once;
every seed shuffles both in another way. What is wrong with a kernel, such as threads that wait for
ever or an address past shared memory, is raised as `Broken`.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import subprocess
import tempfile
from array import array
from functools import cache
from pathlib import Path

from torch import Tensor

from gatework.backends.gpu import text as texts
from gatework.backends.gpu.machine import ENTRY, Launch

HERE = Path(__file__).parent
RUNTIME = ("fibers.h", "state.h", "threads.h", "runtime.cpp")
COMPILER = (
    "g++", "-std=gnu++17", "-w", "-shared", "-fPIC", "-fno-strict-aliasing",
    "-ftrivial-auto-var-init=pattern",  # a variable without a value is no number to be taken for 0
    "-U_FORTIFY_SOURCE", "-fcf-protection=none",  # which know one stack
    "-Wl,-Bsymbolic",
)  # fmt: skip
QUICKLY = ("-O0", "-nostdinc++")  # a kernel runs once or twice: nearly all of its time is g++'s
SANITIZED = ("-fsanitize=address", "-g")
"""Options that find addresses past a tensor too; libasan must then be there from the beginning:

    export GATEWORK_SANITIZED=1 ASAN_OPTIONS=detect_leaks=0
    LD_PRELOAD=$(g++ -print-file-name=libasan.so) python -m pytest tests/backends/gpu
"""
MOST_STACKS = 16384  # threads at a time, of blocks that do not wait for each other
CALLED = f'\nextern "C" void entered(void* a) {{ {ENTRY}(*(const Arguments*)a); }}\n'


def slots(*values: Tensor | int) -> array[int]:
    """The slots of a launch: numbers, and the addresses of tensors."""
    return array("q", [v if isinstance(v, int) else v.data_ptr() for v in values])


class Broken(Exception):
    """What a kernel did that no card allows."""


class Emulated:
    """A machine.

    Attributes:
        seed: Of the order in which threads run and of delays; None for none.
        patient: Whether a kernel that waits for ever ends by its own watchdog; else it is `Broken`.
        silent: A block of which nothing arrives at others; None for none.
        options: Further options of the compiler: see `SANITIZED`.
    """

    def __init__(
        self,
        architecture: str = "sm_90a",
        processors: int = 132,
        *,
        seed: int | None = None,
        patient: bool = False,
        silent: int | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        self.architecture, self.processors = architecture, processors
        self.options = (*options, *(SANITIZED if "GATEWORK_SANITIZED" in os.environ else ()))
        self.generation = int(architecture.removeprefix("sm_").rstrip("a")) * 10
        self.clusters = self.generation >= 900
        self.shared = 232448 if self.clusters else 166912
        self.seed, self.patient, self.silent = seed, patient, silent

    def kernel(self, text: str, about: str = "") -> EmulatedKernel:
        """The kernel of a text, which is compiled once."""
        return EmulatedKernel(self, _compiled(text, self.generation, self.options), about)

    def resident(self, kernel: EmulatedKernel, launch: Launch) -> int:
        """How many clusters, or blocks without clusters, run at the same time: a block each."""
        return self.processors // launch.cluster


class EmulatedKernel:
    """A compiled kernel: `machine.Kernel`."""

    registers = spilled = 0

    def __init__(self, machine: Emulated, library: ctypes.CDLL, about: str) -> None:
        self.machine, self.library, self.about = machine, library, about
        self.word = ctypes.c_int(0)
        self.status = ctypes.addressof(self.word)

    @property
    def said(self) -> int:
        """1 + the block that gave up waiting, or 0."""
        return self.word.value

    def launch(self, launch: Launch, arguments: array[int]) -> None:
        """Run it to its end."""
        if self.said:
            raise RuntimeError(f"{self.about}: block {self.said - 1} had waited too long")
        resident = self.machine.resident(self, launch)
        self._check(launch, resident)
        memory = (ctypes.c_char * (len(arguments) * 8)).from_buffer(arguments)
        what = _Launch(
            run=ctypes.cast(self.library.entered, ctypes.c_void_p),
            arguments=ctypes.addressof(memory),
            blocks=launch.blocks,
            threads=launch.threads,
            cluster=launch.cluster,
            shared=-(-launch.shared // 16) * 16,
            resident=resident if launch.together else _few(resident, launch),
            seed=0 if self.machine.seed is None else self.machine.seed + 1,
            patient=self.machine.patient,
            silent=-1 if self.machine.silent is None else self.machine.silent,
        )
        failure = _runtime(self.machine.options).emulate(ctypes.byref(what))
        if failure:
            raise Broken(f"{self.about}: {failure.decode()}" if self.about else failure.decode())

    def _check(self, launch: Launch, resident: int) -> None:
        if launch.threads % 32 or not 0 < launch.threads <= 1024:
            raise Broken(f"{launch.threads} threads; a block has whole warps, at most 1024 threads")
        if launch.blocks % launch.cluster or launch.cluster > 16:
            raise Broken(f"{launch.blocks} blocks in clusters of {launch.cluster}")
        if launch.cluster > 1 and not self.machine.clusters:
            raise Broken(f"{self.machine.architecture} has no clusters")
        if launch.shared > self.machine.shared:
            raise Broken(f"{launch.shared} bytes of shared memory of {self.machine.shared}")
        if launch.together and launch.blocks > resident * launch.cluster:
            raise Broken(f"{launch.blocks} blocks together, where {resident * launch.cluster} fit")


def _few(resident: int, launch: Launch) -> int:
    """How many clusters run at a time where they need not: a process has memory for some stacks."""
    return max(1, min(resident, MOST_STACKS // (launch.threads * launch.cluster)))


class _Launch(ctypes.Structure):
    _fields_ = (
        ("run", ctypes.c_void_p), ("arguments", ctypes.c_void_p), ("blocks", ctypes.c_int),
        ("threads", ctypes.c_int), ("cluster", ctypes.c_int), ("shared", ctypes.c_int),
        ("resident", ctypes.c_int), ("seed", ctypes.c_ulonglong), ("patient", ctypes.c_bool),
        ("silent", ctypes.c_int),
    )  # fmt: skip


@cache
def _runtime(options: tuple[str, ...]) -> ctypes.CDLL:
    source = "".join((HERE / name).read_text() for name in RUNTIME)
    headers = "\n".join(line for line in source.splitlines() if '#include "' not in line)
    library = ctypes.CDLL(str(_built("runtime", headers, "-O2", *options)))
    library.emulate.restype = ctypes.c_char_p
    return library


@cache
def _compiled(text: str, generation: int, options: tuple[str, ...]) -> ctypes.CDLL:
    emulated = (HERE / "primitives_emulated.h").read_text()
    primitives = texts.read(texts.PRIMITIVES)
    if primitives not in text:
        raise ValueError("the text has no primitives.cu; make it by gatework.backends.gpu.text")
    runtime = Path(_runtime(options)._name)
    source = text.replace(primitives, emulated) + CALLED
    define = f"-DARCHITECTURE={generation}"
    return ctypes.CDLL(str(_built("kernel", source, *QUICKLY, define, *options, str(runtime))))


def _built(name: str, source: str, *options: str) -> Path:
    """The library of a source, which is built once in a session."""
    key = hashlib.sha1("\0".join([*COMPILER, *options, source]).encode()).hexdigest()
    library = _folder() / f"{name}-{key}.so"
    if not library.exists():
        written = library.with_suffix(f".{os.getpid()}.cpp")
        written.write_text(source)
        made = written.with_suffix(".made")
        command = [*COMPILER, str(written), *options, "-o", str(made)]
        plain = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=plain)
        if done.returncode:
            raise Broken(f"g++ does not compile {written}:\n{done.stderr[:4000]}")
        made.replace(library)  # whole, whoever builds the same at the same time
    return library


@cache
def _folder() -> Path:
    """Where libraries lie: with the kernels of the test session if there is one."""
    kept = os.environ.get("GATEWORK_CACHE_DIR")
    folder = Path(kept or _temporary().name) / "emulated"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="gatework-emulated-")
