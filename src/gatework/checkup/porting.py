"""Weights that came from another program: gate order, GRU variant, bias.

The output is compared with the expected one; if it differs, the ways in which a port goes wrong are
tried one after the other until one of them explains it.

Legend: H hidden units, G gates.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gatework.analysis.equivalence import equivalent
from gatework.cells import gru, gru_reset_before, lstm
from gatework.checkup.report import Finding
from gatework.checkup.trial import Trial
from gatework.nn import GRU, LSTM, RNN, Recurrent
from gatework.nn.layers import NONLINEARITIES

SAME = 1e-3  # relative difference up to which outputs of two programs are the same
GATES = {"lstm": ("i", "f", "g", "o"), "gru": ("r", "z", "n"), "rnn": ("h",)}
KINDS = {"lstm": (LSTM, nn.LSTM), "gru": (GRU, nn.GRU), "rnn": (RNN, nn.RNN)}


@dataclass(frozen=True)
class Guess:
    """One way in which the weights may have been meant.

    Attributes:
        order: The gates in the order in which they lie.
        bias: "both"; "once", when one bias was copied into both; "none".
        before: Whether the GRU's reset gate stands before the product.
        other_z: Whether the GRU's update gate weighs the new value, not the old one.
    """

    order: tuple[str, ...]
    bias: str = "both"
    before: bool = False
    other_z: bool = False

    def __str__(self) -> str:
        parts = [f"gates in the order {', '.join(self.order)}"] if len(self.order) > 1 else []
        if self.before:
            parts.append("the reset gate before the product")
        if self.other_z:
            parts.append("an update gate that weighs the new value")
        if self.bias == "once":
            parts.append("the bias counted once, not in both bias_ih and bias_hh")
        if self.bias == "none":
            parts.append("no bias")
        return ", ".join(parts)

    @property
    def oddities(self) -> int:
        """How many things are other than usual."""
        usual = self.order in GATES.values()
        return (not usual) + self.before + self.other_z + (self.bias != "both")


def badly_ported(trial: Trial, expected: Any) -> Iterator[Finding]:
    """Whether the output is the expected one and, if not, what would make it so."""
    if expected is None:
        return
    wanted = torch.as_tensor(expected)
    off = _difference(trial, wanted)
    if off <= SAME:
        return
    for kind in GATES:
        layers = {n: m for n, m in trial.layers.items() if type_of(m) == kind}
        if not layers:
            continue
        for guess in guesses(kind):
            with as_guessed(trial.model, layers, kind, guess):
                now = _difference(trial, wanted)
            if now <= SAME:
                yield _explained(", ".join(layers), kind, guess, off)
                return
    yield _unexplained(trial, off)


def type_of(layer: Any) -> str | None:
    """Which of torch's three the layer is; None for other cells, and other sets of weights."""
    kind = next((k for k, classes in KINDS.items() if isinstance(layer, classes)), None)
    if kind is None or not all(hasattr(layer, n) for n in _names(layer)):
        return None
    plain = {"lstm": lstm, "gru": gru}.get(kind) or NONLINEARITIES[layer.nonlinearity]
    plain = plain if layer.bias else plain.without_bias()
    ours = layer.eval_cell if isinstance(layer, Recurrent) else None
    odd = getattr(layer, "proj_size", 0) or (ours is not None and not equivalent(ours, plain))
    return None if odd else kind


def _names(layer: Any) -> list[str]:
    """The names of the weights of all layers and directions."""
    kinds = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if layer.bias else ()))
    ways = ("", "_reverse") if layer.bidirectional else ("",)
    return [f"{k}_l{n}{w}" for n in range(layer.num_layers) for w in ways for k in kinds]


def guesses(kind: str) -> list[Guess]:
    """The ways in which the weights of a layer may have been meant, the plainest first."""
    gru = (False, True) if kind == "gru" else (False,)
    found = [
        Guess(order, bias, before, other_z)
        for order in itertools.permutations(GATES[kind])
        for bias in ("both", "once", "none")
        for before in gru
        for other_z in gru
    ]
    return sorted(found, key=lambda g: g.oddities)


