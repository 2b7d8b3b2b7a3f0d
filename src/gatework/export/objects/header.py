"""The C header of an exported network."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatework.export.objects.exporting import Program

TEXT = """\
/* {name}: a recurrent network, one sequence in float32. Made by Gatework for {target}.

   {name}_state state;
   {name}_reset(&state);
   {name}_step(&state, {names}, y);

   A step reads and writes one row; a sequence is that many rows, one after the other. Input and
   output may be the same memory where their rows are as long. Nothing is allocated and no library
   is called. A state is plain memory; {name}_save writes the part of it that lasts from step to
   step, in a form that is the same for all targets, and {name}_load reads it. */

#ifndef {upper}_H
#define {upper}_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {{
#endif

{sizes}

typedef struct {{ float memory[{memory}]; }} {name}_state;

void {name}_reset({name}_state *state);
void {name}_step({name}_state *state, {inputs}, float *y);
void {name}_sequence({name}_state *state, {inputs}, float *y, size_t steps);
void {name}_save(const {name}_state *state, float *saved); /* {upper}_SAVED numbers */
void {name}_load({name}_state *state, const float *saved);

#ifdef __cplusplus
}}
#endif

#endif
"""


def header(name: str, target: str, program: Program) -> str:
    """The text of the header."""
    upper = name.upper()
    names = ["x", *(n for n, _, _ in program.reads[1:])]
    sizes = {n.upper(): units for n, (_, units, _) in zip(names, program.reads, strict=True)}
    sizes |= {"Y": program.outputs, "SAVED": program.states}
    inputs = [
        f"const float *{n}" + ("" if each else " /* once for a sequence */")
        for n, (_, _, each) in zip(names, program.reads, strict=True)
    ]
    return TEXT.format(
        name=name,
        target=target,
        upper=upper,
        names=", ".join(names),
        inputs=", ".join(inputs),
        memory=max(program.memory, 1),
        sizes="\n".join(f"#define {upper}_{n} {units}" for n, units in sizes.items()),
    )
