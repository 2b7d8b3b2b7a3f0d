"""Every mistake in a cell's definition: which line it names and what it says to write instead."""

import inspect
import math

import numpy as np
import pytest
import torch

import gatework as gw
from gatework import cell, linear, observe, scalar, sigmoid, tanh, vector, where

HERE = __file__

# Source of the function's body (x: input, h and c: states), what the message must say.
# The faulty line ends with "# !".
BODIES = {
    "branch": ("if h > 0:  # !\n    return h, c\nreturn c, h", r"where\(condition, a, b\)"),
    "and": ("return (h and c), c  # !", "cannot branch on a value"),
    "not": ("return (not h), c  # !", "cannot branch on a value"),
    "builtin max": ("return max(h, 0), c  # !", "cannot branch on a value"),
    "chained": ("return 0 < h < 1, c  # !", "cannot branch on a value"),
    "equal": ("return h == 0, c  # !", "== cannot compare"),
    "torch function": ("return torch.sigmoid(h), c  # !", r"write sigmoid\(v\), imported from"),
    "torch unknown": ("return torch.erf(h), c  # !", "use the functions imported from gatework"),
    "method": ("return h.tanh(), c  # !", r"no attribute 'tanh'; write tanh\(v\)"),
    "unknown method": ("return h.foo(), c  # !", "no attribute 'foo'; use the functions"),
    "unknown word": ("return sigmoyd(h), c  # !", "did you mean sigmoid, imported from gatework"),
    "math": ("return math.tanh(h), c  # !", "functions imported from gatework"),
    "numpy": ("return np.tanh(h), c  # !", "does not support ufuncs"),
    "index": ("return h[0], c  # !", "cannot be indexed"),
    "matmul": ("return h @ c, c  # !", r"linear\(name, v\) maps v by a learned one"),
    "exponent": ("return h**c, c  # !", r"write exp\(b \* log\(a\)\)"),
    "arity": ("return tanh(h, c), c  # !", "takes 1 positional argument but 2 were given"),
    "sizes": ("a = 1\nreturn x + h, c  # !", "sizes 'hidden' and 'input' cannot be combined"),
    "tensor": ("return torch.ones(4) * h, c  # !", "got Tensor; a learned value is made by vector"),
    "string": ("return h + 'a', c  # !", "expected a value of the cell or a number, got str"),
    "bool": ("return True * h, c  # !", "got bool"),
    "nan": ("return h * float('nan'), c  # !", "must be finite, got nan"),
    "iteration": ("return sum(h), c  # !", "cannot be gone through unit by unit"),
    "power": ("return 2 ** h, c  # !", r"write exp\(v \* log\(base\)\)"),
    "infinite": ("return h + math.inf, c  # !", "must be finite, got inf"),
    "no gate name": ("return linear(x, h), c  # !", "named by a string first, got Symbol"),
    "gate name": ("return linear('a b', h), c  # !", "Python identifier, got 'a b'"),
    "nothing to map": ("return linear('a'), c  # !", "needs at least one value to map"),
    "two sizes of a gate": (
        "a = linear('a', x)\nb = linear('a', x, size='other')  # !\nreturn a, c",
        "mapped to two sizes, 'hidden' and 'other'",
    ),
    "group taken": (
        "a = linear('a', h * c, group='g')\nreturn linear('b', h + c, group='g'), a  # !",
        "two values would be mapped in the group 'g'",
    ),
    "vector twice": (
        "return vector('p') * vector('p') * h, c  # !",
        "two learned values named 'p'",
    ),
    "vector's name": ("return vector('a b') * h, c  # !", "a learned value needs a name"),
    "reserved name": ("return scalar('d_x') * h, c  # !", "the compiler's own"),
    "observed twice": (
        "observe('a', h)\nobserve('a', c)  # !\nreturn h, c",
        "two values are named 'a'",
    ),
    "probability": ("return gw.dropout(h, 1.5), c  # !", "0 <= p < 1, got 1.5"),
    "zoneout": ("return gw.zoneout(h, c, -0.1), c  # !", "zoneout expects a probability"),
    "per": ("return gw.dropout(h, 0.5, per='day'), c  # !", "'step' or 'sequence', got 'day'"),
    "own exception": ("raise RuntimeError('mine')  # !", "mine"),
}


def defined(source: str):
    """Define the cell from a source that inspect and tracebacks can show."""
    import linecache

    name = f"<cell {hash(source)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    namespace = {**globals()}
    exec(compile(source, name, "exec"), namespace)
    return namespace["faulty"], name


