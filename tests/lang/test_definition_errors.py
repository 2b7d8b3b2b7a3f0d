"""Every mistake in a cell's definition: which line it names and what it says to write instead."""

import functools
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
    "torch unknown": (
        "return torch.erfc(h), c  # !",
        "the language has no erfc; its functions.*sigmoid",
    ),
    "method": ("return h.tanh(), c  # !", r"no attribute 'tanh'; write tanh\(v\)"),
    "unknown method": ("return h.foo(), c  # !", "no attribute 'foo'; the language has no foo"),
    "unknown word": ("return sigmoyd(h), c  # !", "did you mean sigmoid, imported from gatework"),
    "math": ("return math.tanh(h), c  # !", r"module math.*; write tanh\(v\), imported from"),
    "numpy": ("return np.tanh(h), c  # !", r"np.tanh was given .*; write tanh\(v\)"),
    "numpy where": ("return np.where(h > 0, h, c), c  # !", r"write where\(condition, a, b\)"),
    "numpy sum": ("return np.sum(h), c  # !", r"np.sum was given .*; write sum\(v\)"),
    "numpy array": ("return np.ones(3) * h, c  # !", "got ndarray; a learned value is made by"),
    "torch gelu": ("return torch.nn.functional.gelu(h), c  # !", r"write gelu\(v\), imported"),
    "torch cat": ("return torch.cat([h, c]), c  # !", r"write cat\(rows\)"),
    "clip": ("return h.clip(0, 1), c  # !", r"write clamp\(v, min, max\)"),
    "divmod": ("return divmod(h, 2), c  # !", r"has no divmod; write it with floor\(v\)"),
    "round": ("return round(h), c  # !", r"has no round\(\); .* where\(condition, a, b\)"),
    "bit and": ("return h & c, c  # !", r"& combines conditions, such as \(a < b\) & .* a \* b"),
    "bit or": ("return 1 | h, c  # !", r"\| combines conditions.* maximum\(a, b\)"),
    "shift": ("return h << 1, c  # !", "<< says nothing of a cell's values; .* &, . and ~"),
    "invert": ("return ~h, c  # !", "~ combines conditions.* 1 - a"),
    "len": ("return h / len(h), c  # !", r"number of units is known once .* mean\(v\)"),
    "range": ("return [h for _ in range(h)], c  # !", r"a constant, a keyword-only argument"),
    "int": ("return int(h), c  # !", r"no number yet, so int\(\) cannot take it"),
    "format": ("return f'{h:.2f}', c  # !", "cannot be written as '.2f'"),
    "assignment": ("h[0] = 1  # !\nreturn h, c", "which is never changed"),
    "call": ("return h(), c  # !", "a cell's value is not callable"),
    "size": ("return h / h.size(0), c  # !", "the size of a cell's value is a name"),
    "a cell": (
        "return gw.cells.gru(x, h), c  # !",
        "'gru' is called with constants by name and not",
    ),
    "capital": ("return Tanh(h), c  # !", r"did you mean tanh, imported from gatework\?"),
    "swapped": ("return tnah(h), c  # !", "did you mean tanh"),
    "cumprod": ("return cumprod(h), c  # !", "'cumprod' is not defined; the language has no cum"),
    "gelu": ("return gelu(h), c  # !", "'gelu' is not defined; write gelu"),
    "sinc": ("return sinc(h), c  # !", "the language has no sinc"),
    "atanh": ("return atanh(h), c  # !", "the language has no atanh"),
    "unknown variable": ("return hh, c  # !", "name 'hh' is not defined\n"),
    "unknown argument": (
        "return linear('n', x, biass=False), c  # !",
        "argument 'biass'; linear takes gate, values, bias, size, per, group, transposed",
    ),
    "size as a number": ("return linear('n', x, size=3), c  # !", "size= names a size.*got 3"),
    "vector from an array": (
        "return vector('a', init=np.ones(3)) * h, c  # !",
        r"vector\('a'\) starts from one finite number.*init=lambda n.*got ndarray",
    ),
    "vector from nan": ("return vector('a', math.nan) * h, c  # !", "one finite number.*got nan"),
    "scalar from a list": ("return scalar('a', [1]) * h, c  # !", "one finite number.*got list"),
    "group of the state": (
        "a = linear('m', h, group='mh')  # !\nreturn a, c",
        "'mh' would have no effect: the gate 'm' maps h always in weight_hh; leave group= out",
    ),
    "group of input and state": (
        "return linear('m', x, h, group='mh'), c  # !",
        "maps x always in weight_ih and h always in weight_hh",
    ),
    "two computed values in one group": (
        "return linear('m', h * 2, c * 2, group='q'), c  # !",
        r"given two values that the step computes.*side by side, linear\('m', cat\(\[a, b\]\)\)",
    ),
    "topk": ("return h * topk(h, 3), c  # !", "write top = amax\\(v\\), then"),
    "sort": ("return torch.sort(h), c  # !", "write amax.*known when it is written is take"),
    "argmax": ("return h * argmax(h), c  # !", "write where\\(v < amax\\(v\\), 0, 1\\)"),
    "batch_norm": ("return batch_norm(h), c  # !", "write layer_norm.*not a batch"),
    "norms of one name and two sizes": (
        "v = gw.layer_norm(linear('n', x, size='k'), 'n')\n"
        "return gw.layer_norm(h, 'n') + gw.sum(v), c  # !",
        "one gain, but 'n_weight' is of the size 'k' and would be of 'hidden' here",
    ),
    "a norm's name is taken": (
        "v = vector('n_weight', 1.0)\nreturn gw.layer_norm(h * v, 'n'), c  # !",
        "two learned values named 'n_weight'",
    ),
    "one gate on a state and a value": (
        "a = linear('m', h)\nreturn linear('m', h + tanh(a)), c  # !",
        r"looks like one weight and is two.*such as linear\('m2', …\)",
    ),
    "one gate in two sums": (
        "a = tanh(linear('m', h * c))\nreturn a + tanh(linear('m', h)), c  # !",
        "looks like one weight and is two",
    ),
    "a product of one gate": (
        "a = linear('m', h)\nreturn a * linear('m', c), c  # !",
        "looks like one weight and is two",
    ),
    "one gate on its own map": (
        "return linear('m', linear('m', h)), c  # !",
        "looks like one weight and is two",
    ),
    "one gate on two states": (
        "a = tanh(linear('a', h) - linear('b', c))\n"
        "return a, tanh(linear('b', h) + linear('a', c))  # !",
        "the gate '[ab]' maps two values, which looks like one weight and is two",
    ),
    "half of a sum used elsewhere": (
        "a = linear('m', h)\nreturn tanh(a + linear('m', c)), a  # !",
        "looks like one weight and is two",
    ),
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


