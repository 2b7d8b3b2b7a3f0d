"""What the form `group` asks of a plan is all that a step needs: interpreted in float64.

Legend: B sequences, n units of a row.
"""

import pytest
import torch

import gatework as gw
from gatework.backends.gpu.group.asking import ask, is_matrix, is_scaled
from gatework.backends.gpu.loop import Refused
from gatework.backends.reference import Reference, Run
from gatework.compiler.program import program
from gatework.compiler.stepping import aliases_of
from gatework.lang.expressions import Const, Count, Product, Reduce, Symbol
from plan_calls import all_sizes, backward_call, random_call

CELLS = gw.cells.catalogue()
CORE = ("lstm", "gru_reset_before", "layer_norm_lstm", "projected_lstm", "lmu")


class Group:
    """All threads of a group at once: rows [B, n] of what each of them has of its own units.

    What a stage reads of other units comes from its exchange, what it reads of earlier stages from
    what threads keep; nothing else is known.
    """

    def __init__(self, asked, call) -> None:
        self.asked, self.call = asked, call
        self.run = Run(asked.plan, call)
        self.run.sequences.update(self.run.over_all_steps(asked.plan.hoisted))
        states = asked.plan.recurrence.states
        self.states = dict(zip(states, self.run.given.states, strict=True))
        self.kept, self.written = {}, {}

    def loop(self):
        """The written sequences and the final states."""
        rows = []
        for t in self.call.steps():
            self.kept, self.written, self.new = {}, {}, {}
            for k in range(len(self.asked.phases)):
                self.stage(k, t)
            rows.append(self.written)
            self.states |= {s: self.new.get(s.name, old) for s, old in self.states.items()}
        if self.call.reverse:
            rows.reverse()
        found = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
        return found, list(self.states.values())

    def stage(self, k, t):
        phase = self.asked.phases[k]
        self.names = self.leaves(t) if k == 0 else self.names
        self.exchanged(phase, t)
        known = {v: p for v, p in phase.stage.known.items() if v.args}
        self.names = self.leaves(t) | {
            v: self.kept[p.argument] for v, p in known.items() if p.argument in self.kept
        }
        self.names |= self.totals
        for reduction, place in phase.stage.reductions:
            self.store(self.totals[reduction], place)
        for work in phase.stage.works:
            for value, places in work.stores:
                row = self.value(phase, value, t)
                for place in places:
                    self.store(row.expand(self.call.shape[1], self.call.sizes[value.size]), place)
        self.phase = phase

    def exchanged(self, phase, t):
        """What a stage waits for: the operands whole, and what is summed over tiles."""
        self.operands, self.totals = {}, {}
        if phase.exchange is None:
            return
        before = self.phase if phase is not self.asked.phases[0] else None
        rows = {*phase.exchange.operands, *(p.args[0] for p in phase.exchange.partials)}
        whole = {row: self.value(before, row, t) for row in rows}
        self.operands = {row: whole[row] for row in phase.exchange.operands}
        for partial in phase.exchange.partials:
            self.totals[partial] = self.run.evaluate(partial, whole, t)

    def leaves(self, t):
        """What is there before a step, and what is read at it."""
        found = dict(self.states) | self.run.fixed
        found |= {s: self.run.evaluate(s, {}, t) for s in self.asked.sequences}
        symbols = [v for v in self.asked.vectors if isinstance(v, Symbol)]
        return found | {v: self.run.evaluate(v, {}, t) for v in symbols}

    def value(self, phase, node, t):
        """A value unit by unit, of what threads have."""
        if node not in self.names:
            self.names[node] = self.computed(phase, node, t)
        return self.names[node]

    def computed(self, phase, node, t):
        if isinstance(node, Const | Count):
            return self.run.evaluate(node, {}, t)
        assert not isinstance(node, Reduce | Symbol), f"{node} is known to no thread"
        chain = phase.stage.chains.get(node)
        if isinstance(node, Product) or (chain and chain.sum):
            products = chain.sum.products if chain else (node,)
            terms = [self.product(phase, p, t) for p in products]
            return sum(
                [*terms, *(self.value(phase, o, t) for o in (chain.others if chain else ()))]
            )
        known = {a: self.value(phase, a, t) for a in node.args}
        return self.run.evaluate(node, known, t)

    def product(self, phase, node, t):
        if is_matrix(node):
            assert any(node in s.products for s in phase.sums)
            return self.run.evaluate(node, self.operands, t)
        if is_scaled(node):
            assert node.matrix in self.asked.vectors
            return self.run.evaluate(node, {node.args[0]: self.value(phase, node.args[0], t)}, t)
        return self.totals[node]

    def store(self, row, place):
        name = place.argument.partition(" ")[2]
        if place.kind == "new":
            self.new[name] = row
        if place.argument in self.asked.kept:
            self.kept[place.argument] = row
        if place.kind == "step":
            self.written[name] = row


