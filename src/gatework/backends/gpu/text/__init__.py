"""The text of kernels: the files beside this one, and how the cell's own lines come into them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

from gatework.backends.gpu.loop import Element

PRIMITIVES = "primitives.cu"  # what the tests have once more for the CPU


@cache
def read(name: str) -> str:
    """The text of a file of this folder.

    Example:
        >>> read("primitives.cu").startswith("// What C++ has no words for")
        True
    """
    return (files(__package__) / name).read_text(encoding="utf-8")


def spliced(text: str, parts: Mapping[str, str]) -> str:
    """A text with something in the place of every `@NAME@`.

    Raises:
        ValueError: If a name of the text has no part, or a part no place.

    Example:
        >>> spliced("float y = @VALUE@;", {"VALUE": "x + 1.0f"})
        'float y = x + 1.0f;'
    """
    places = set(re.findall(r"@(\w+)@", text))
    if places != set(parts):
        raise ValueError(
            f"the text has places for {sorted(places)}, the parts are {sorted(parts)}; "
            f"without a match: {sorted(places ^ set(parts))}"
        )
    return re.sub(r"@(\w+)@", lambda place: parts[place[1]], text)


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """Names of slots as C has them, each its own.

    Example:
        >>> identifiers(["state h", "parameter d.h", "parameter d h"])
        {'state h': 'state_h', 'parameter d.h': 'parameter_d_h', 'parameter d h': 'parameter_d_h_1'}
    """
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII)
        free = (f"{plain}_{k}" if k else plain for k in range(len(found) + 1))
        found[name] = next(word for word in free if word not in found.values())
    return found


def arguments(slots: Mapping[str, str]) -> str:
    """The struct of a kernel's slots, each of 8 bytes, from their names in C and their types.

    Example:
        >>> print(arguments({"steps": "i64", "sequence_x": "const el*"}))
        struct Arguments {
          i64 steps;
          const el* sequence_x;
        };
    """
    lines = (f"  {kind} {name};" for name, kind in slots.items())
    return "\n".join(["struct Arguments {", *lines, "};"])


def assembled(body: str, element: Element, *, exact: bool = True) -> str:
    """A whole text: what the primitives ask for, the primitives, functions, and a kernel's own.

    Args:
        body: The struct `Arguments` and the kernel `run`.
        element: The numbers in memory.
        exact: Whether products of floats are as exact as floats.
    """
    chosen = {"HALF": element == "half", "BFLOAT": element == "bfloat16", "EXACT": exact}
    head = "\n".join(f"#define {name} {int(value)}" for name, value in chosen.items())
    return "\n".join([head, read(PRIMITIVES), read("functions.cu"), body])