@contextlib.contextmanager
def as_guessed(
    model: nn.Module, layers: Mapping[str, nn.Module], kind: str, guess: Guess
) -> Iterator[None]:
    """The layers compute as guessed, for the time being."""
    handles = [
        layer.register_forward_hook(_instead(_as_guessed(layer, kind, guess)), with_kwargs=True)
        for layer in layers.values()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _instead(other: nn.Module) -> Any:
    def hook(layer: nn.Module, args: Any, kwargs: Any, result: Any) -> Any:
        return other(*args, **kwargs)

    return hook


def _as_guessed(layer: Any, kind: str, guess: Guess) -> Recurrent:
    """A layer of ours with the guessed meaning of the weights."""
    options = {
        "num_layers": layer.num_layers, "bias": layer.bias, "batch_first": layer.batch_first,
        "bidirectional": layer.bidirectional,
    }  # fmt: skip
    sizes = layer.input_size, layer.hidden_size
    if guess.before:
        new = Recurrent(gru_reset_before, *sizes, **options)
    elif kind == "rnn":
        new = RNN(*sizes, nonlinearity=layer.nonlinearity, **options)
    else:
        new = {"lstm": LSTM, "gru": GRU}[kind](*sizes, **options)
    weights = {n: _meant(n, getattr(layer, n).detach(), kind, guess) for n in _names(layer)}
    if guess.before:
        weights = dict(_with_reset_before(weights, layer.hidden_size))
    new.load_state_dict(weights)
    return new.to(next(layer.parameters())).eval()


def _meant(name: str, value: Tensor, kind: str, guess: Guess) -> Tensor:
    """A tensor with its gates in our order."""
    empty = {"both": (), "once": ("bias_hh",), "none": ("bias_ih", "bias_hh")}[guess.bias]
    if name.startswith(empty):
        value = torch.zeros_like(value)
    blocks = dict(zip(guess.order, value.chunk(len(guess.order)), strict=True))
    if guess.other_z:
        blocks["z"] = -blocks["z"]  # 1 - sigmoid(v) is sigmoid(-v)
    return torch.cat([blocks[g] for g in GATES[kind]])


def _with_reset_before(weights: Mapping[str, Tensor], units: int) -> Iterator[tuple[str, Tensor]]:
    """The names of the other variant: its candidate has maps of its own."""
    for name, value in weights.items():
        if "_hh" in name:
            yield name, value[: 2 * units]
            yield name.replace("_hh", "_rh"), value[2 * units :]
        else:
            yield name, value


def _difference(trial: Trial, wanted: Tensor) -> float:
    """How far the first output of the expected shape is from it, relative to its size."""
    outputs = [o for o in trial.run().outputs if o.shape == wanted.shape]
    if not outputs:
        shapes = [list(o.shape) for o in trial.run().outputs]
        raise ValueError(
            f"expected= has the shape {list(wanted.shape)}; the model's outputs have {shapes}"
        )
    scale = float(wanted.abs().max()) + 1e-12
    return float((outputs[0].detach().cpu() - wanted.cpu()).abs().max()) / scale


def _explained(name: str, kind: str, guess: Guess, off: float) -> Finding:
    mend = {
        "order": f"reorder the blocks of every weight and bias to {', '.join(GATES[kind])}",
        "before": "use gatework.nn.Recurrent(gatework.cells.gru_reset_before, …)",
        "other_z": "change the sign of the update gate's weights and biases",
        "once": "leave one of the two biases zero",
        "none": "make the layer with bias=False",
    }
    steps = [
        *([mend["order"]] if guess.order != GATES[kind] else []),
        *([mend["other_z"]] if guess.other_z else []),
        *([mend["before"]] if guess.before else []),
        *([mend[guess.bias]] if guess.bias != "both" else []),
    ]
    return Finding(
        "error", "port", name,
        f"the output is off by {off:.1g} of the expected one's size, and is the same with {guess}",
        "; ".join(steps),
    )  # fmt: skip


def _unexplained(trial: Trial, off: float) -> Finding:
    layers = trial.layers.items()
    biases = {n: [p for k, p in m.named_parameters() if k.startswith("bias")] for n, m in layers}
    empty = [n for n, values in biases.items() if not any(bool(v.any()) for v in values)]
    lost = f"; {', '.join(empty)}: every bias is zero or missing" if empty else ""
    return Finding(
        "error", "port", ", ".join(trial.layers),
        f"the output is off by {off:.1g} of the expected one's size; no order of gates, no variant "
        f"of the GRU and no double bias explains it{lost}",
        "compare layer by layer: the weights' transposition, the biases, the initial state, the "
        "activations, and the layers around",
    )  # fmt: skip
