"""Regularisation as rewriting: functions from a cell to a cell, for any cell.

Each takes a cell's equations and returns other equations; what comes out is a cell like any other,
to be looked at with `explain`, pinned, put into a layer. Noise is drawn in training mode only; in
eval mode it stands at its expected value.

What is called recurrent here is found in the equations: a matrix is recurrent if the row that it
maps is made from a state of the step before by arithmetic alone, such as h, r ⊙ h, (1 - t) ⊙ h + …
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from gatework.lang.axes import SCALAR
from gatework.lang.definition import (
    Cell,
    Noise,
    Parameter,
    WeightDrop,
    block_of,
    check_cell,
    check_known,
)
from gatework.lang.expressions import (
    Apply,
    Arrange,
    Expr,
    Product,
    Symbol,
    const,
    ends,
    postorder,
    product,
    symbol,
)
from gatework.lang.functions import ARITHMETIC, CHOICES, FUNCTIONS
from gatework.lang.words import normalised

Probabilities = float | Mapping[str, float]


def input_dropout(cell: Cell, p: float) -> Cell:
    """Dropout of the input, the same units at every step of a sequence (Gal & Ghahramani 2016).

    Args:
        cell: Any cell.
        p: The probability that a unit is 0; the others are scaled by 1/(1-p).

    Example:
        >>> from gatework import cells, explain, rewriting
        >>> print(explain(rewriting.input_dropout(cells.rnn, 0.2)).equations[-1])
        h' = tanh(W_ih[h]·(x * noise0 / 0.8) + bias_ih.h + W_hh[h]·h + bias_hh.h)
    """
    check_cell("input_dropout", cell)
    if checked("input_dropout", p) == 0:
        return cell
    noise = _noise(cell, 0, 1 - p, cell.input.size, per_step=False)
    dropped = cell.input * (noise.symbol / (1 - p))
    return replace(cell.substituted({cell.input: dropped}, cell.name), noises=(*cell.noises, noise))


def recurrent_dropout(cell: Cell, p: float) -> Cell:
    """Dropout of what recurrent matrices read, the same units at every step of a sequence.

    The state itself is handed on whole: what the memory keeps unit by unit is not dropped (Gal &
    Ghahramani 2016; one mask for all gates, another for each other row that is mapped).

    Args:
        cell: A cell with recurrent matrices.
        p: The probability that a unit is 0; the others are scaled by 1/(1-p).

    Raises:
        ValueError: If no matrix of the cell reads a state.

    Example:
        >>> from gatework import cells, explain, rewriting
        >>> print(explain(rewriting.recurrent_dropout(cells.rnn, 0.2)).equations[-1])
        h' = tanh(W_ih[h]·x + bias_ih.h + W_hh[h]·(h * noise0 / 0.8) + bias_hh.h)
    """
    check_cell("recurrent_dropout", cell)
    if checked("recurrent_dropout", p) == 0:
        return cell
    maps = recurrent_maps(cell)
    rows = dict.fromkeys(m.args[0] for m in maps)
    noises = {row: _noise(cell, k, 1 - p, row.size, per_step=False) for k, row in enumerate(rows)}

    def rewritten(node: Expr, args: tuple[Expr, ...]) -> Expr:
        if node in maps and isinstance(node, Product):
            kept = noises[node.args[0]].symbol / (1 - p)
            return product(node.matrix, args[0] * kept, node.transposed)
        return node.rebuilt(args)

    return replace(_rewritten(cell, rewritten), noises=(*cell.noises, *noises.values()))


def weight_drop(cell: Cell, p: float) -> Cell:
    """Dropout of the elements of the recurrent weights: DropConnect (Wan et al. 2013).

    Drawn once for a call, the same for all sequences and steps, as Merity, Keskar & Socher 2018
    do it in the AWD-LSTM. The parameters stay what they are: they are dropped when they are read.

    Args:
        cell: A cell with recurrent matrices.
        p: The probability that an element is 0; the others are scaled by 1/(1-p).

    Raises:
        ValueError: If no matrix of the cell reads a state, or those that do are known.
    """
    check_cell("weight_drop", cell)
    if checked("weight_drop", p) == 0:
        return cell
    recurrent = {block_of(m.matrix) for m in recurrent_maps(cell)}
    blocks = {
        n.name: tuple(b for b in n.blocks if (n.name, b) in recurrent)
        for n in cell.parameters
        if n.learned
    }
    drops = [WeightDrop(name, found, p) for name, found in blocks.items() if found]
    if not drops:
        raise ValueError(
            f"no recurrent matrix of cell {cell.name!r} is learned, so none is dropped"
        )
    return replace(cell, weight_drops=(*cell.weight_drops, *drops), retrace=None)


def zoneout(cell: Cell, p: Probabilities) -> Cell:
    """Zoneout: each unit of a state keeps its old value with probability p (Krueger et al. 2017).

    Drawn anew at every step and for every state. Within the step, the new states are read as they
    were before zoneout, as in the paper. In eval mode the state is p · old + (1-p) · new.

    Args:
        cell: Any cell.
        p: The probability, for all states, or for states by name: `{"c": 0.5, "h": 0.05}`.

    Example:
        >>> from gatework import cells, explain, rewriting
        >>> print(explain(rewriting.zoneout(cells.rnn, 0.1)).equations[-1])
        h' = noise0 * h + (1 - noise0) * tanh(W_ih[h]·x + bias_ih.h + W_hh[h]·h + bias_hh.h)
    """
    check_cell("zoneout", cell)
    by_state = by_states(cell, "zoneout", p)
    if not any(by_state.values()):
        return cell
    noises: list[Noise] = []
    new: dict[Symbol, Expr] = dict(zip(cell.states, cell.next_states, strict=True))
    for state in cell.states:
        probability = by_state[state.name]
        if probability:
            noise = _noise(cell, len(noises), probability, state.size, per_step=True)
            new[state] = noise.symbol * state + (1 - noise.symbol) * new[state]
            noises.append(noise)
    named = {**cell.names, **{s.name: v for s, v in new.items()}}
    return replace(
        cell,
        next_states=tuple(new.values()),
        names=named,
        noises=(*cell.noises, *noises),
        retrace=None,
    )


def layer_norm(cell: Cell) -> Cell:
    """Layer normalisation of every linear map (Ba, Kiros & Hinton 2016).

    Each sum of maps, W x + U h, is normalised over the units as one row, with a learned gain and
    bias that take the place of its biases: `norm_<gate>_weight` and `norm_<gate>_bias`. Where a
    gate's maps are not added to each other, each is normalised by itself. So is the new value of
    a memory, a state that is not the output, where a function of this step reads it.

    Of the LSTM and the GRU this makes the catalogue's `layer_norm_lstm` and `layer_norm_gru`. Ba
    et al. normalise W x and U h each over all gates together: `layer_norm_lstm_joint`.

    Args:
        cell: A cell that is not normalised yet.

    Raises:
        ValueError: If the cell has parameters of these names already.

    Example:
        >>> from gatework import cells, equivalent, rewriting
        >>> equivalent(rewriting.layer_norm(cells.lstm), cells.layer_norm_lstm)
        True
    """
    check_cell("layer_norm", cell)
    sums = [s for s in affine_sums(cell) if s.size != SCALAR]
    gates = list(dict.fromkeys(b for p in cell.parameters for b in p.blocks))
    stacks = [p.name for p in cell.parameters]
    sums.sort(key=lambda s: min(_place(block_of(m.matrix), gates, stacks) for m in _maps(s)))
    names = _names_of_sums(cell, sums)
    memories = _memories_read(cell)
    taken = set(names.values())
    names |= {
        v: f"norm_{n}_state" if f"norm_{n}" in taken else f"norm_{n}" for v, n in memories.items()
    }
    added: dict[str, Parameter] = {}
    whole: dict[Expr, Expr] = {}  # of what belongs to a sum: its maps alone, before the norm

    def normal(value: Expr, name: str) -> Expr:
        for part, init in (("weight", 1.0), ("bias", 0.0)):
            full = f"{name}_{part}"
            added[full] = Parameter(full, (full,), (value.size,), init=init)
        weight, bias = (symbol(f"{name}_{p}", "parameter", value.size) for p in ("weight", "bias"))
        return normalised(value) * weight + bias

    def rewritten(node: Expr, args: tuple[Expr, ...]) -> Expr:
        if _is_curve(node) and node.args[0] in memories:
            return node.rebuilt((normal(args[0], names[node.args[0]]),))
        if _is_bias(node):
            whole[node] = const(0, node.size)
        elif isinstance(node, Product):
            whole[node] = node.rebuilt(args)
        elif _is_sum(node) and whole.keys() >= set(node.args):
            whole[node] = node.rebuilt(tuple(whole[a] for a in node.args))
        if node not in whole or node.size == SCALAR:
            return node.rebuilt(args)
        return normal(whole[node], names[node]) if node in sums else whole[node]

    new = _rewritten(cell, rewritten)
    for p in cell.parameters:
        if p.name in added:
            raise ValueError(f"cell {cell.name!r} is normalised already: it has {p.name!r}")
    ordered = (f"{name}_{part}" for name in names.values() for part in ("weight", "bias"))
    gains = (added[name] for name in ordered if name in added)
    return replace(new, parameters=(*new.parameters, *gains))


def single_bias(cell: Cell) -> Cell:
    """One bias for each gate, where torch has two that are added: `bias_ih` and `bias_hh`.

    Where a sum of maps has several biases, the first one stays. Biases that are not added to each
    other stay as they are, such as the GRU's `bias_hh` of the candidate, which the reset gate
    multiplies.

    Args:
        cell: Any cell.

    Example:
        >>> from gatework import cells, rewriting
        >>> [p.name for p in rewriting.single_bias(cells.lstm).parameters]
        ['weight_ih', 'weight_hh', 'bias_ih']
    """
    check_cell("single_bias", cell)
    sums = affine_sums(cell)
    biases = [[n for n in _terms(s) if _is_bias(n)] for s in sums]
    uses = Counter(b for found in biases for b in set(found))
    spare = {b for found in biases for b in found[1:] if uses[b] == 1 and b is not found[0]}
    return cell.substituted({b: const(0, b.size) for b in spare}, cell.name)


# ---- what a cell is made of --------------------------------------------------------------------


def recurrent_maps(cell: Cell) -> tuple[Product, ...]:
    """The products whose row is made from a state of the step before by arithmetic alone.

    Raises:
        ValueError: If there is none.
    """
    carried: set[Expr] = set()
    found = []
    for node in postorder(cell.next_states):
        if isinstance(node, Product) and node.args[0] in carried:
            found.append(node)
        if isinstance(node, Symbol) and node.role == "state":
            carried.add(node)
        arithmetic = isinstance(node, Apply) and node.function in ARITHMETIC | CHOICES
        if (arithmetic or isinstance(node, Arrange)) and not carried.isdisjoint(node.args):
            carried.add(node)
    if not found:
        raise ValueError(
            f"no matrix of cell {cell.name!r} reads a state, so it has no recurrent weights"
        )
    return tuple(found)


def affine_sums(cell: Cell) -> tuple[Expr, ...]:
    """The sums of linear maps and their biases, each as large as it gets."""
    affine: set[Expr] = set()
    found: dict[Expr, None] = {}
    for node in postorder(cell.results()):
        if _is_term(node) or (_is_sum(node) and affine.issuperset(node.args)):
            affine.add(node)
        else:
            found.update(dict.fromkeys(a for a in node.args if a in affine))
    found.update(dict.fromkeys(v for v in cell.results() if v in affine))
    return tuple(s for s in found if _maps(s))


def _memories_read(cell: Cell) -> dict[Expr, str]:
    """The new states but the output that a function of the step reads, and their names."""
    first = cell.output is None
    new = dict(zip(cell.next_states[first:], (s.name for s in cell.states[first:]), strict=True))
    nodes = postorder(cell.results())
    read = (n.args[0] for n in nodes if _is_curve(n) and n.args[0] in new)
    return {v: new[v] for v in read if v.args}


def _is_curve(node: Expr) -> bool:
    """Whether a node is a function such as tanh of one value."""
    one = isinstance(node, Apply) and len(node.args) == 1
    return one and not FUNCTIONS[node.function].cheap


def _is_sum(node: Expr) -> bool:
    return isinstance(node, Apply) and node.function in ("add", "sub", "neg")


def _is_term(node: Expr) -> bool:
    return isinstance(node, Product) or _is_bias(node)


def _is_bias(node: Expr) -> bool:
    return (
        isinstance(node, Symbol)
        and node.role == "parameter"
        and node.name.startswith("bias_")
        and "." in node.name
    )


def _terms(affine: Expr) -> Iterator[Expr]:
    """The maps and biases of a sum, each once."""
    return ends(affine, _is_sum)


def _maps(affine: Expr) -> list[Product]:
    return [n for n in _terms(affine) if isinstance(n, Product)]


def _place(block: tuple[str, str], gates: list[str], stacks: list[str]) -> tuple[int, int]:
    """Where a gate's block stands: gate by gate, then in the order of the parameters."""
    return gates.index(block[1]), stacks.index(block[0])


