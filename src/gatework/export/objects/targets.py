"""The machines that an object file can be made for."""

from __future__ import annotations

from dataclasses import dataclass

import llvmlite.binding as llvm

from gatework.backends.cpu.machine.jit import free_passes
from gatework.errors import InputError, suggest
from gatework.forking import building


@dataclass(frozen=True)
class Machine:
    """A machine as LLVM knows it.

    Attributes:
        triple: What LLVM calls the kind of machine and the form of its object files.
        cpu: The processor whose instructions are used.
        features: Instructions beside those of the processor.
        lanes: Numbers of a vector register.
        fused: Whether a multiplication and an addition are one instruction.
        bits: Of a pointer and of `size_t`.
        reloc: How addresses are found; "pic" also goes into shared libraries.
        abi: How a caller passes numbers, where object files say so.
    """

    triple: str
    cpu: str
    features: str = ""
    lanes: int = 1
    fused: bool = True
    bits: int = 64
    reloc: str = "pic"
    abi: str | None = None


TARGETS = {
    "x86-64": Machine("x86_64-unknown-linux-gnu", "x86-64", lanes=4, fused=False),
    "x86-64-v2": Machine("x86_64-unknown-linux-gnu", "x86-64-v2", lanes=4, fused=False),
    "x86-64-v3": Machine("x86_64-unknown-linux-gnu", "x86-64-v3", lanes=8),
    "x86-64-v4": Machine("x86_64-unknown-linux-gnu", "x86-64-v4", lanes=8),
    "aarch64": Machine("aarch64-unknown-linux-gnu", "generic", "+neon", lanes=4),
    "cortex-m4": Machine("thumbv7em-unknown-none-eabihf", "cortex-m4", bits=32, reloc="static"),
    "cortex-m7": Machine("thumbv7em-unknown-none-eabihf", "cortex-m7", bits=32, reloc="static"),
    "riscv32": Machine(
        "riscv32-unknown-elf", "generic-rv32", "+m,+a,+f,+c", bits=32, reloc="static", abi="ilp32f"
    ),
    "riscv64": Machine("riscv64-unknown-elf", "generic-rv64", "+m,+a,+f,+d,+c", abi="lp64d"),
    "wasm32": Machine(
        "wasm32-unknown-unknown", "generic", "+simd128", 4, fused=False, bits=32, reloc="static"
    ),
}
"""By the name that `gatework.export.c` takes."""


def machine_of(target: str) -> Machine:
    """The machine of a name.

    Raises:
        InputError: If there is none.

    Example:
        >>> machine_of("cortex-m4").triple
        'thumbv7em-unknown-none-eabihf'
    """
    if target not in TARGETS:
        raise InputError(
            f"no such target: {target!r}",
            f"one of {', '.join(TARGETS)}",
            f"{suggest(str(target), TARGETS)}choose the one that the program will run on",
        )
    return TARGETS[target]


def object_code(ir: str, machine: Machine) -> bytes:
    """A module of LLVM IR as an object file for a machine."""
    with building:  # LLVM's global context is not safe to use from two threads
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
        generator = llvm.Target.from_triple(machine.triple).create_target_machine(
            cpu=machine.cpu,
            features=machine.features,
            opt=2,
            reloc=machine.reloc,
            codemodel="small",
        )
        module = llvm.parse_assembly(_headed(ir, machine, str(generator.target_data)))
        module.verify()
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        options.loop_unrolling = False
        passes = llvm.create_pass_builder(generator, options)
        pipeline = passes.getModulePassManager()
        pipeline.run(module, passes)
        free_passes(pipeline)
        return bytes(generator.emit_object(module))


def _headed(ir: str, machine: Machine, layout: str) -> str:
    """The module with what it is for; without fused instructions a call of the C library's."""
    head = [f'target datalayout = "{layout}"', f'target triple = "{machine.triple}"']
    if machine.abi:
        head += ["!llvm.module.flags = !{!0}", f'!0 = !{{i32 1, !"target-abi", !"{machine.abi}"}}']
    return "\n".join([*head, ir if machine.fused else ir.replace("@llvm.fma.", "@llvm.fmuladd.")])