# What one gate may map in calls of its own, and the weights that come of it.
SEVERAL = {
    "input and state": ("linear('n', x) * linear('n', h)", ["weight_ih", "weight_hh"]),
    "input and a value": ("linear('n', x) * linear('n', h * c)", ["weight_ih", "weight_nh"]),
    "a value and the input": ("linear('n', h * c) * linear('n', x)", ["weight_ih", "weight_nh"]),
    "all in one call": ("linear('n', x, h, c, h * c)",
                        ["weight_ih", "weight_hh", "weight_ch", "weight_nh"]),
    "a named value": ("linear('n', h) * linear('n', h * c, group='o')", ["weight_hh", "weight_o"]),
    "named first": ("linear('n', h * c, group='o') * linear('n', h)", ["weight_hh", "weight_o"]),
    "a named state": ("linear('n', x, h) * linear('n', c, group='ch')",
                      ["weight_ih", "weight_hh", "weight_ch"]),
    "the same value twice": ("linear('n', h * c) + linear('n', h * c)", ["weight_nh"]),
    "and its transpose": ("linear('n', h) - linear('n', h, transposed=True)", ["weight_hh"]),
    "another state": ("tanh(linear('n', x, h) + linear('n', c, bias=False))",
                      ["weight_ih", "weight_hh", "weight_ch"]),
    "a term that is scaled": ("tanh(linear('n', h) - c * (1 + linear('n', c)) / 2)",
                              ["weight_hh", "weight_ch"]),
    "a value of another size": (
        "linear('n', linear('m', x, size='s')) * linear('n', h)",
        ["weight_ih", "weight_hh", "weight_nh"]),
}  # fmt: skip


