"""What the writer of LLVM IR writes: it is read by LLVM, and runs with the numbers of Python."""

import math

import numpy as np
import pytest

from gatework.backends.cpu.vector.errors import CodegenError
from gatework.backends.cpu.vector.ir import Builder, Module
from gatework.backends.cpu.vector.masks import across, lane_mask, masked_load, masked_store
from gatework.backends.cpu.vector.target import host
from gatework.backends.cpu.vector.values import Value, Vector, float_text
from machine_code import DTYPES, compiled

FLOATS = Vector("float", 4)


def written(body, params):
    """A native function with the body that `body(builder, *parameters)` writes."""
    module = Module()
    with module.function("f", params, exported=True) as (b, values):
        body(b, *values)
    return compiled(module, "f", params, host())


def integers(body, *given):
    """The integers that `body(builder, append, *numbers)` appends, one after the other."""
    found, count = np.full(200, -1), np.zeros(1, np.int64)

    def write(b, to, end, *numbers):
        def append(value):
            at = b.load(end, "i64", 8)
            b.store(b.index(value), b.at(to, "i64", at), 8)
            b.store(b.index(b.add(at, 1)), end, 8)

        body(b, append, *numbers)

    params = [("ptr", "to"), ("ptr", "end"), *(("i64", f"n{k}") for k in range(len(given)))]
    written(write, params)(found, count, *given)
    return found[: count[0]].tolist()


# ---- control flow ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bounds", [(0, 5, 1), (2, 11, 3), (0, 0, 1), (7, 3, 2), (-4, 4, 4), (5, 6, 9)]
)
def test_a_loop_is_pythons_range(bounds):
    def body(b, append, start, stop, step):
        with b.loop(stop, start=start, step=step) as i:
            append(i)

    assert integers(body, *bounds) == list(range(*bounds))


def test_a_loop_in_a_loop():
    def body(b, append, n):
        with b.loop(n) as i, b.loop(i) as j:
            append(b.add(b.mul(i, 10), j))

    assert integers(body, 4) == [10, 20, 21, 30, 31, 32]


def test_a_part_that_runs_only_when_a_condition_holds():
    def body(b, append, n):
        with b.loop(n) as i, b.when(b.compare("sge", i, 3)):
            append(i)

    assert integers(body, 6) == [3, 4, 5]


def test_a_case_for_each_number_and_none_for_others():
    def body(b, append, n):
        with b.loop(n) as i:
            for number in b.cases(i, [1, 3]):
                append(100 * number)

    assert integers(body, 6) == [100, 300]


def test_a_repeated_part_runs_once_at_least():
    def body(b, append, n):
        with b.repeat() as repeat:
            append(n)
            repeat.leave = b.compare("eq", n, n)

    assert integers(body, 7) == [7]


def test_a_repeated_part_runs_until_it_leaves():
    def body(b, append, n):
        left = b.slot("i64", 8)
        b.store(n, left, 8)
        with b.repeat() as repeat:
            now = b.index(b.sub(b.load(left, "i64", 8), 1))
            b.store(now, left, 8)
            append(now)
            repeat.leave = b.compare("sle", now, 0)

    assert integers(body, 3) == [2, 1, 0]


# ---- integers ----------------------------------------------------------------------------------

OPERATIONS = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a // b,
    "smaller": min,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_integers(name):
    """Whichever of the operands are known while the code is written."""
    pairs = [(a, b) for a in (0, 1, 7, 12) for b in (0, 1, 3, 12) if b or name != "div"]

    def body(b, append, *numbers):
        operation = getattr(b, name)
        for (left, right), one, other in zip(pairs, numbers[::2], numbers[1::2], strict=True):
            for x, y in ((one, other), (left, other), (one, right), (left, right)):
                append(operation(x, y))

    expected = [OPERATIONS[name](*pair) for pair in pairs for _ in range(4)]
    assert integers(body, *(n for pair in pairs for n in pair)) == expected


def test_what_is_known_while_the_code_is_written_leaves_no_instruction():
    b, n = Builder(Module()), Value("%n", "i64")
    assert (b.add(2, 3), b.sub(2, 3), b.mul(2, 3), b.div(7, 2), b.smaller(2, 3)) == (5, -1, 6, 3, 2)
    assert b.add(n, 0) == b.add(0, n) == b.sub(n, 0) == b.mul(n, 1) == b.mul(1, n) == n
    assert b.div(n, 1) == n
    assert b.mul(n, 0) == b.mul(0, n) == 0
    assert b.at(Value("%p", "ptr"), "float", 0) == Value("%p", "ptr")
    assert b.text() == "entry:\n  ret void\n"


