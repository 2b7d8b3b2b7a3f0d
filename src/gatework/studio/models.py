"""What the studio shows: the models of a run folder, or of a folder made by `gatework compare`.

T  time steps      H  hidden size
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatework.analysis.equivalence import equivalent
from gatework.analysis.gates import keepers, named_gates, writers
from gatework.analysis.ranges import Range, ranges
from gatework.cells import catalogue
from gatework.data import Corpus
from gatework.data.characters import label_of_next, unfinished
from gatework.errors import InputError
from gatework.lang.axes import has_axes
from gatework.lang.definition import Cell
from gatework.lang.expressions import Apply, Arrange, Product, Reduce, postorder
from gatework.lang.sizes import Sizes
from gatework.lens.axes import Lengths, axis_lengths
from gatework.show import cell_svg
from gatework.show.explanation import explain
from gatework.tasks.text.model import LanguageModel
from gatework.train import Run
from gatework.train.run import runs_of

__all__ = ["Studied", "open_models"]

MOST_BEGUN = 4
"""Characters that are named where a byte only begins one."""
MOST_ROWS = 1_024
"""Rows of a map of a value with axes; where there would be more, the last axes are put together."""
MOST_HELD_OUT = 1 << 22
"""Bytes of held-out text that are looked up in."""
ORDERED_BY = 2_000
"""Bytes of held-out text by which units are put in order."""
WORDS = {
    ("lstm", "i"): "input gate: what enters the memory",
    ("lstm", "f"): "forget gate: what stays in it",
    ("lstm", "o"): "output gate: what leaves it",
    ("lstm", "g"): "candidate: what could enter",
    ("lstm", "c"): "memory cell",
    ("gru", "r"): "reset gate: how much of the past the candidate sees",
    ("gru", "z"): "update gate: how much of the past is carried over",
    ("gru", "n"): "candidate: the new state, if the past is let go",
}
"""What people call the values of the best known cells."""


@dataclass(frozen=True)
class Rows:
    """The rows in which a value is shown.

    Attributes:
        count: How many there are.
        axes: What each axis of them counts, and how long it is; none for units of one size.
        over: The axes over which a row stands for all units.
        lengths: How long all axes of the value are.
        signed: Whether the units of a row are told by their root mean square, not by their mean.
    """

    count: int
    axes: Lengths
    over: tuple[str, ...]
    lengths: Lengths
    signed: bool

    @classmethod
    def of(cls, units: int, lengths: Lengths, scale: str) -> Rows:
        """Those of a value with so many units: with as many of the first axes as there is room for.

        The first axis is always shown.
        """
        kept = dict(lengths)
        while len(kept) > 1 and math.prod(kept.values()) > MOST_ROWS:
            kept.popitem()
        over = tuple(axis for axis in lengths if axis not in kept)
        return cls(
            math.prod(kept.values()) if kept else units, kept, over, lengths, scale != "open"
        )

    def shown(self, values: Tensor) -> Tensor:
        """Values [..., n] by rows, [..., rows]."""
        if not self.over:
            return values
        whole = values.reshape(*values.shape[:-1], self.count, -1)
        return whole.square().mean(-1).sqrt() if self.signed else whole.mean(-1)

    def place(self, row: int) -> dict[str, int]:
        """Where a row stands on each axis."""
        places = np.unravel_index(row, tuple(self.axes.values())) if self.axes else ()
        return dict(zip(self.axes, map(int, places), strict=True))

    def row_at(self, other: Rows, row: int) -> int | None:
        """The row that stands where one of another value does; None if there is none, or several.

        Of values without axes that of the same number.
        """
        if not self.axes and not other.axes:
            return row if row < self.count else None
        place = other.place(row)
        if not self.axes or not self.axes.keys() <= place.keys():
            return None
        at = tuple(place[axis] for axis in self.axes)
        return int(np.ravel_multi_index(at, tuple(self.axes.values())))


@dataclass
class Studied:
    """One model of the studio.

    Attributes:
        name: Unlike that of any other in the studio.
        run: Where it comes from.
        model: In eval mode.
        lock: Held by whoever runs it.
        held_out: Text it never learned from; None where its text is no longer on this machine.
        bits: What a byte of held-out text costs it; None where that was not measured.
    """

    name: str
    run: Run
    model: LanguageModel
    held_out: bytes | None
    bits: float | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def scales(self) -> dict[str, str]:
        """How each shown value is drawn: "open", from 0 to 1, or "signed", without bounds."""
        found = {n: self.range_of(n) for n in self.values}
        return {n: "open" if r.low >= 0 and r.high <= 1 else "signed" for n, r in found.items()}

    @property
    def cell(self) -> Cell:
        """The cell, in eval mode."""
        return self.model.layer.eval_cell

    @cached_property
    def values(self) -> tuple[str, ...]:
        """The named values that are shown: gates first, then other values, output and states."""
        cell = self.cell
        reached = set(postorder(cell.results()))
        named = [
            n for n, v in cell.observables().items() if v.args and v in reached and v.size != "1"
        ]
        gates = [n for n in named if n in self.gates]
        others = (n for n in named if n not in gates)
        return (*gates, *others, *reversed(cell.result_names()))

    @cached_property
    def gates(self) -> tuple[str, ...]:
        """The gates that have a name, and so can be held."""
        found = named_gates(self.cell).items()
        return tuple(n for n, v in found if v.size == "hidden" or has_axes(v.size))

    @cached_property
    def rows(self) -> dict[str, Rows]:
        """How each value is shown: unit by unit, or head by head where there are too many."""
        sizes = self.model.layer.sizes(0)
        found = {n: axis_lengths(self.cell.names[n].size, sizes) for n in self.values}
        return {n: Rows.of(self.units(n), own, self.scales[n]) for n, own in found.items()}

    def range_of(self, name: str) -> Range:
        """Between which numbers a named value lies."""
        value = self.cell.names[name]
        return ranges([value], {})[value]

    def units(self, name: str) -> int:
        """How many units a named value has."""
        return Sizes.of(self.model.layer.sizes(0))[self.cell.names[name].size]

    @cached_property
    def letters(self) -> tuple[tuple[bytes, str], ...]:
        """The characters of more than a byte in its held-out text, the most frequent first."""
        text = (self.held_out or b"").decode("utf-8", "ignore")
        counts = Counter(c for c in text if not c.isascii())
        return tuple((c.encode(), c) for c, _ in counts.most_common())

    def byte_after(self, before: bytes, byte: int) -> dict[str, Any]:
        """A byte that may come after a text, in words: the character that it ends, or may begin."""
        begun = unfinished(before + bytes([byte]))
        within = (c for code, c in self.letters if begun and code.startswith(begun))
        return {
            "byte": byte,
            "label": label_of_next(before, byte),
            "begins": "".join(islice(within, MOST_BEGUN)),
        }

    def held(self, pins: Mapping[str, float]) -> dict[str, Tensor]:
        """Pins for the model: a number per unit, so that a slider needs no new machine code."""
        return {n: torch.full((self.units(n),), v) for n, v in pins.items()}

    def describe(self) -> dict[str, Any]:
        """What the page must know of it."""
        return {
            "name": self.name,
            "cell": self.cell.name,
            "doc": self.cell.doc.partition("\n")[0],
            "layers": self.run.config.layers,
            "units": self.run.config.hidden_size,
            "parameters": self.run.manifest.parameters,
            "corpus": self.run.manifest.source,
            "bits": self.bits,
            "order": [order.tolist() for order in self.orders],
            "values": [self._describe_value(n) for n in self.values],
            "tries": self.tries(),
        }

    @cached_property
    def orders(self) -> list[NDArray[np.int64]]:
        """For each layer, its units in an order in which those that act alike stand together."""
        text = (self.held_out or b"def f(x):\n    return x\n" * 20)[:ORDERED_BY]
        memory = self.cell.states[-1].name
        if self.rows[memory].axes:  # heads stay together
            return [np.arange(self.rows[memory].count)] * self.run.config.layers
        with self.lock, torch.no_grad():
            inputs = torch.tensor(list(text)).unsqueeze(1)
            trace = self.model.layer.trace(self.model.embedding(inputs), names=[memory])
        return [alike(directions[0][memory][:, 0].double().numpy()) for directions in trace.layers]

    def _describe_value(self, name: str) -> dict[str, Any]:
        states = [s.name for s in self.cell.states]
        kind = "gate" if name in self.gates else "state" if name in states else "value"
        return {
            "name": name,
            "kind": kind,
            "units": self.rows[name].count,
            "axes": [[axis, length] for axis, length in self.rows[name].axes.items()],
            "words": self._words(name, kind) + self._aggregated(name),
            "scale": self.scales[name],
        }

    def _aggregated(self, name: str) -> str:
        """What a row stands for, where it is not one unit."""
        rows = self.rows[name]
        if not rows.over:
            return ""
        how = "root mean square" if rows.signed else "mean"
        return f"; {how} over {' and '.join(rows.over)}"

    def tries(self) -> list[dict[str, Any]]:
        """What to try first: gates to hold, by what they do to the memory, in a few words."""
        kept = [k for gates in keepers(self.cell).values() for k in gates if k.name in self.gates]
        written = {v for gates in writers(self.cell).values() for v in gates}
        others = [n for n in self.gates if n not in {k.name for k in kept}]
        found = []
        for gate in kept[:1]:
            assert gate.name is not None
            found.append(self._try(gate.name, not gate.keeps, "it forgets"))
            found.append(self._try(gate.name, gate.keeps, "it keeps"))
        writing = [n for n in others if self.cell.names[n] in written]
        if writing:
            found.append(self._try(writing[0], False, "nothing new comes in"))
        elif others:
            found.append(self._try(others[0], False, "nothing passes it"))
        return found

    def _try(self, name: str, is_open: bool, then: str) -> dict[str, Any]:
        """A button that holds a gate: its words, and what it holds."""
        known = self._known(name)
        gate = f"the {known.partition(':')[0]}" if known else name
        words = f"{'Open' if is_open else 'Close'} {gate}: {then}"
        return {"words": words, "hold": {name: float(is_open)}}

    def _known(self, name: str) -> str:
        """What people call a value; "" unless the cell is the catalogue's, not one of its name."""
        own = self.run.config.equations is not None
        return "" if own else WORDS.get((self.cell.name, name), "")

    def _words(self, name: str, kind: str) -> str:
        if known := self._known(name):
            return known
        if kind == "state":
            return "state, and output of the cell" if name == self.cell.output_name else "state"
        if name == self.cell.output_name:
            return "output of the cell"
        for state, gates in keepers(self.cell).items():
            for gate in gates:
                if gate.name == name:
                    end = "open" if gate.keeps else "closed"
                    return f"gate: {end}, it keeps {state}"
        return "gate" if kind == "gate" else "value within the step"

    def picture(self, pins: Mapping[str, float]) -> dict[str, Any]:
        """The cell with gates held: its picture, its equations, and the cell it has become."""
        cell = self.cell.pin(dict(pins)) if pins else self.cell
        known = {"rnn": catalogue()["rnn"], **catalogue()}
        twin = next((n for n, c in known.items() if pins and _same(cell, c)), None)
        return {
            "svg": cell_svg(cell),
            "equations": list(explain(cell).equations),
            "becomes": twin and {"name": twin, "doc": known[twin].doc.partition("\n")[0]},
        }