@pytest.mark.parametrize(("value", "weights"), SEVERAL.values(), ids=list(SEVERAL))
def test_what_one_gate_may_map(value, weights):
    function, _ = defined(f"def faulty(x, h, c):\n    return {value}, c\n")
    names = [p.name for p in cell(function).parameters if p.cols]
    assert names == weights


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


async def awaiting(x, h):
    return h


def yielding(x, h):
    yield h


SIGNATURES |= {
    "async": (awaiting, {}, "write def, not async"),
    "generator": (yielding, {}, "write return, not yield"),
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


class Scaled:
    """A cell as an object that can be called."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x, h):
        return self.factor * tanh(linear("n", x, h))

    def method(self, x, h):
        return self(x, h)


def _scaled(x, h, *, k=1.0):
    """Scaled."""
    return k * tanh(linear("n", x, h))


CALLABLE = {
    "partial": (functools.partial(_scaled, k=2.0), "_scaled", {"k": 2.0}),
    "partial of a place": (
        functools.partial(lambda k, x, h: _scaled(x, h, k=k), 2.0), "<lambda>", {}),
    "partial of a partial": (
        functools.partial(functools.partial(_scaled, k=5.0), k=2.0), "_scaled", {"k": 2.0}),
    "object": (Scaled(2.0), "Scaled", {}),
    "method": (Scaled(2.0).method, "method", {}),
    "wrapped": (functools.lru_cache(functools.partial(_scaled, k=2.0)), "_scaled", {"k": 2.0}),
}  # fmt: skip


@pytest.mark.parametrize(("given", "name", "constants"), CALLABLE.values(), ids=list(CALLABLE))
def test_whatever_can_be_called_may_be_a_cell(given, name, constants):
    made = cell(given)
    assert (made.name, made.constants) == (name, constants)
    assert gw.equivalent(made, cell(_scaled)(k=2.0))


def test_an_error_in_an_object_names_its_line():
    scaled = Scaled("a")
    with pytest.raises(gw.DefinitionError, match="in cell 'Scaled': expected a value") as caught:
        cell(scaled)
    line = inspect.getsourcelines(Scaled.__call__)[1] + 1
    assert str(caught.value).startswith(f"{HERE}:{line}: ")


NO_FUNCTIONS = {
    "builtin": (math.tanh, "got tanh, which is not written in Python"),
    "torch": (torch.tanh, "got tanh, which is not written in Python"),
    "class": (Scaled, "got the class Scaled; give a function, or an object of it"),
    "cell": (gw.cells.gru, "got <cell gru.*, which is a cell already"),
    "text": ("lstm", "got 'lstm', which is no function"),
    "partial of a builtin": (functools.partial(math.pow, 2), "got pow, which is not written in"),
}


@pytest.mark.parametrize(("given", "phrase"), NO_FUNCTIONS.values(), ids=list(NO_FUNCTIONS))
def test_what_is_no_function_of_python_says_so(given, phrase):
    with pytest.raises(TypeError, match=phrase):
        cell(given)


NUMBERS = {
    "float64": lambda h: np.float64(2) * h,
    "float32": lambda h: np.float32(2) * h,
    "int64": lambda h: h * np.int64(2),
    "sum": lambda h: np.float64(0.5) + h + 0.5 - 1 + h,
}


@pytest.mark.parametrize("double", NUMBERS.values(), ids=list(NUMBERS))
def test_numbers_of_numpy_are_numbers(double):
    assert gw.equivalent(cell(lambda x, h: double(h)), cell(lambda x, h: 2 * h))
    ordered = cell(lambda x, h: where(np.float64(1) < h, h, 0))
    assert gw.equivalent(ordered, cell(lambda x, h: where(h > 1, h, 0)))
    started = cell(lambda x, h: vector("a", np.float32(0.5)) * h)
    assert started.parameters[0].init == 0.5


def test_the_names_used_in_the_table_exist():
    assert all(map(callable, (np.tanh, math.tanh, torch.erf, sigmoid, where)))
