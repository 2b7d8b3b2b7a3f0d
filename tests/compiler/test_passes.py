"""What each stage of a pass computes and where its values lie, as text.

Of a stage stands here, for the rows of each size: the sums of products, each with one accumulator;
what is read from memory; what only has a name; what is stored, and in which places. `<step 0>` are
rows that only the kernel sees, and the word in brackets says how a row of a place is found.
"""

import pytest

import gatework as gw
from gatework.compiler.passes import Place, leaf_place, lower
from gatework.compiler.plan import stages
from gatework.compiler.program import program
from gatework.lang.expressions import Matrix, apply, const, postorder, product, substitute, symbol
from gatework.lang.printing import text


@gw.cell
def normed(x, h):
    """A reduction of a row that a product has made, and numbers that are made of it."""
    a = gw.linear("a", x, h)
    return a / gw.sqrt(gw.sum(a * a) + 1)


@gw.cell
def attending(x, h):
    """Two reductions: the largest of a row, then the sum of a row that is made with it."""
    return gw.linear("a", x) * gw.softmax(h)


@gw.cell
def map_of_a_map(x, h):
    """The second product reads the whole row that comes of the first."""
    a = gw.tanh(gw.linear("a", x, h))
    return gw.tanh(gw.linear("b", a)) + a


# ---- a pass as text ----------------------------------------------------------------------------


def loop_of(plan):
    """The pass of a plan's loop, with everything that it gives in memory of its own."""
    states = zip(plan.recurrence.states, plan.next_states, strict=True)
    targets = [(v, Place(f"state {s.name}", s.size, "new")) for s, v in states]
    targets += [(v, Place(f"sequence {n}", v.size, "step")) for n, v in plan.written.items()]
    return lower("step", plan.stages, targets)


def labels_of(plan):
    """What the values of a plan's loop are called in the cell."""
    hoisted = {v: symbol(n, "sequence", v.size) for n, v in plan.hoisted.items()}
    labels = {v: n for v, n in plan.recurrence.labels.items() if "." not in n}
    inside = zip(substitute(labels, hoisted), labels.values(), strict=True)
    return {v: n for v, n in inside if v.args}


def written(one, labels):
    """A pass as text; what is stored is called by its place, other values by their labels."""
    stored = {v: places for s in one.stages for w in s.works for v, places in w.stores}
    names = labels | {v: name_of(places[0]) for v, places in stored.items()}
    names |= {r: name_of(place) for s in one.stages for r, place in s.reductions}
    lines = []
    for k, stage in enumerate(one.stages, 1):
        lines.append(f"stage {k} of {len(one.stages)}")
        lines += [f"  {shown(place)} = {formula(r, names)}" for r, place in stage.reductions]
        for work in stage.works:
            lines += [f"  rows of {work.size}", *(f"    {line}" for line in of_work(work, names))]
    return "\n".join(lines)


def of_work(work, names):
    """The lines of one work."""
    yield from (f"sum {' + '.join(text(p, names) for p in s.products)}" for s in work.sums)
    yield from (f"read {shown(place)}" for place in work.reads.values())
    stored = dict(work.stores)
    for value in postorder(stored, until={*work.reads, *work.products()}):
        if value in names and value not in stored and value not in work.reads:
            yield f"{names[value]} = {formula(value, names)}"
    for value, places in work.stores:
        yield f"{', '.join(map(shown, places))} = {formula(value, names)}"


def name_of(place):
    role, _, name = place.argument.partition(" ")
    return {"sequence": name, "state": f"{name}'"}.get(role, f"<{place.argument}>")


def shown(place):
    """A place, and how a row of it is found."""
    argument = f"<{place.argument}>" if place.argument.startswith("step") else place.argument
    return f"{argument}{f' {place.offset[1]}' if place.offset else ''} ({place.kind})"


def formula(value, names):
    """What a value is computed from, by the names of other values."""
    return text(value, {v: n for v, n in names.items() if v is not value})


GRU = """\
stage 1 of 1
  rows of hidden
    sum W_hh[z]·h
    sum W_hh[r]·h
    sum W_hh[n]·h
    read parameter bias_hh z (all)
    read parameter bias_hh r (all)
    read parameter bias_hh n (all)
    read sequence hoisted0 (step)
    read sequence hoisted1 (step)
    read sequence hoisted2 (step)
    read state h (old)
    z = sigmoid(hoisted0 + W_hh[z]·h + bias_hh.z)
    r = sigmoid(hoisted2 + W_hh[r]·h + bias_hh.r)
    n = tanh(hoisted1 + r * (W_hh[n]·h + bias_hh.n))
    state h (new), sequence h (step) = (1 - z) * n + z * h"""

GRU_BACKWARD = """\
stage 1 of 2
  rows of hidden
    read sequence d_out_h (step)
    read sequence kept0 (step)
    read sequence n (step)
    read sequence previous_h (step)
    read sequence r (step)
    read sequence z (step)
    read state d_h (old)
    sequence d_ih.z (step) = ((d_h + d_out_h) * previous_h - (d_h + d_out_h) * n) * z * (1 - z)
    sequence d_ih.n (step) = (d_h + d_out_h) * (1 - z) * (1 - n * n)
    sequence d_ih.r (step) = d_ih.n * kept0 * r * (1 - r)
    sequence d_hh.n (step) = d_ih.n * r
    <step 0> (row) = (d_h + d_out_h) * z
stage 2 of 2
  rows of hidden
    sum W_hh[n]ᵀ·d_hh.n + W_hh[r]ᵀ·d_ih.r + W_hh[z]ᵀ·d_ih.z
    read <step 0> (row)
    state d_h (new) = <step 0> + W_hh[n]ᵀ·d_hh.n + W_hh[r]ᵀ·d_ih.r + W_hh[z]ᵀ·d_ih.z"""

