"""`gatework.export.c`: from a network to an object file and a header."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from torch import nn

from gatework.errors import InputError
from gatework.export.objects.archive import archive
from gatework.export.objects.blocks import network_of
from gatework.export.objects.header import header
from gatework.export.objects.program import FUNCTIONS, Program
from gatework.export.objects.targets import machine_of, object_code
from gatework.files import write_atomically

Weights = Literal["inside", "beside"]
WHERE = ("inside", "beside")


def c(
    model: nn.Module,
    path: str | Path,
    target: str = "x86-64-v3",
    *,
    weights: Weights = "inside",
) -> tuple[Path, ...]:
    """Write a trained network as an object file, the same as an archive, and a C header.

    The object computes one sequence in float32, step by step. It allocates nothing and calls
    nothing.

    Args:
        model: A layer, a `torch.nn.Sequential`, a module that hands each of its parts the output of
            the one before it, or what `gatework.load` returns; as in eval mode.
        path: Where the files go, without an ending; its name begins the names of the functions.
        target: The machine, one of `gatework.export.TARGETS`.
        weights: "inside" the object, or "beside" it in a file, which the program reads and hands in
            by a pointer; then the object is the same for all weights.

    Returns:
        The files: the object, the header, the archive, and the weights where they are beside.

    Raises:
        InputError: If the target is unknown, the name is none of C, a part has no C form, or a file
            cannot be written.

    Example:
        >>> import tempfile, gatework as gw
        >>> folder = Path(tempfile.mkdtemp())
        >>> files = gw.export.c(gw.nn.GRU(1, 8), folder / "amp", target="cortex-m4")
        >>> [f.name for f in files]
        ['amp.o', 'amp.h', 'amp.a']
    """
    path, machine = _checked(path), machine_of(target)
    if weights not in WHERE:
        raise InputError(f"weights={weights!r}", " or ".join(map(repr, WHERE)), "choose one")
    program = Program(path.name, network_of(model), machine, weights == "beside")
    image = object_code(program.ir, machine)
    names = [f"{path.name}_{word}" for word in FUNCTIONS]
    contents = {
        ".o": image,
        ".h": header(target, program).encode(),
        ".a": archive(path.name, image, names),
    }
    if program.beside:
        contents[".weights"] = program.constants.data()
    return tuple(_write(path.with_name(path.name + e), held) for e, held in contents.items())


def _checked(path: str | Path) -> Path:
    """A path whose name can begin that of a C function, in a folder that is there."""
    path = Path(path)
    if not re.fullmatch(r"[A-Za-z_]\w*", path.name, re.ASCII):
        raise InputError(
            f"a file name that cannot begin a C function's: {path.name!r}",
            "a letter, then letters, digits and _",
            "choose another name, without an ending",
        )
    if not path.parent.is_dir():
        raise InputError(
            f"no such folder: {str(path.parent)!r}", "a folder to write to", "make it first"
        )
    return path


def _write(path: Path, content: bytes) -> Path:
    try:
        write_atomically(path, content)
    except OSError as error:
        raise InputError(
            f"{str(path)!r} {error.strerror}", "a place to write to", "choose another path"
        ) from None
    return path