def _names_of_sums(cell: Cell, sums: Iterable[Expr]) -> dict[Expr, str]:
    """`norm_<gate>`, by the gate that a sum goes into, else by those that are mapped in it.

    Where several have that name, what they read stands behind it; where that is the same, a number.
    """
    into = {v: n.removesuffix(".pre") for n, v in cell.names.items() if n.endswith(".pre")}
    gates = {v: into.get(v) or "_".join(_distinct(m.matrix.gate for m in _maps(v))) for v in sums}
    several = Counter(gates.values())
    names: dict[Expr, str] = {}
    for value, gate in gates.items():
        rows = _distinct(_row_name(m) for m in _maps(value)) if several[gate] > 1 else []
        name = f"norm_{gate}{''.join(rows)}"
        taken = sum(other.rstrip("0123456789") == name for other in names.values())
        names[value] = f"{name}{taken + 1}" if taken else name
    return names


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _row_name(mapped: Product) -> str:
    """What a map reads: a row of the step by its name, anything else by the group of its maps."""
    (row,) = mapped.args
    return row.name if isinstance(row, Symbol) else mapped.matrix.group


# ---- rewriting ---------------------------------------------------------------------------------


def _rewritten(cell: Cell, rule: Callable[[Expr, tuple[Expr, ...]], Expr]) -> Cell:
    """The cell with every value rewritten by a rule, given the value and its new arguments."""
    done: dict[Expr, Expr] = {}
    for node in postorder(cell.named_values()):
        done[node] = rule(node, tuple(done[a] for a in node.args))
    return cell.with_values(tuple(done[v] for v in cell.named_values()))


def _noise(cell: Cell, k: int, probability: float, size: str, *, per_step: bool) -> Noise:
    """The k-th new random row of a cell: 1 with this probability, 0 otherwise."""
    taken = [int(n.symbol.name.removeprefix("noise")) for n in cell.noises]
    name = f"noise{max(taken, default=-1) + 1 + k}"
    return Noise(symbol(name, "sequence" if per_step else "constant", size), probability)


def by_states(cell: Cell, word: str, p: Probabilities) -> dict[str, float]:
    """The probability of each state, from one for all or from some by name."""
    names = [s.name for s in cell.states]
    if not isinstance(p, Mapping):
        return dict.fromkeys(names, checked(word, p))
    check_known("state", p, names, f"cell {cell.name!r}")
    return {name: checked(f"{word}[{name!r}]", p.get(name, 0)) for name in names}


def checked(word: str, p: float) -> float:
    """A probability less than 1."""
    if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p < 1:
        raise ValueError(f"{word} should be a probability p with 0 <= p < 1, got {p!r}")
    return p
