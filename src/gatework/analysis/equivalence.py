"""Whether two cells compute the same, whatever their parameters are called.

Both cells are brought to a normal form, in which each value is a polynomial: a sum of products of
atoms, an atom being an input, a state, a learned value or a function of normal forms. Two normal
forms are matched atom by atom while one renaming of the parameters is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gatework.lang.axes import lacking
from gatework.lang.definition import Cell, block_of, check_cell
from gatework.lang.expressions import (
    Apply,
    Arrange,
    Const,
    Count,
    Expr,
    Product,
    Reduce,
    Symbol,
    postorder,
)


@dataclass(frozen=True, eq=False)
class Atom:
    """What a polynomial is made of. Equal atoms are one object, so identity is equality.

    Attributes:
        kind: What it is.
        name: A name that may be renamed; "" when it has none.
        args: The polynomials it is a function of.
        shape: A digest of all of that without names: only atoms of one shape can match.
        order: The how-manieth atom it is, to sort atoms by.
    """

    kind: str
    name: str
    args: tuple[Polynomial, ...]
    shape: str
    order: int


Monomial = tuple[Atom, ...]  # a product of atoms, in a fixed order
Polynomial = tuple[tuple[Monomial, float], ...]  # monomials with their factors, in a fixed order
Renaming = Mapping[str | Atom, str | Atom]  # names, and the atoms that match under them

_LARGEST = 2000  # monomials; a larger product is kept as it is written
_EVEN_ORDER = {"minimum", "maximum"}  # functions whose arguments may be swapped


def equivalent(a: Cell, b: Cell) -> bool:
    """Whether two cells have the same equations up to the names of their parameters.

    What parameters start from does not count; known ones are the same only if their numbers are.

    Decided on the equations: sums and products are expanded and reordered freely. True means the
    cells are equal for all inputs and parameters; cells that are equal for a reason that algebra
    does not show (such as 1 - σ(v) = σ(-v)) are told apart.

    Args:
        a: A cell.
        b: Another cell.

    Example:
        >>> from gatework import cells, equivalent
        >>> equivalent(cells.gru.pin(r=1, z=0), cells.rnn)
        True
        >>> equivalent(cells.gru.pin(r=1, z=0.5), cells.rnn)
        False
    """
    check_cell("equivalent", a)
    check_cell("equivalent", b)
    return renaming(a, b) is not None


def renaming(a: Cell, b: Cell) -> dict[str, str] | None:
    """What each learned part of a cell is called in another of the same equations.

    Args:
        a: A cell.
        b: Another cell.

    Returns:
        By the names of blocks in `a` those in `b`, such as `weight_ih.i` of the stacked parameter
        `weight_ih`; None where the equations are others.

    Example:
        >>> from gatework import cells
        >>> renaming(cells.rnn, cells.gru.pin(r=1, z=0))["weight_hh.h"]
        'weight_hh.n'
    """
    if _rows(a) != _rows(b) or _weight_drops(a) != _weight_drops(b):
        return None
    forms = _Forms()
    pairs = list(zip(forms.of(a), forms.of(b), strict=True))
    found = next(_match_all(pairs, {}), None)
    if found is None:
        return None
    names = {k: v for k, v in found.items() if isinstance(k, str) and isinstance(v, str)}
    return {_block(k): _block(v) for k, v in names.items()}


def _block(name: str) -> str:
    """A block by the name of its parameter, from that of an atom."""
    kind, _, block = name.partition(" ")
    return f"weight_{block}" if kind == "matrix" else block


def _rows(cell: Cell) -> list[tuple[str, str]]:
    """What each input and state is: the places of its arguments count, not their names."""
    return [(s.role, s.size) for s in (*cell.inputs, *cell.states)]


def _weight_drops(cell: Cell) -> list[tuple[float, int]]:
    """How many blocks of weights are dropped out with which probability."""
    return sorted((d.probability, len(d.blocks)) for d in cell.weight_drops)


# ---- normal form -------------------------------------------------------------------------------


class _Forms:
    """Normal forms that share their atoms."""

    def __init__(self) -> None:
        self.atoms: dict[tuple[str, str, tuple[Polynomial, ...]], Atom] = {}
        self.numbers: list[Any] = []  # that known parameters have, whatever these are called
        self.known: dict[str, str] = {}

    def of(self, cell: Cell) -> list[Polynomial]:
        """The normal form of the output and of each new state."""
        rows = (*cell.inputs, *cell.states)
        places: dict[Expr, str] = {s: f"row {k}" for k, s in enumerate(rows)}
        chances = {n.symbol: n.probability for n in cell.noises}
        self.known = {p.name: self.mark_of(p.init) for p in cell.parameters if not p.learned}
        forms: dict[Expr, Polynomial] = {}
        for node in postorder(cell.results()):
            if node in places:
                forms[node] = self.atom(places[node])
            elif isinstance(node, Symbol) and node in chances:
                forms[node] = self.atom(f"noise {node.role} {chances[node]}", node.name)
            else:
                forms[node] = self.normal(node, tuple(forms[a] for a in node.args))
        return [forms[v] for v in (cell.output_value, *cell.next_states)]

    def mark_of(self, numbers: Any) -> str:
        """What tells known numbers from others and from learned ones."""
        if numbers not in self.numbers:
            self.numbers.append(numbers)
        return f" known {self.numbers.index(numbers)}"

    def atom(self, kind: str, name: str = "", args: tuple[Polynomial, ...] = ()) -> Polynomial:
        """One atom as a polynomial."""
        key = kind, name, args
        if key not in self.atoms:
            shape = _digest([kind, *(_shape_of(a) for a in args)])
            self.atoms[key] = Atom(kind, name, args, shape, len(self.atoms))
        return (((self.atoms[key],), 1.0),)

    def normal(self, node: Expr, args: tuple[Polynomial, ...]) -> Polynomial:
        """The normal form of a value whose arguments have these."""
        if isinstance(node, Const):
            return _collected({(): node.value})
        if isinstance(node, Count):
            return self.atom(f"count {node.of}")
        if isinstance(node, Symbol):
            mark = self.known.get(node.name, "")
            return self.atom(f"parameter {node.size}{mark}", f"vector {node.name}")
        if isinstance(node, Product):
            m, turned = node.matrix, "transposed " if node.transposed else ""
            mark = self.known.get(block_of(m)[0], "")
            kind = f"{turned}product {m.rows} {m.cols} {m.per or ''}{mark}"
            return self.atom(kind, f"matrix {m.group}.{m.gate}", args)
        if isinstance(node, Reduce):
            over = lacking(node.args[0].size, node.size)
            return self.atom(f"{node.function} over {over}", "", args)
        if isinstance(node, Arrange):
            return self.arranged(node, args)
        assert isinstance(node, Apply)
        return self.function(node.function, args)

    def arranged(self, node: Arrange, args: tuple[Polynomial, ...]) -> Polynomial:
        """The normal form of rows in other places, which is linear: term by term."""
        total = _collected({})
        for k, row in enumerate(args):
            details = node.details[k : k + 1] if node.kind == "cat" else node.details
            kind = f"{node.kind} {details} of {node.args[k].size} in {node.size} along {node.axis}"
            for monomial, factor in row:
                atom = self.atom(kind, "", (((monomial, 1.0),),))
                total = _sum(total, _scaled(atom, factor))
        return total

    def function(self, function: str, args: tuple[Polynomial, ...]) -> Polynomial:
        """The normal form of a pointwise function."""
        if function == "add":
            return _sum(args[0], args[1])
        if function == "sub":
            return _sum(args[0], _scaled(args[1], -1.0))
        if function == "neg":
            return _scaled(args[0], -1.0)
        if function == "mul" and len(args[0]) * len(args[1]) <= _LARGEST:
            return _times(args[0], args[1])
        if function == "div":
            return _times(args[0], self.atom("inverse", "", (args[1],)))
        if function == "pow" and args[1] == _collected({(): 2.0}):
            return _times(args[0], args[0])
        if function in _EVEN_ORDER:
            args = tuple(sorted(args, key=_shape_of))
        return self.atom(function, "", args)


def _digest(parts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _monomial_shape(monomial: Monomial) -> str:
    return "·".join(sorted(a.shape for a in monomial))


def _shape_of(polynomial: Polynomial) -> str:
    return _digest(sorted(f"{c:.17g}·{_monomial_shape(m)}" for m, c in polynomial))


def _collected(terms: Mapping[Monomial, float]) -> Polynomial:
    kept = ((m, c) for m, c in terms.items() if c != 0)
    return tuple(sorted(kept, key=lambda term: ([a.order for a in term[0]], term[1])))


def _sum(a: Polynomial, b: Polynomial) -> Polynomial:
    terms = dict(a)
    for monomial, factor in b:
        terms[monomial] = terms.get(monomial, 0.0) + factor
    return _collected(terms)


def _scaled(a: Polynomial, factor: float) -> Polynomial:
    return _collected({m: c * factor for m, c in a})


def _times(a: Polynomial, b: Polynomial) -> Polynomial:
    terms: dict[Monomial, float] = {}
    for left, x in a:
        for right, y in b:
            monomial = tuple(sorted(left + right, key=lambda atom: atom.order))
            terms[monomial] = terms.get(monomial, 0.0) + x * y
    return _collected(terms)


# ---- matching: every way in which one form is the other under a renaming -------------------------


def _match_all(pairs: list[tuple[Polynomial, Polynomial]], names: Renaming) -> Iterator[Renaming]:
    if not pairs:
        yield names
        return
    (a, b), *rest = pairs
    for extended in _match(a, b, names):
        yield from _match_all(rest, extended)


def _match(a: Polynomial, b: Polynomial, names: Renaming) -> Iterator[Renaming]:
    """The renamings, extending `names`, under which two polynomials are equal."""
    if len(a) != len(b):
        return
    if not a:
        yield names
        return
    (monomial, factor), rest = a[0], a[1:]
    for k, (other, other_factor) in enumerate(b):
        same = factor == other_factor and _monomial_shape(monomial) == _monomial_shape(other)
        if same:
            for extended in _match_atoms(monomial, other, names):
                yield from _match(rest, b[:k] + b[k + 1 :], extended)


def _match_atoms(a: Monomial, b: Monomial, names: Renaming) -> Iterator[Renaming]:
    if len(a) != len(b):
        return
    if not a:
        yield names
        return
    first, rest = a[0], a[1:]
    for k, other in enumerate(b):
        for extended in _match_atom(first, other, names):
            yield from _match_atoms(rest, b[:k] + b[k + 1 :], extended)


def _match_atom(a: Atom, b: Atom, names: Renaming) -> Iterator[Renaming]:
    if a.shape != b.shape:
        return
    if a in names:  # under one renaming an atom is one other atom
        if names[a] is b:
            yield names
        return
    renamed = _renamed(a.name, b.name, names)
    if renamed is None:
        return
    for args in (b.args, b.args[::-1]) if a.kind in _EVEN_ORDER else (b.args,):
        for extended in _match_all(list(zip(a.args, args, strict=True)), renamed):
            yield {**extended, a: b}


def _renamed(a: str, b: str, names: Renaming) -> Renaming | None:
    """The renaming extended by a → b, or None when it contradicts what is renamed already."""
    if not a and not b:
        return names
    if a in names or b in names.values():
        return names if names.get(a) == b else None
    return {**names, a: b}
