"""The order of the storeys: a module imports from its own and from those below, never from above.

Every import counts, also one inside a function or for types alone: a storey that needs a higher one
at all is in the wrong place. And no two modules need each other, but for the pairs named here.
"""

import ast
from itertools import pairwise
from pathlib import Path

import pytest

import gatework

ROOT = Path(gatework.__file__).parent
STOREYS = (  # from the ground up; of a module, the longest that its name begins with
    "errors", "needed", "printable", "forking", "files", "settings",
    "lang", "analysis", "cells", "compiler", "show",
    "backends.cache", "backends.calls", "backends.gate", "backends.reading",
    "backends.single_steps", "backends.reference", "backends.torch_kernels",
    "backends.preference", "backends.cpu.vector", "backends.cpu.machine", "backends.cpu.kernel",
    "backends.cpu", "backends.gpu",
    "backends", "autograd", "nn", "convert", "checkup", "data", "lens", "tasks", "export", "train",
    "estimators", "use", "reports", "sweeps", "studio", "bench", "cli",
)  # fmt: skip
CIRCLES = {  # that may be: each for a word of help, or so that a thing can show itself
    ("lang.expressions", "lang.printing"): "an expression prints itself",
    ("lang.expressions", "lang.misuse"): "a wrong use of one is answered with what to write",
    ("lang.tracing", "lang.words"): "a misspelt word is answered with the nearest one",
}


def imports(path):
    """The modules of the package that a module imports, and whether it does so for types alone."""
    for node, typing in walk(ast.parse(path.read_text()), False):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gatework"):
            for name in node.names:
                whole = f"{node.module}.{name.name}"
                yield (whole if is_module(whole) else node.module), typing
        elif isinstance(node, ast.Import):
            yield from ((n.name, typing) for n in node.names if n.name.startswith("gatework"))


def walk(node, typing):
    """All nodes, each with whether it stands under `if TYPE_CHECKING`."""
    yield node, typing
    for child in ast.iter_child_nodes(node):
        below = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        yield from walk(child, typing or (below and child is not node.test))


def is_module(name):
    path = ROOT.joinpath(*name.split(".")[1:])
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__")


MODULES = {name_of(p): p for p in sorted(ROOT.rglob("*.py"))}
TOP = {"", "__main__"}  # what is offered to users: it may import whatever it offers


def storey(module):
    """The number of a module's storey."""
    fitting = [s for s in STOREYS if f"{module}.".startswith(f"{s}.")]
    assert fitting, f"{module} is on no storey; name it in STOREYS, where it belongs"
    return STOREYS.index(max(fitting, key=len))


@pytest.mark.parametrize("module", [m for m in MODULES if m not in TOP])
def test_a_module_imports_nothing_from_above(module):
    own = storey(module)
    for name, _ in imports(MODULES[module]):
        imported = name.removeprefix("gatework").removeprefix(".")
        assert imported not in TOP, f"{module} imports the whole package"
        assert storey(imported) <= own, f"{module} imports {imported}, which is above it"


def test_no_two_modules_need_each_other():
    needed = {
        m: {n.removeprefix("gatework.") for n, typing in imports(p) if not typing} - {m}
        for m, p in MODULES.items()
        if m not in TOP
    }
    found = [c for c in circles(needed) if not any(set(pair) <= set(c) for pair in CIRCLES)]
    assert not found, "\n".join(" -> ".join([*c, c[0]]) for c in found)


def circles(needed):
    """A circle for each module that is reached from itself, the shortest one."""
    seen = set()
    for start in needed:
        before, queue = {}, [start]
        while queue and start not in before:
            module = queue.pop(0)
            for name in sorted(needed.get(module, ())):
                if name not in before:
                    before[name] = module
                    queue.append(name)
        if start in before:
            circle = [before[start]]
            while circle[-1] != start:
                circle.append(before[circle[-1]])
            if frozenset(circle) not in seen:
                seen.add(frozenset(circle))
                yield circle[::-1]


def test_a_turned_import_would_be_seen():
    assert all(storey(low) < storey(high) for low, high in pairwise(STOREYS))
    assert storey("backends.cpu.kernel.build") < storey("backends.cpu.schedule") < storey("nn.init")
    assert list(circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == [["a", "b", "c"]]
    (lazy,) = imports_of("def f():\n    from gatework.nn import layers\n")
    assert lazy == ("gatework.nn.layers", False)
    (typed,) = imports_of("if TYPE_CHECKING:\n    from gatework.nn import Recurrent\n")
    assert typed == ("gatework.nn", True)


def imports_of(text):
    class Text:
        @staticmethod
        def read_text():
            return text

    return list(imports(Text))
