"""Every program in examples/ runs and prints what its docstring says.

A docstring ends with what is typed and what is then printed; `...` stands for what differs from
machine to machine. Each program runs in an empty folder, in a process of its own.
"""

import ast
import doctest
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "examples"
PROGRAMS = sorted(EXAMPLES.glob("*.py"))
README = EXAMPLES / "README.md"
TRAINING = {"draw_horizon", "find_units"}  # networks of the command line are trained for these


def session(program: Path) -> Iterator[tuple[str, str]]:
    """Each command of a program's docstring, and what it prints."""
    told = ast.get_docstring(ast.parse(program.read_text(encoding="utf-8"))) or ""
    for typed in re.split(r"^ {4}\$ ", told, flags=re.MULTILINE)[1:]:
        command, _, shown = typed.partition("\n")
        yield command, textwrap.dedent(shown).rstrip() + "\n"


def run(command: str, folder: Path) -> str:
    """What a command prints; `python` and `gatework` are those that run the tests."""
    name, *arguments = shlex.split(command)
    words = {"gatework": ["-m", "gatework"], "python": []}[name]
    words += [str(EXAMPLES.parent / a) if a.startswith("examples/") else a for a in arguments]
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # the tensors are small
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    "program",
    [pytest.param(p, marks=[pytest.mark.slow] if p.stem in TRAINING else []) for p in PROGRAMS],
    ids=lambda p: p.stem,
)
def test_a_program_prints_what_its_docstring_says(program, tmp_path):
    for command, shown in session(program):
        printed = run(command, tmp_path)
        assert doctest.OutputChecker().check_output(shown, printed, doctest.ELLIPSIS), printed


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.stem)
def test_a_docstring_ends_with_the_call_of_its_program_and_what_it_prints(program):
    *_, (command, shown) = session(program)
    assert command.startswith(f"python examples/{program.name}")
    assert len(shown.split()) > 3


def test_nothing_in_examples_is_left_out():
    there = [p for p in EXAMPLES.iterdir() if p.name != "__pycache__"]
    sources = sorted(EXAMPLES.glob("*.c"))  # each built by the program of its name
    assert {p.stem for p in sources} <= {p.stem for p in PROGRAMS}
    assert sorted(there) == sorted([README, *PROGRAMS, *sources])
    listed = re.findall(r"\]\((\w+\.(?:py|c))\)", README.read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(p.name for p in (*PROGRAMS, *sources))