# ---- numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("element", DTYPES)
@pytest.mark.parametrize("count", [1, 3, 4, 5, 9])
def test_a_reduction_of_any_length(element, count):
    """A vector at a time, its last lanes masked: the sum and the maximum."""
    vector = Vector(element, 4)

    def body(b, source, to, n):
        total, most = b.slot(vector.type), b.slot(vector.type)
        b.store(vector.const(0), total, 64)
        b.store(vector.const(-math.inf), most, 64)
        with b.loop(n, step=vector.lanes) as i:
            mask = lane_mask(b, vector, b.sub(n, i))
            x = masked_load(b, vector, b.at(source, element, i), mask)
            b.store(b.fadd(b.load(total, vector.type, 64), x), total, 64)
            x = b.select(mask, x, vector.const(-math.inf))
            old = b.load(most, vector.type, 64)
            b.store(b.call(f"llvm.maximum.{vector.suffix}", vector.type, old, x), most, 64)
        b.store(across(b, vector, b.load(total, vector.type, 64), "fadd"), to)
        b.store(across(b, vector, b.load(most, vector.type, 64), "fmaximum"), b.at(to, element, 1))

    numbers = -np.arange(1, 10, dtype=DTYPES[element])
    found = np.full(2, np.nan, DTYPES[element])
    written(body, [("ptr", "source"), ("ptr", "to"), ("i64", "n")])(numbers, found, count)
    assert found.tolist() == [-count * (count + 1) / 2, -1]


@pytest.mark.parametrize("left", [-3, 0, 1, 3, 4, 100])
def test_what_is_masked_is_neither_read_nor_written(left):
    def body(b, source, to, n):
        mask = lane_mask(b, FLOATS, n)
        masked_store(b, FLOATS, masked_load(b, FLOATS, source, mask), to, mask)

    found = np.full(4, -1, np.float32)
    params = [("ptr", "source"), ("ptr", "to"), ("i64", "n")]
    written(body, params)(np.arange(4, dtype=np.float32), found, left)
    kept = max(0, min(4, left))
    assert found.tolist() == [*range(kept), *[-1] * (4 - kept)]


RELATIONS = {  # of 1, NaN, 2, 0 and 2, 2, 2, -0
    "olt": [1, 0, 0, 0],
    "ole": [1, 0, 1, 1],
    "ogt": [0, 0, 0, 0],
    "oge": [0, 0, 1, 1],
    "oeq": [0, 0, 1, 1],
    "une": [1, 1, 0, 0],
    "uno": [0, 1, 0, 0],
}


@pytest.mark.parametrize("relation", RELATIONS)
def test_a_select_takes_each_lane_from_one_of_two_vectors(relation):
    def body(b, one, other, to):
        x, y = b.load(one, FLOATS.type), b.load(other, FLOATS.type)
        chosen = b.select(b.fcmp(relation, x, y), FLOATS.const(1), FLOATS.const(0))
        b.store(chosen, to)

    x, y = np.array([[1, np.nan, 2, 0], [2, 2, 2, -0.0]], np.float32)
    found = np.full(4, np.nan, np.float32)
    written(body, [("ptr", "one"), ("ptr", "other"), ("ptr", "to")])(x, y, found)
    assert found.tolist() == RELATIONS[relation]


ARITHMETIC = {
    "fadd": lambda x, y: x + y,
    "fsub": lambda x, y: x - y,
    "fmul": lambda x, y: x * y,
    "fdiv": lambda x, y: x / y,
}


@pytest.mark.parametrize("name", ARITHMETIC)
def test_arithmetic_of_vectors_and_of_numbers(name):
    def body(b, one, other, to):
        for type_, at in ((FLOATS.type, 0), ("float", 4)):
            x, y = (b.load(b.at(p, "float", at), type_) for p in (one, other))
            b.store(b.fneg(getattr(b, name)(x, y)), b.at(to, "float", at))

    x, y, found = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    written(body, [("ptr", "one"), ("ptr", "other"), ("ptr", "to")])(x, y, found)
    np.testing.assert_array_equal(found, -ARITHMETIC[name](x, y))


