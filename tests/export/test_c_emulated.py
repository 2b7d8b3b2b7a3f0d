"""C objects for other processors, under emulation where emulator and compiler are there.

Programs are without a library, as on a board: they write their outputs by a system call of Linux,
which the emulator answers.
"""

import json
import shutil
import subprocess
from typing import NamedTuple

import numpy as np
import pytest
import torch

import gatework as gw
from c_objects import CELLS, STEPS, assert_near, layer_and_inputs


class Machine(NamedTuple):
    """A processor and the tools for it."""

    compiler: str
    flags: str
    emulator: str
    call: str
    """Begins a system call."""
    number: str
    """Register of the call's number; those of its arguments are the first ones."""
    argument: str
    write: int
    exit: int

    @property
    def there(self):
        return shutil.which(self.compiler) and shutil.which(self.emulator.split()[0])


RISCV, ARM = "riscv64-unknown-elf-gcc", "arm-none-eabi-gcc"
HARD = "-mthumb -mfloat-abi=hard -fomit-frame-pointer"
MACHINES = {
    "aarch64": Machine("aarch64-linux-gnu-gcc", "", "qemu-aarch64", "svc 0", "x8", "x", 64, 93),
    "riscv64": Machine(
        RISCV,
        "-march=rv64gc -mabi=lp64d -mcmodel=medany -Wl,--no-relax",
        "qemu-riscv64",
        "ecall",
        "a7",
        "a",
        64,
        93,
    ),
    "riscv32": Machine(
        RISCV,
        "-march=rv32imafc -mabi=ilp32f -mcmodel=medany -Wl,--no-relax",
        "qemu-riscv32",
        "ecall",
        "a7",
        "a",
        64,
        93,
    ),
    "cortex-m4": Machine(
        ARM,
        f"{HARD} -mcpu=cortex-m4 -mfpu=fpv4-sp-d16",
        "qemu-arm -cpu max",
        "svc 0",
        "r7",
        "r",
        4,
        1,
    ),
    "cortex-m7": Machine(
        ARM,
        f"{HARD} -mcpu=cortex-m7 -mfpu=fpv5-sp-d16",
        "qemu-arm -cpu max",
        "svc 0",
        "r7",
        "r",
        4,
        1,
    ),
}
FEW = ("lstm", "gru", "rnn", "slstm_heads", "delta_net", "on_lstm", "gru_d", "lem")
CASES = [(target, name) for target in MACHINES for name in (CELLS if target == "aarch64" else FEW)]

PROGRAM = """
#include "net.h"

ROWS
static net_state state;
static float y[STEPS * NET_Y];

static void call(long number, long first, long second, long third) {
    register long n __asm__("NUMBER") = number;
    register long a __asm__("ARGUMENT0") = first;
    register long b __asm__("ARGUMENT1") = second;
    register long c __asm__("ARGUMENT2") = third;
    __asm__ volatile("CALL" : "+r"(a) : "r"(n), "r"(b), "r"(c) : "memory");
}

void _start(void) {
    net_reset(&state);
    net_sequence(&state, READ, y, STEPS);
    call(WRITE, 1, (long)y, sizeof y);
    call(EXIT, 0, 0, 0);
}
"""


def filled(inputs, machine):
    """The program with inputs, for a machine."""
    numbers = [", ".join(map(repr, x.reshape(-1).tolist())) for x in inputs]
    words = {
        "ROWS": "\n".join(f"static const float x{k}[] = {{{n}}};" for k, n in enumerate(numbers)),
        "READ": ", ".join(f"x{k}" for k in range(len(inputs))),
        "STEPS": STEPS,
        "NUMBER": machine.number,
        "ARGUMENT": machine.argument,
        "CALL": machine.call,
        "WRITE": machine.write,
        "EXIT": machine.exit,
    }
    program = PROGRAM
    for word, meant in words.items():
        program = program.replace(word, str(meant))
    return program


@pytest.mark.slow
@pytest.mark.parametrize(("target", "name"), CASES)
def test_cells_equal_the_reference(target, name, tmp_path):
    machine = MACHINES[target]
    if not machine.there:
        pytest.skip(f"{machine.compiler} or {machine.emulator} is not there")
    layer, inputs = layer_and_inputs(CELLS[name])
    gw.export.c(layer, tmp_path / "net", target=target)
    (tmp_path / "main.c").write_text(filled(inputs, machine))
    flags = f"-O1 -ffreestanding -nostdlib -static {machine.flags} -o main main.c net.o".split()
    subprocess.run([machine.compiler, *flags], cwd=tmp_path, check=True)
    run = [*machine.emulator.split(), str(tmp_path / "main")]
    written = subprocess.run(run, check=True, capture_output=True, timeout=300).stdout
    found = torch.from_numpy(np.frombuffer(written, "f4").copy()).reshape(STEPS, -1)
    assert_near(found, layer, inputs[0])


IN_NODE = """
const { readFileSync } = require("fs");
const [steps, units, state, inputs] = JSON.parse(readFileSync("given.json"));
const { exports: net } = new WebAssembly.Instance(new WebAssembly.Module(readFileSync("net.wasm")));
let free = net.__heap_base.value;
const room = (count) => {
  const at = (free + 15) & ~15;
  free = at + 4 * count;
  return new Float32Array(net.memory.buffer, at, count);
};
const memory = room(state), y = room(steps * units);
const rows = inputs.map((x) => { const to = room(x.length); to.set(x); return to.byteOffset; });
net.net_reset(memory.byteOffset);
net.net_sequence(memory.byteOffset, ...rows, y.byteOffset, steps);
console.log(JSON.stringify(Array.from(y)));
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("wasm-ld") and shutil.which("node")), reason="no wasm-ld or no Node"
)
@pytest.mark.parametrize("name", FEW)
def test_cells_equal_the_reference_in_webassembly(name, tmp_path):
    layer, inputs = layer_and_inputs(CELLS[name])
    _, header, *_ = gw.export.c(layer, tmp_path / "net", target="wasm32")
    text = header.read_text()
    units = int(text.partition("#define NET_Y ")[2].split()[0])
    state = int(text.partition("float memory[")[2].partition("]")[0])
    rows = [x.reshape(-1).tolist() for x in inputs]
    (tmp_path / "given.json").write_text(json.dumps([STEPS, units, state, rows]))
    linked = ["wasm-ld", "--no-entry", "--export-all", "-o", "net.wasm", "net.o"]
    subprocess.run(linked, cwd=tmp_path, check=True)
    run = subprocess.run(
        ["node", "-e", IN_NODE], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    found = torch.tensor(json.loads(run.stdout)).reshape(STEPS, units)
    assert_near(found, layer, inputs[0])
