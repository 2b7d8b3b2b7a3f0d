"""The processor that code is generated for: its features decide the shape of a register tile.

Letters: W lanes of a vector, V vectors side by side in a tile, R rows of a tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import llvmlite.binding as llvm

from gatework.backends.cpu.vector.values import Element, Vector

GENERATION = {"opt": 2, "reloc": "pic", "codemodel": "small"}  # how code is generated


@dataclass(frozen=True)
class Target:
    """A processor as LLVM knows it, with the width and number of its vector registers.

    Attributes:
        optimised: Whether LLVM makes the code fast. Otherwise it translates it as it stands, which
            takes an eighth of the time: most tests ask what code computes, and run it once.
    """

    triple: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    optimised: bool = True

    def vector(self, element: Element) -> Vector:
        """The vector type that fills one register."""
        return Vector(element, self.vector_bytes // (4 if element == "float" else 8))

    @property
    def tile_rows(self) -> int:
        """R: rows of the largest tile."""
        return 6

    @property
    def tile_vectors(self) -> int:
        """V: vectors of a tile; R x V accumulators and V weights must fit into the registers."""
        return 4 if self.registers >= 32 else 2

    def machine(self) -> llvm.TargetMachine:
        """LLVM's code generator for this processor."""
        generation = GENERATION if self.optimised else {**GENERATION, "opt": 0}
        return llvm.Target.from_triple(self.triple).create_target_machine(
            cpu=self.cpu, features=self.features, **generation
        )


@cache
def host() -> Target:
    """The processor this process runs on."""
    return without(())


def without(features: tuple[str, ...]) -> Target:
    """The host with some families of features switched off, such as ("avx512",)."""
    known = {
        name: present and not name.startswith(features or ("\0",))
        for name, present in llvm.get_host_cpu_features().items()
    }
    flags = ",".join(("+" if on else "-") + name for name, on in sorted(known.items()))
    width, registers = _vectors(known)
    return Target(llvm.get_process_triple(), llvm.get_host_cpu_name(), flags, width, registers)


def _vectors(features: dict[str, bool]) -> tuple[int, int]:
    """Bytes of a vector register, and how many there are."""
    if features.get("avx512f") and features.get("avx512vl"):
        return 64, 32
    if features.get("avx2") and features.get("fma"):
        return 32, 16
    return 16, 32 if features.get("neon") else 16


@cache
def initialise() -> None:
    """Make LLVM ready for this processor."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
