"""The form `scan`: loops in which each unit goes its own way, as one kernel for all steps.

Where there are units enough, each is a thread that runs all steps, and memory is read once. Where
there are few and new states are linear in old ones (`gatework.compiler.linear`), the steps are cut
into chunks that run at the same time.

Letters: B sequences, T steps, n units of a row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gatework.backends.gpu import text as texts
from gatework.backends.gpu.loop import Loop, Refused, Setting
from gatework.backends.gpu.machine import Launch, Machine
from gatework.backends.gpu.scan.cell import Cell
from gatework.backends.gpu.scan.maps import Maps
from gatework.compiler.linear import Linear, goes_unit_by_unit, linear
from gatework.compiler.plan import Plan
from gatework.compiler.stepping import aliases_of

WARP = 32
BUSY = 512  # threads of a multiprocessor that keep enough of memory on its way
MOST_STATES = 4  # a map of more linear states has too many factors for registers
LEAST_CHUNKS = 4  # fewer do not make up for reading twice
CHUNK_THREADS = 512  # of a block of chunks: each may have 128 registers
LEAST_WIDTH = 8  # units of a block of chunks: what memory is read by, 32 bytes, is 8 floats
CHUNK_STEPS = 16  # a chunk of fewer takes longer to begin and to end than to run


@dataclass(frozen=True)
class Chunks:
    """How the steps are cut.

    Attributes:
        count: How many chunks.
        width: Units of a block, which has all their chunks.
    """

    count: int
    width: int


def scan(plan: Plan, setting: Setting, machine: Machine) -> Loop:
    """The kernel of a plan whose loop goes unit by unit.

    Raises:
        Refused: If a step reads rows whole.
    """
    if not goes_unit_by_unit(plan):
        raise Refused("a step reads whole rows, so its units cannot go their own ways")
    cell = Cell(plan, setting, {} if setting.ragged else aliases_of(plan))
    found = linear(plan)
    if found is None or len(found.states) > MOST_STATES:
        return in_one_pass(cell, machine)
    chunks = chunks_of(setting, cell.units, machine)
    return in_chunks(cell, found, chunks) if chunks else in_one_pass(cell, machine)


def chunks_of(setting: Setting, units: int, machine: Machine) -> Chunks | None:
    """How steps are cut into chunks; None where a thread for each unit keeps the card busy.

    There are as many as make the card busy: every multiprocessor has a block of 512 threads then,
    and none has to wait for another. Where there are more chunks, blocks have fewer units, so that
    there are more blocks.

    Args:
        setting: What the kernel is made for.
        units: How many threads a sequence has.
        machine: Where it shall run.
    """
    missing = machine.processors * BUSY // max(1, setting.batch * units)
    most = min(missing, setting.steps // CHUNK_STEPS, CHUNK_THREADS // LEAST_WIDTH)
    if most < LEAST_CHUNKS:
        return None
    count = 1 << most.bit_length() - 1
    return Chunks(count, min(WARP, CHUNK_THREADS // count))


def in_one_pass(cell: Cell, machine: Machine) -> Loop:
    """The kernel with a thread for each unit."""
    units = cell.setting.batch * cell.units
    warps = min(8, max(1, -(-units // (WARP * machine.processors))))  # so that all have a block
    registers = 32 if units > 2 * BUSY * machine.processors else 64  # many threads need fewer
    constants = {"UNITS": cell.units, "AHEAD": _ahead(cell, registers), "THREADS": 8 * WARP}
    body = _body(cell, constants, [texts.read("scan_pass.cu")])
    launch = Launch(blocks=-(-units // (warps * WARP)), threads=warps * WARP)
    return _loop(cell, body, launch, "each unit runs all steps by itself, in one pass over memory")


def in_chunks(cell: Cell, found: Linear, chunks: Chunks) -> Loop:
    """The kernel with a thread for each chunk of the steps of a unit."""
    maps = Maps(cell, found)
    constants = {
        "UNITS": cell.units, "AHEAD": _ahead(cell, 32), "WIDTH": chunks.width,
        "CHUNKS": chunks.count, "DEPTH": found.depth,
    }  # fmt: skip
    body = _body(cell, constants, [texts.spliced(texts.read("scan_chunks.cu"), _map_parts(maps))])
    threads = chunks.width * chunks.count
    launch = Launch(
        blocks=-(-cell.setting.batch * cell.units // chunks.width),
        threads=threads,
        shared=4 * threads * (len(maps.factor) + len(cell.states)),
    )
    return _loop(cell, body, launch, f"a scan: steps run in {chunks.count} chunks at the same time")


def _ahead(cell: Cell, registers: int) -> int:
    """How many steps ahead rows are read, into so many registers."""
    most = max(2, min(16, registers // max(1, len(cell.sequences))))
    return 1 << most.bit_length() - 1


def _loop(cell: Cell, body: str, launch: Launch, about: str) -> Loop:
    text = texts.assembled(body, cell.setting.element, exact=cell.setting.exact)
    return Loop("scan", text, launch, tuple(cell.slots()), about=about)


def _body(cell: Cell, constants: dict[str, int], frame: list[str]) -> str:
    reverse = "true" if cell.setting.reverse else "false"
    return "\n".join(
        [
            *(f"constexpr int {name} = {value};" for name, value in constants.items()),
            f"constexpr bool REVERSE = {reverse};",
            texts.arguments({cell.arguments[slot]: kind for slot, kind in cell.slots().items()}),
            texts.spliced(texts.read("scan_cell.cu"), _cell_parts(cell)),
            texts.read("scan_steps.cu"),
            *frame,
        ]
    )


def _cell_parts(cell: Cell) -> dict[str, str]:
    return {
        "FIXED": _lines(cell.fixed_members()),
        "FIX": _lines(cell.fix(), 4),
        "READS": _lines(cell.reads()),
        "LOAD": _lines(cell.load(), 4),
        "STATES": _lines(cell.state_members()),
        "BEGIN": _lines(cell.begin(), 4),
        "END": _lines(cell.end(), 4),
        "STORE_FIRST": _lines(cell.store_first(), 4),
        "WRITTEN": _lines(cell.written_members()),
        "STORE": _lines(cell.store_step(), 4),
        "STEP": _lines(cell.step()),
    }


def _map_parts(maps: Maps) -> dict[str, str]:
    return {
        "FACTORS": _lines(maps.factors()),
        "FOLLOW": _lines(maps.follow(), 4),
        "CLEAR": _lines(maps.clear()),
        "PASS": _lines(maps.pass_through()),
    }


def _lines(lines: Iterable[str], indent: int = 2) -> str:
    return ("\n" + " " * indent).join(lines)