def plans_and_calls(cell):
    """The plans of a cell, each with a call."""
    plans, sizes = program(cell), all_sizes(cell, 5, 6)
    call = random_call(plans.forward, (3, 2), sizes, torch.float64)
    yield plans.forward, call
    yield plans.keeping, call
    yield plans.backward, backward_call(cell, call, Reference().run(plans.keeping, call))


@pytest.mark.parametrize(
    "name", [n if n in CORE else pytest.param(n, marks=pytest.mark.slow) for n in CELLS]
)
def test_what_is_asked_is_all_that_a_step_needs(name):
    for plan, call in plans_and_calls(CELLS[name]):
        try:
            asked = ask(plan, aliases_of(plan))
        except Refused as reason:
            pytest.skip(str(reason))
        expected = Run(plan, call)
        expected.sequences.update(expected.over_all_steps(plan.hoisted))
        expected.replayed = {}
        written, states = expected.loop()
        found, last = Group(asked, call).loop()
        elsewhere = asked.aliases.keys() | plan.hoisted.keys()  # slots of states; before the loop
        assert found.keys() == written.keys() - elsewhere
        for n, row in found.items():
            torch.testing.assert_close(row, written[n], msg=lambda m, n=n: f"{n}: {m}")
        torch.testing.assert_close(last, [*states])


def exchanges(name, which="forward"):
    """The exchanges of a cell's plan: how many operands, partials and sums each stage has."""
    asked = ask(getattr(program(CELLS[name]), which), {})
    return [
        (len(p.exchange.operands), len(p.exchange.partials), len(p.sums)) if p.exchange else None
        for p in asked.phases
    ]


def test_products_that_are_only_added_share_a_sum():
    assert exchanges("lstm") == [(1, 0, 4)]
    assert exchanges("lstm", "backward") == [None, (4, 0, 1)]
    assert exchanges("gru_reset_before") == [(1, 0, 2), (1, 0, 1)]
    assert exchanges("gru_reset_before", "backward")[1:] == [(2, 0, 2), (1, 0, 1)]


def test_a_reduction_is_a_partial_sum_of_each_tile():
    operands, partials, sums = exchanges("layer_norm_lstm")[1]
    assert (operands, sums) == (0, 0)
    assert partials > 0


def test_a_matrix_of_one_row_is_a_partial_sum():
    asked = ask(program(CELLS["lmu"]).forward, {})
    assert all(isinstance(p, Product) for p in asked.phases[0].exchange.partials)
    assert {p.matrix for p in asked.phases[0].exchange.partials} <= {*asked.vectors}


@pytest.mark.parametrize(
    ("name", "reason"),
    [("delta_net", "several axes"), ("on_lstm", "arranges the units"), ("urnn", "arranges")],
)
def test_what_a_group_cannot_do_is_refused(name, reason):
    with pytest.raises(Refused, match=reason):
        ask(program(CELLS[name]).forward, {})