NORMED = """\
stage 1 of 2
  rows of hidden
    sum W_hh[a]·h
    read parameter bias_hh a (all)
    read sequence hoisted0 (step)
    <step 0> (row) = hoisted0 + W_hh[a]·h + bias_hh.a
    <step 1> (row) = <step 0> * <step 0>
stage 2 of 2
  <step 2> (row) = sum(<step 1>)
  rows of 1
    read <step 2> (row)
    <step 3> (row) = <step 2> + 1
    <step 4> (row) = sqrt(<step 3>)
  rows of hidden
    read <step 0> (row)
    read <step 4> (row)
    state h (new), sequence h (step) = <step 0> / <step 4>"""

ATTENDING = """\
stage 1 of 2
  <step 0> (row) = max(h)
  rows of 1
    read <step 0> (row)
    <step 1> (row) = stop(<step 0>)
  rows of hidden
    read state h (old)
    read <step 1> (row)
    <step 2> (row) = exp(h - <step 1>)
stage 2 of 2
  <step 3> (row) = sum(<step 2>)
  rows of hidden
    read sequence hoisted0 (step)
    read <step 2> (row)
    read <step 3> (row)
    state h (new), sequence h (step) = hoisted0 * <step 2> / <step 3>"""

MAP_OF_A_MAP = """\
stage 1 of 2
  rows of hidden
    sum W_hh[a]·h
    read parameter bias_hh a (all)
    read sequence hoisted0 (step)
    <step 0> (row) = tanh(hoisted0 + W_hh[a]·h + bias_hh.a)
stage 2 of 2
  rows of hidden
    sum W_bh[b]·<step 0>
    read parameter bias_bh b (all)
    read <step 0> (row)
    b = tanh(W_bh[b]·<step 0> + bias_bh.b)
    state h (new), sequence h (step) = b + <step 0>"""

LOOPS = {
    "gru": (gw.cells.gru, "forward", GRU),
    "gru, backward": (gw.cells.gru, "backward", GRU_BACKWARD),
    "a reduction": (normed, "forward", NORMED),
    "two reductions": (attending, "forward", ATTENDING),
    "a product in each of two stages": (map_of_a_map, "forward", MAP_OF_A_MAP),
}


@pytest.mark.parametrize("case", LOOPS)
def test_what_a_step_does_and_where(case):
    cell, direction, expected = LOOPS[case]
    plan = getattr(program(cell), direction)
    assert written(loop_of(plan), labels_of(plan)) == expected


# ---- places of their own -----------------------------------------------------------------------

X, H = symbol("x", "sequence", "n"), symbol("h", "state", "n")
MASK, BIAS = symbol("mask", "constant", "n"), symbol("bias_ih.f", "parameter", "n")
LEAVES = {  # of a step, of a pass over all rows
    X: ("step", "step"),
    H: ("old", "old"),
    MASK: ("row", "sequence"),
    BIAS: ("all", "all"),
}


@pytest.mark.parametrize("leaf", LEAVES, ids=str)
def test_a_row_from_outside_is_found_by_its_role(leaf):
    found = [leaf_place(leaf, all_rows) for all_rows in (False, True)]
    assert tuple(place.kind for place in found) == LEAVES[leaf]
    assert {place.size for place in found} == {"n"}


def test_a_learned_row_is_a_block_of_its_parameter():
    assert leaf_place(BIAS, False) == Place("parameter bias_ih", "n", "all", ("bias_ih", "f"))


def test_constants_that_products_read_whole_have_rows_in_memory():
    """In the order of the equations, not in that in which a set happens to have them."""
    maps = [product(Matrix("ih", f"g{v}", "m", "n"), const(v, "n")) for v in range(8, 0, -1)]
    total = sum(maps, start=const(0))
    one = lower("before", stages([total]), [(total, Place("sequence y", "m", "step"))])
    assert list(one.numbers) == [f"number {v}.0 n" for v in range(8, 0, -1)]
    assert {p.kind for p in one.stages[0].whole_rows()} == {"all"}


def test_a_value_that_a_later_stage_reads_lies_in_the_written_sequence_if_there_is_one():
    inner = apply("tanh", X)
    outer = product(Matrix("hh", "a", "n", "n"), inner)
    targets = [(outer, Place("state h", "n", "new")), (inner, Place("sequence y", "n", "step"))]
    with_memory = lower("step", stages([outer, inner]), targets)
    without = lower("step", stages([outer, inner]), targets[:1])
    assert not with_memory.temporaries
    assert [p.argument for p in with_memory.stages[1].whole_rows()] == ["sequence y"]
    assert without.temporaries == {"step 0": "n"}
    assert [p.argument for p in without.stages[1].whole_rows()] == ["step 0"]


def test_a_product_that_something_else_reads_has_a_sum_of_its_own():
    """One accumulator holds what is only ever added: here not `one`, which is multiplied, too."""
    one, two, three = (product(Matrix("ih", g, "n", "n"), X) for g in "abc")
    total = one + two + three
    target = Place("sequence y", "n", "step")

    def sums(value):
        (work,) = lower("before", stages([value]), [(value, target)]).stages[0].works
        return [tuple(p.matrix.gate for p in s.products) for s in work.sums]

    assert sums(total) == [("a", "b", "c")]
    assert sums(total * one) == [("a",), ("b", "c")]


def test_a_pass_with_nothing_to_do_has_one_empty_stage():
    one = lower("before", (), [])
    assert [(s.reductions, s.works) for s in one.stages] == [((), ())]
