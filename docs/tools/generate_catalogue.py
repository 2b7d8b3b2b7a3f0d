"""Writes the parts of the documentation that come from the cells' equations.

    python docs/tools/generate_catalogue.py

rewrites `catalogue.md`, a page for each family in `catalogue/`, the pictures of the cells in
`images/cells`, and in every other page the block of equations that follows a line
`<!-- equations: NAME -->`. A test compares them with what this script would write.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from gatework import cells as catalogue_package
from gatework import explain
from gatework.cells import catalogue, families
from gatework.cells.family import Family
from gatework.compiler.program import program
from gatework.lang import Cell
from gatework.lang.axes import SCALAR, slots
from gatework.lang.definition import Parameter

DOCS = Path(__file__).parents[1]
MARKED = re.compile(r"(<!-- equations: (\w+) -->\n)(?:\n*\$\$\n.*?\n\$\$\n)?", re.DOTALL)

HEAD = """\
# The catalogue

Every cell that comes with Gatework, by families: cells that share an idea. A family has a page, on
which each cell stands as its equations. In a terminal, `gatework cells` lists them,
`gatework cells xlstm` finds some by their name, authors, year or any other word, and
`gatework explain lstm` prints the equations of one. In Python they are attributes of
`gatework.cells`, entries of `gatework.cells.catalogue()`, and named by family in
`gatework.cells.families()`. A layer of any cell is `gatework.nn.Recurrent(cell, input_size,
hidden_size)`.
"""

NOTATION = """\
## How a cell is shown { #notation }

These pages are written from the cells themselves by `docs/tools/generate_catalogue.py`. The picture
is drawn from the equations: what a step computes, from the state and input at the left to the new
state at the right. A gate is a value between 0 and 1 that multiplies something, a learned map is a
matrix with its bias and the function put on it, and the memory's path is where a state reaches its
own new value by arithmetic alone. Then come the equations in the notation of a paper, and the code
that defines the cell.