@pytest.mark.parametrize("element", DTYPES)
def test_a_number_in_every_lane_and_a_sum_that_is_rounded_once(element):
    """(1 + e)² - 1 - 2e is e²: nothing, had the square been rounded before."""
    vector, dtype = Vector(element, 4), DTYPES[element]

    def body(b, source, to):
        x, rest = (b.load(b.at(source, element, k), element) for k in (0, 1))
        b.store(b.fma(x, x, rest), b.at(to, element, 4))
        x, rest = b.broadcast(x, vector), b.broadcast(rest, vector)
        b.store(b.fma(x, x, rest), to)

    e = {"float": 2.0**-13, "double": 2.0**-30}[element]
    found = np.zeros(5, dtype)
    source = np.array([1 + e, -1 - 2 * e], dtype)
    written(body, [("ptr", "source"), ("ptr", "to")])(source, found)
    assert found.tolist() == [e**2] * 5


@pytest.mark.parametrize("element", DTYPES)
@pytest.mark.parametrize("number", [0.1, -0.0, 1e-45, 1e300, -1e300, math.inf, math.pi])
def test_a_constant_has_every_bit(element, number):
    dtype = DTYPES[element]
    with np.errstate(over="ignore"):
        expected = dtype(number)
    found = np.zeros(4, dtype)
    written(lambda b, to: b.store(Vector(element, 4).const(number), to), [("ptr", "to")])(found)
    assert found.tobytes() == np.full(4, expected).tobytes()
    assert float_text(0.1, element) == {"float": "0x3FB99999A0000000",
                                        "double": "0x3FB999999999999A"}[element]  # fmt: skip


def test_the_bits_of_a_number_as_an_integer():
    def body(b, source, to):
        bits = b.bitcast(b.load(source, FLOATS.type), FLOATS.integers)
        b.store(b.binary("and", bits, FLOATS.integer(0x7FFFFFFF)), to)

    found = np.zeros(4, np.float32)
    source = np.array([-1, 2, -0.0, -math.inf], np.float32)
    written(body, [("ptr", "source"), ("ptr", "to")])(source, found)
    assert found.tolist() == [1, 2, 0, math.inf]


# ---- functions and modules ---------------------------------------------------------------------


@pytest.mark.parametrize("inline", [False, True])
def test_a_function_calls_another_of_its_module(inline):
    module, params = Module(), [("ptr", "to"), ("i64", "n")]
    with module.function("double", params, inline=inline) as (b, (to, n)):
        b.store(b.index(b.add(n, n)), to, 8)
    with module.function("f", params, exported=True) as (b, (to, n)):
        b.call_local("double", to, n)
        b.call_local("double", b.at(to, "i64", 1), 21)
    found = np.zeros(2, np.int64)
    compiled(module, "f", params, host())(found, 5)
    assert found.tolist() == [10, 42]


def test_whether_an_address_is_given():
    def body(b, to, source):
        b.store(b.select(b.given(source), b.index(1), b.index(0)), to, 8)

    write = written(body, [("ptr", "to"), ("ptr", "source")])
    found = np.full(1, -1)
    for source, expected in ((None, 0), (found, 1)):
        write(found, source)
        assert found[0] == expected


def reads_what_only_a_part_computes(b, p):
    with b.when(b.given(p)):
        value = b.load(p, "float")
    b.store(value, p)


MALFORMED = {
    "defined with type": lambda b, p: b.fadd(b.load(p, "float"), Value("%p", "float")),
    "use of undefined value": lambda b, p: b.store(Value("%nowhere", "float"), p),
    "expected instruction opcode": lambda b, p: b.do("stir the soup"),
    "use of undefined value '@unknown'": lambda b, p: b.call_local("unknown", p),
    "does not dominate all uses": reads_what_only_a_part_computes,
}


@pytest.mark.parametrize("message", MALFORMED)
def test_a_malformed_module_is_seen(message):
    with pytest.raises(RuntimeError, match=message):
        written(MALFORMED[message], [("ptr", "p")])


def test_a_repeated_part_that_never_leaves_is_seen():
    b = Builder(Module())
    with pytest.raises(CodegenError, match="must set when it leaves"), b.repeat():
        b.do("call void @f()")
