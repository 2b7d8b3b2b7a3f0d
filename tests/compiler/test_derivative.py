"""The rules of differentiation, one by one, and what a backward recurrence must cover."""

import pytest
import torch

import gatework as gw
from gatework.analysis.calculus import RULES
from gatework.backends.cpu.vector.pointwise import EMITTERS
from gatework.backends.reference import OPERATIONS
from gatework.compiler.derivative import derive
from gatework.compiler.recurrence import of_cell
from gatework.lang.expressions import Apply, apply, const, postorder, substitute, symbol
from gatework.lang.functions import FUNCTIONS, JUMPS
from numerics import assert_same, problem

CELLS = gw.cells.catalogue()
NAMES = ("a", "b", "c")
POSITIVE = {"sqrt", "log", "log1p", "pow"}
KINKED = {  # where torch's derivative at a kink is a convention
    "abs": [0.0], "relu": [0.0], "minimum": [0.5, 0.5], "maximum": [0.5, 0.5], "sign": [0.0],
}  # fmt: skip
SMOOTH = {"a": [0.3, 1.7, -0.6], "b": [0.5, -1.2, 2.0], "c": [0.9, 0.4, -1.1]}


OF_ITS_OWN = {"stop", "surrogate"}  # whose derivative is not that of the value


def evaluate(node, known):
    """An expression on tensors, by torch's operations."""
    for n in postorder([node]):
        if n not in known:
            if n.args:
                known[n] = OPERATIONS[n.function](*(known[a] for a in n.args))
            else:
                known[n] = torch.tensor(n.value, dtype=torch.float64)
    return known[node]


def by_rule(function, tensors, exponent=2.5):
    """The derivative by our rule, and by torch's autograd of torch's own operation."""
    arity = FUNCTIONS[function].arity
    symbols = [symbol(n, "sequence", "hidden") for n in NAMES[:arity]]
    operands = [symbols[0], const(exponent)] if function == "pow" else symbols
    tensors = tensors[:1] if function == "pow" else tensors[:arity]
    leaves = [t.clone().requires_grad_() for t in tensors]
    node = apply(function, *operands)
    g = symbol("g", "sequence", "hidden")
    parts = RULES[function](g, node, *operands)
    cotangent = torch.tensor([1.3, -0.7, 0.2], dtype=torch.float64)[: tensors[0].numel()]
    known = {**dict(zip(symbols, tensors, strict=False)), g: cotangent}
    found = [torch.zeros_like(t) if p is None else evaluate(p, dict(known)).expand_as(t)
             for p, t in zip(parts, tensors, strict=False)]  # fmt: skip
    value = evaluate(node, dict(zip(symbols, leaves, strict=False)))
    if not value.requires_grad:
        return found, [torch.zeros_like(t) for t in tensors]
    expected = torch.autograd.grad(value, leaves, cotangent, allow_unused=True)
    return found, [
        torch.zeros_like(t) if e is None else e for t, e in zip(tensors, expected, strict=True)
    ]


def values(function):
    rows = [torch.tensor(SMOOTH[n], dtype=torch.float64) for n in NAMES]
    return [r.abs() + 0.1 for r in rows] if function in POSITIVE else rows


def test_every_function_has_a_rule_and_an_operation():
    assert set(RULES) == set(FUNCTIONS) == set(OPERATIONS)


