"""The C header of an exported network."""

from __future__ import annotations

import textwrap

from gatework.export.objects.program import Program, Read

TEXT = """\
/* {name}: a recurrent network, one sequence in float32. Made by Gatework for {target}.

{told}

   A step reads and writes one row; a sequence is that many rows, one after the other. Input and
   output may be the same memory where their rows are as long. Nothing is allocated and no library
   is called. A state is plain memory, which may be copied; {name}_save writes the part of it that
   lasts from step to step, in a form that is the same for all targets, and {name}_load reads it.
{more} */

#ifndef GATEWORK_{upper}_H
#define GATEWORK_{upper}_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

{sizes}

typedef struct {{ float memory[{memory}]; }} {name}_state;

void {name}_reset({state});
void {name}_step({state}, {inputs}, float *y);
void {name}_sequence({state}, {inputs}, float *y, size_t steps);
void {name}_save(const {name}_state *state, float *saved); /* {upper}_SAVED numbers */
void {name}_load({name}_state *state, const float *saved);

#ifdef __cplusplus
}}
#endif

#endif
"""

BESIDE = """\
   `weights` are the {upper}_WEIGHTS float32 numbers of the file {name}.weights, little-endian, in
   memory that is aligned as float is: read, mapped, or in flash. They belong to this target."""
SYMBOLS = "   `x` is the number of a symbol, below {upper}_SYMBOLS; others are read as the nearest."


def header(target: str, program: Program) -> str:
    """The text of the header of a program for a target."""
    name, upper = program.name, program.name.upper()
    weights = ["weights"] if program.beside else []
    more = [BESIDE] * program.beside + [SYMBOLS] * (program.network.table is not None)
    sizes = _sizes(program)
    state = [f"{name}_state *state", *(f"const float *{w}" for w in weights)]
    return TEXT.format(
        name=name,
        target=target,
        upper=upper,
        told=_told(name, weights, [r.name for r in program.reads]),
        more="".join(f"\n{m.format(upper=upper, name=name)}" for m in more),
        state=", ".join(state),
        inputs=", ".join(map(_declared, program.reads)),
        memory=max(program.memory, 1),
        sizes="\n".join(f"#define {upper}_{n} {units}" for n, units in sizes.items()),
    )


def _told(name: str, weights: list[str], rows: list[str]) -> str:
    """How it is called."""
    before = "".join(f", {w}" for w in weights)
    told = (
        f"{name}_state state;\n{name}_reset(&state{before});\n"
        f"{name}_step(&state{before}, {', '.join(rows)}, y);"
    )
    return textwrap.indent(told, "   ")


def _declared(read: Read) -> str:
    return f"const {read.type} *{read.name}" + ("" if read.each else " /* once for a sequence */")


def _sizes(program: Program) -> dict[str, int]:
    """How many numbers each row has, and what else a caller makes room for."""
    found = {r.name.upper(): r.units for r in program.reads}
    found |= {"Y": program.outputs, "SAVED": program.states}
    if program.beside:
        found["WEIGHTS"] = program.constants.size
    if program.network.table is not None:
        found["SYMBOLS"] = len(program.network.table)
    return found