@pytest.mark.parametrize(("body", "phrase"), BODIES.values(), ids=list(BODIES))
def test_a_mistake_is_named_with_its_line_and_its_mend(body, phrase):
    lines = ["def faulty(x, h, c):", *(f"    {line}" for line in body.split("\n"))]
    function, file = defined("\n".join(lines) + "\n")
    line = next(k for k, text in enumerate(lines, 1) if text.endswith("# !"))
    with pytest.raises(gw.DefinitionError, match=phrase) as caught:
        cell(function)
    message = str(caught.value)
    assert message.startswith(f"{file}:{line}: in cell 'faulty': ")
    assert message.endswith(lines[line - 1].strip())
    assert isinstance(caught.value, ValueError)
    assert caught.value.__cause__ is not None


def unused_gate(x, h):
    linear("f", x)
    return tanh(linear("a", x, h))


def two_meanings(x, h):
    return 2 * tanh(linear("h", x, h))


def stacked_name(x, h):
    return tanh(linear("a", x, h)) * vector("weight_ih")


def too_many(x, h):
    return h, h


def too_few(x, h, c):
    return h


def nothing(x, h):
    tanh(linear("a", x, h))


def wrong_kind(x, h):
    return "a"


def wrong_size(x, h):
    return linear("a", x, size="other")


WHOLE = {
    unused_gate: "the gate 'f' is never used",
    two_meanings: "'h' names a gate and a state that are not the same value",
    stacked_name: "the learned value 'weight_ih' has the name of the stacked maps",
    too_many: r"has 1 state\(s\) \(h\) but returns 2 value\(s\)",
    too_few: r"has 2 state\(s\) \(h, c\) but returns 1 value\(s\)",
    nothing: "returns None; return the new value of h",
    wrong_kind: "expected a value of the cell or a number, got str",
    wrong_size: r"size 'other' but the state has 'hidden'; .*@cell\(sizes=\{'h': 'other'\}\)",
}


@pytest.mark.parametrize(
    ("function", "phrase"), WHOLE.items(), ids=lambda v: getattr(v, "__name__", "")
)
def test_a_mistake_of_the_whole_cell_names_a_line_of_it(function, phrase):
    with pytest.raises(gw.DefinitionError, match=phrase) as caught:
        cell(function)
    source, first = inspect.getsourcelines(function)
    lines = [f"{HERE}:{first + k}: in cell {function.__name__!r}: " for k in range(len(source))]
    assert str(caught.value).startswith(tuple(lines))


SIGNATURES = {
    "no state": (lambda x: x, {}, "the input and at least one state"),
    "keywords": (lambda x, h, **more: h, {}, "the input and at least one state"),
    "states unnamed": (lambda x, h, *more: h, {}, "states each by name"),
    "no default": (lambda x, h, *, dt: h, {}, "'dt' needs a number as its default: dt=0.1"),
    "text default": (lambda x, h, *, dt="s": h, {}, "'dt' needs a number"),
    "unknown in sizes": (
        lambda x, hidden: hidden,
        {"sizes": {"hiden": "proj_size"}},
        "no argument named 'hiden'; did you mean 'hidden'",
    ),
}


@pytest.mark.parametrize(
    ("function", "options", "phrase"), SIGNATURES.values(), ids=list(SIGNATURES)
)
def test_a_mistake_in_the_signature_is_named(function, options, phrase):
    with pytest.raises(gw.DefinitionError, match=phrase) as caught:
        (cell(**options) if options else cell)(function)
    assert str(caught.value).startswith(f"{HERE}:{function.__code__.co_firstlineno}: ")


WORDS = {
    "linear": lambda: linear("a"),
    "vector": lambda: vector("p"),
    "scalar": lambda: scalar("p"),
    "observe": lambda: observe("p", gw.cells.rnn.input),
    "dropout": lambda: gw.dropout(gw.cells.rnn.input, 0.5),
    "zoneout": lambda: gw.zoneout(gw.cells.rnn.input, gw.cells.rnn.input, 0.5),
}


@pytest.mark.parametrize("word", WORDS)
def test_words_outside_a_cell_say_so(word):
    with pytest.raises(gw.DefinitionError, match=f"{word} works inside a function marked @cell"):
        WORDS[word]()


def test_a_failed_definition_leaves_nothing_behind():
    """The next cell, and comparisons outside a cell, are as if the failure had not been."""
    for _ in range(2):
        with pytest.raises(gw.DefinitionError):
            cell(unused_gate)
    assert gw.cells.rnn.input != gw.cells.rnn.states[0]
    with pytest.raises(gw.DefinitionError, match="works inside"):
        linear("a")
    assert cell(lambda x, h: tanh(linear("a", x, h))).parameters == cell(_plain).parameters


def _plain(x, h):
    return tanh(linear("a", x, h))


def test_the_names_used_in_the_table_exist():
    assert all(map(callable, (np.tanh, math.tanh, torch.erf, sigmoid, where)))