@pytest.mark.parametrize("table", [RULES, OPERATIONS, EMITTERS])
def test_a_table_that_lacks_a_function_says_where_to_add_it(table):
    with pytest.raises(
        NotImplementedError, match=r"of 'lgamma'; add it to \w+ of gatework/[\w/]+\.py"
    ):
        table["lgamma"]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_rule_is_autograds(function):
    found, expected = by_rule(function, values(function))
    for f, e in zip(found, expected, strict=True):
        torch.testing.assert_close(f, e, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("function", sorted(set(FUNCTIONS) - {"lt", "le", "sign", *OF_ITS_OWN}))
def test_a_rule_is_the_finite_difference(function):
    tensors = values(function)
    found, _ = by_rule(function, tensors)
    cotangent = torch.tensor([1.3, -0.7, 0.2], dtype=torch.float64)
    operation = OPERATIONS[function]
    constant = [torch.tensor(2.5, dtype=torch.float64)] if function == "pow" else []
    arguments = [*tensors[: len(found)], *constant]
    for k, f in enumerate(found):
        if function == "where" and k == 0:
            continue
        up, down = list(arguments), list(arguments)
        up[k], down[k] = arguments[k] + 1e-6, arguments[k] - 1e-6
        numeric = cotangent * (operation(*up) - operation(*down)) / 2e-6
        torch.testing.assert_close(f, numeric, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(("function", "at"), KINKED.items(), ids=list(KINKED))
def test_at_a_kink_the_derivative_is_torchs(function, at):
    tensors = [torch.tensor([v], dtype=torch.float64) for v in at]
    found, expected = by_rule(function, tensors)
    for f, e in zip(found, expected, strict=True):
        assert torch.equal(f, e)


@pytest.mark.parametrize("name", ["relu", "elu", "silu", "leaky_relu", "softplus", "logsigmoid"])
@pytest.mark.parametrize("at", [-1.5, 0.0, 2.0])
def test_words_have_the_value_and_the_derivative_of_torchs(name, at):
    cell = gw.cell(sizes={"x": "hidden"})(lambda x, h: getattr(gw, name)(x) + 0 * h)
    x = torch.full((1, 1, 2), at, dtype=torch.float64)
    ours = problem(cell, steps=1, batch=1, hidden_size=2).with_input(x.requires_grad_())
    found = ours.run()["output h"]
    expected = getattr(torch.nn.functional, name)(x)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    (g,), (e,) = (torch.autograd.grad(v.sum(), x) for v in (found, expected))
    torch.testing.assert_close(g, e, rtol=1e-12, atol=1e-12)


# ---- what a backward recurrence covers ---------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS.values(), ids=list(CELLS))
def test_every_block_of_every_parameter_has_its_gradient(cell):
    backward = derive(of_cell(cell), (cell.input,)).backward
    covered = {(f"weight_{c.matrix.group}", c.matrix.gate) for c in backward.contractions}
    for s in backward.summations:
        parameter, _, block = s.parameter.name.partition(".")
        covered.add((parameter, block or parameter))
    assert covered == {(p.name, b) for p in cell.parameters for b in p.blocks}


@pytest.mark.parametrize("cell", CELLS.values(), ids=list(CELLS))
def test_all_that_the_backward_step_reads_is_there(cell):
    derivative = derive(of_cell(cell), (cell.input,))
    forward, backward = derivative.forward, derivative.backward
    given = {s.name for s in forward.sequences} | set(derivative.kept)
    given |= {f"d_out_{n}" for n in of_cell(cell).outputs}
    assert {s.name for s in backward.sequences} <= given
    assert set(derivative.kept) <= set(forward.outputs)
    assert len(set(derivative.kept)) == len(derivative.kept)
    written = set(backward.outputs)
    for c in backward.contractions:
        assert {c.left, c.right} <= written | given
    assert {s.sequence for s in backward.summations} <= written


NAME_CLASHES = {
    "gate named as the input": lambda x, h: gw.tanh(
        gw.tanh(gw.linear("x", x, h)) + gw.linear("b", h)
    ),
    "gates named as what is kept": lambda x, h: gw.tanh(
        gw.sigmoid(gw.linear("kept0", x, h))
        * gw.linear("kept1", h)
        * gw.tanh(gw.linear("kept2", x))
    ),
    "gates named as what is hoisted": lambda x, h: gw.tanh(
        gw.sigmoid(gw.linear("hoisted0", x)) * gw.linear("hoisted1", h)
    ),
    "state named as another's past": lambda x, h, previous_h: (
        gw.tanh(gw.linear("a", x, h, previous_h)),
        gw.sin(previous_h * h),
    ),
    "gates named as gradients": lambda x, h: gw.tanh(
        gw.sigmoid(gw.linear("d_x", x, h)) * gw.linear("d_out_h", h)
        + gw.sigmoid(gw.linear("d_h", x))
    ),
    "vector named as the input": lambda x, h: gw.tanh(gw.linear("a", x, h) + gw.vector("x")),
    "vector named as noise": lambda x, h: (
        gw.dropout(gw.tanh(gw.linear("a", x, h)), 0.3) * gw.vector("noise0")
    ),
}


@pytest.mark.parametrize("function", NAME_CLASHES.values(), ids=list(NAME_CLASHES))
def test_no_name_that_a_cell_chooses_changes_its_gradients(function):
    random = problem(gw.cell(function), input_size=4, hidden_size=4)
    assert_same(random.derived(), random.by_autograd(), 1e-9)


CORNERS = {  # cells that once had a wrong gradient
    "stage of the input alone": lambda x, h: gw.tanh(
        gw.linear("a", gw.tanh(gw.linear("m", x)) * gw.vector("p")) + gw.linear("b", h)
    ),
    "spread number summed again": lambda x, h: (
        h + gw.tanh((v := gw.linear("a", x)) * gw.mean(v + gw.scalar("s")))
    ),
    "state never read": lambda x, h: gw.tanh(gw.linear("a", x)),
    "input never read": lambda x, h: gw.tanh(gw.linear("a", h)),
    "delay": lambda x, h, c: (gw.tanh(gw.linear("a", x, c)), h),
    "state kept as it is": lambda x, h, c: (gw.tanh(gw.linear("a", x, h)) * c, c),
    "constant state": lambda x, h, c: (gw.tanh(gw.linear("a", x, h)) * c, 1.0),
    "one map twice": lambda x, h: gw.sigmoid(gw.linear("a", x, h)) * gw.tanh(gw.linear("a", x, h)),
    "unused vector": lambda x, h: (gw.vector("p"), gw.tanh(gw.linear("a", x, h)))[1],
}


@pytest.mark.parametrize("function", CORNERS.values(), ids=list(CORNERS))
@pytest.mark.parametrize("reverse", [False, True])
def test_corner_cases(function, reverse):
    random = problem(gw.cell(function), reverse=reverse, lengths=(4, 2, 0))
    assert_same(random.derived(), random.by_autograd(), 1e-9)


def test_plans_depend_on_equations_not_on_names():
    """The same cell with every name changed has the same plan and the same gradients."""

    @gw.cell
    def other(inp, state, memory):
        p = gw.sigmoid(gw.linear("p", inp, state))
        q = gw.sigmoid(gw.linear("q", inp, state))
        r = gw.tanh(gw.linear("r", inp, state))
        s = gw.sigmoid(gw.linear("s", inp, state))
        memory = q * memory + p * r
        return s * gw.tanh(memory), memory

    ours, theirs = problem(gw.cells.lstm).derived(), problem(other).derived()
    assert_same(dict(enumerate(theirs.values())), dict(enumerate(ours.values())), 0)


def test_substitution_of_a_rule_is_exact_at_saturation():
    """σ and tanh at ±40 have derivative 0, not NaN."""
    for function in ("sigmoid", "tanh", "softplus"):
        found, _ = by_rule(function, [torch.tensor([40.0, -40.0, 0.0], dtype=torch.float64)])
        assert found[0].isfinite().all()
    assert substitute([const(1)], {}) == (const(1),)


def test_what_was_decided_is_read_back_not_decided_again():
    """A value that is computed again may be rounded to the other side of a jump."""

    @gw.cell
    def deciding(x, h, c):
        s = 0.7 * c + 0.3 * h * x[1]
        t = gw.floor(s * h) + gw.sign(h + 2 * c)
        return gw.linear("z", h) * gw.where(s < 0.5 * h * c + c, t, s), s

    backward = problem(deciding).job.program.backward.recurrence
    assert not [
        n for n in postorder(backward.results()) if isinstance(n, Apply) and n.function in JUMPS
    ]