In the equations, $x$ is the input; $h$ and $c$ are the states left by the step before, $h_t$ and
$c_t$ the new ones. $W^{ih}$ holds the weights on the input and $W^{hh}$ those on the first state,
both stacked over the gates in the order given under *parameters*. $\\odot$ and $\\oslash$ multiply
and divide unit by unit. *Stages* are the dependent matrix products of a step, see
[How it works](how-it-works.md#the-plan); *kept* is what the forward pass saves for the backward
pass, `previous_h` being the state before the step.
"""


def latex_block(cell: Cell) -> str:
    """The cell's equations as one block of LaTeX, aligned at the equals signs."""
    lines = [line.replace(" = ", " &= ", 1) for line in explain(cell).latex]
    body = " \\\\\n".join(lines)
    return f"$$\n\\begin{{split}}\n{body}\n\\end{{split}}\n$$\n"


def filled(text: str) -> str:
    """The text with the block after each marker written anew."""
    cells = catalogue()
    return MARKED.sub(lambda m: f"{m[1]}\n{latex_block(cells[m[2]])}", text)


def pages() -> dict[Path, str]:
    """The catalogue's pages by their files: the index, and one for each family."""
    return {
        DOCS / "catalogue.md": index(),
        **{DOCS / "catalogue" / f"{n}.md": family_page(f) for n, f in families().items()},
    }


def index() -> str:
    """The page of all families, with a line for each cell."""
    tables = "\n".join(family_table(name, family) for name, family in families().items())
    return "\n".join([HEAD, tables, NOTATION])


def family_table(name: str, family: Family) -> str:
    """A family's cells, each with a link; a link to `catalogue.md#lstm` arrives at its row."""
    rows = [
        f"| [`{cell}`](catalogue/{name}.md#{cell}){{ #{cell} }} | {first_line(catalogue()[cell])} |"
        for cell in family.names
    ]
    head = f"## [{family.title}](catalogue/{name}.md) {{ #family-{name} }}"
    lines = [head, "", family.about, "", "| cell | what it is |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def family_page(family: Family) -> str:
    """A family's idea and its cells, file by file."""
    intro = f"{family.about} What the parts of an entry mean stands in [the catalogue]"
    head = f"# {family.title}\n\n{intro}(../catalogue.md#notation).\n"
    files = dict.fromkeys(files_of_cells()[cell] for cell in family.names)
    return "\n".join([head, *(file.section(family.names) for file in files)])


def first_line(cell: Cell) -> str:
    """The first line of the cell's documentation."""
    return cell.doc.partition("\n")[0]


class CellFile:
    """A file of the catalogue: its text, its documentation, its functions by name."""

    def __init__(self, path: Path) -> None:
        self.lines = path.read_text(encoding="utf-8").splitlines()
        module = ast.parse("\n".join(self.lines))
        self.title, _, self.doc = (ast.get_docstring(module) or path.stem).partition("\n")
        self.functions = {n.name: n for n in module.body if isinstance(n, ast.FunctionDef)}
        self.cells = [name for name in self.functions if name in catalogue()]

    def section(self, family: Sequence[str]) -> str:
        """The file's documentation, then those of its cells that are of a family."""
        head = f"## {self.title.rstrip('.')}\n"
        doc = f"{self.doc.strip()}\n" if self.doc else ""
        cells = [section(name, self) for name in family if name in self.cells]
        return "\n".join(filter(None, [head, doc, *cells]))

    def source(self, cell: str) -> str:
        """The cell as it is written, after the functions of the file that it uses."""
        used = [cell]
        for function in used:  # grows while it is read
            nodes = ast.walk(self.functions[function])
            names = (node.id for node in nodes if isinstance(node, ast.Name))
            used += [n for n in dict.fromkeys(names) if n in self.functions and n not in used]
        return "\n\n\n".join(self.text(f) for f in self.functions if f in used)

    def text(self, function: str) -> str:
        """One function as it is written; without its documentation when it is a cell."""
        node = self.functions[function]
        start = min(n.lineno for n in (node, *node.decorator_list)) - 1
        if function not in self.cells:
            return "\n".join(self.lines[start : node.end_lineno])
        doc = node.body[0]
        code = [*self.lines[start : doc.lineno - 1], *self.lines[doc.end_lineno : node.end_lineno]]
        return "\n".join(code)


@cache
def files_of_cells() -> dict[str, CellFile]:
    """The file that each cell is defined in."""
    folder = Path(catalogue_package.__file__).parent
    files = [CellFile(path) for path in sorted(folder.glob("*.py"))]
    return {cell: file for file in files for cell in file.cells}


def section(name: str, file: CellFile) -> str:
    """One cell: documentation, equations, parameters, stages, kept values."""
    cell = catalogue()[name]
    made = program(cell)
    states = ", ".join(f"`{s.name}` ({named(s.size)})" for s in cell.states)
    further = ", ".join(f"`{s.name}` ({named(s.size)})" for s in cell.further)
    constants = ", ".join(f"`{n}={v}`" for n, v in cell.constants.items())
    forward, backward = (len(p.stages) for p in (made.forward, made.backward))
    kept = ", ".join(f"`{n}`" for n in made.derivative.kept)
    return "\n".join(
        [
            f"### `{name}` {{ #{name} }}\n",
            f"{cell.doc}\n",
            f"![Data flow of {name}](../images/cells/{name}.svg){{ loading=lazy }}\n",
            latex_block(cell),
            f"```py\n{file.source(name)}\n```\n",
            "| parameter | blocks, in order | shape |",
            "|---|---|---|",
            *(f"| `{p.name}` | {blocks(p)} | {shape(p)} |" for p in cell.parameters),
            "",
            *([f"- reads beside its input, at each step: {further}"] if further else []),
            f"- states: {states}",
            *([] if cell.output is None else [f"- output: {named(cell.output.size)}"]),
            *([f"- constants: {constants}"] if constants else []),
            f"- stages of a step: {forward} forward, {backward} backward",
            f"- kept for the backward pass: {kept}",
            "",
        ]
    )


def blocks(parameter: Parameter) -> str:
    """The gates stacked in a parameter; that its numbers are known."""
    return f"{', '.join(parameter.blocks)}{'' if parameter.learned else ' (known)'}"


def shape(parameter: Parameter) -> str:
    """A parameter's shape in the names of its sizes."""
    counts = {named(r): parameter.rows.count(r) for r in dict.fromkeys(parameter.rows)}
    rows = " + ".join(f"{n} · {r}" if n > 1 else r for r, n in counts.items())
    return f"[{rows}]" if parameter.cols is None else f"[{rows}, {named(parameter.cols)}]"


def named(size: str) -> str:
    """A size as it is read: its axes with a cross between them."""
    return " × ".join(axis for axis in slots(size) if axis != SCALAR) or size


def pictures() -> dict[Path, str]:
    """The picture of every cell's data flow, by its file."""
    folder = DOCS / "images" / "cells"
    return {folder / f"{name}.svg": explain(cell).svg for name, cell in catalogue().items()}


def write() -> None:
    """Bring every page up to date."""
    for folder in ("images/cells", "catalogue"):
        (DOCS / folder).mkdir(exist_ok=True)
    for path, content in {**pictures(), **pages()}.items():
        path.write_text(content, encoding="utf-8")
    for path in DOCS.glob("*.md"):
        path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