def _same(cell: Cell, other: Cell) -> bool:
    """Whether two cells are the same, asked only where they have the same maps and functions.

    Cells with sums over the units are passed over: to match their many equal parts takes too long.
    """
    parts = _parts(cell)
    return parts == _parts(other) and not parts["sums"] and equivalent(cell, other)


def _parts(cell: Cell) -> Counter[str]:
    """How many states, maps, sums over the units, and functions of each kind a cell has."""
    found = Counter({"states": len(cell.states)})
    for node in postorder(cell.results()):
        if isinstance(node, Product):
            found["maps"] += 1
        elif isinstance(node, Reduce):
            found["sums"] += 1
        elif isinstance(node, Arrange):
            found[node.kind] += 1
        elif isinstance(node, Apply) and node.function not in ("add", "sub", "mul", "neg"):
            found[node.function] += 1
    return found


def alike(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """The units of values [T, n] in an order in which neighbours go up and down together.

    Around the circle of their weights in the two strongest principal components.
    """
    spread = values.std(axis=0)
    scaled = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1)
    _, _, components = np.linalg.svd(scaled, full_matrices=False)
    first, second = components[0], components[min(1, len(components) - 1)]
    return np.argsort(np.arctan2(second, first), kind="stable")


def open_models(path: Path, *, last: bool = False) -> list[Studied]:
    """Open a run folder, or all the runs in a folder such as `gatework compare` leaves.

    Args:
        path: The folder.
        last: Open the models that the runs ended with, not the best ones.

    Raises:
        InputError: there is no run, or one of them is damaged.
    """
    runs = runs_of(path)
    corpora: dict[str, Corpus | None] = {}
    models = []
    for run in runs:
        model = run.load_model(last=last).eval().requires_grad_(False)
        if not isinstance(model, LanguageModel) or model.alphabet is not None:
            raise InputError(
                f"{str(run.path)!r}, a run of the task {run.config.task.kind!r}",
                "a run that has learned the bytes of a text",
                f"measure it with: gatework evaluate {run.path}",
            )
        sha = run.manifest.sha256
        if sha not in corpora:
            corpora[sha] = _corpus(run)
        corpus = corpora[sha]
        held_out = bytes(corpus.valid[:MOST_HELD_OUT].tolist()) if corpus else None
        name = run.path.resolve().name or run.config.cell
        models.append(Studied(name, run, model, held_out, _bits(run, last)))
    return models


def _bits(run: Run, last: bool) -> float | None:
    """What was measured of the model that is shown."""
    if not last and (best := run.best()):
        return best.cost
    records = run.validations()
    return records[-1].cost if records else None


def _corpus(run: Run) -> Corpus | None:
    """The text that a run learned from, if it is still there and the same."""
    try:
        return cast(Corpus, run.load_source())
    except InputError:
        return None
