"""torchrecurrent's layers: many cells, each a loop in Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from gatework.bench.peers.contestant import Work
from gatework.bench.problem import Kind, Named, Problem

__all__ = ["TorchRecurrent"]


@dataclass(frozen=True)
class _Layer:
    """torchrecurrent's counterpart of a cell.

    Attributes:
        name: The class.
        ih: Our blocks of which their weight_ih and bias_ih are stacked.
        hh: The same of weight_hh and bias_hh; "fh.n" is block n of our group fh.
        vectors: Our vectors of which other tensors are stacked.
    """

    name: str
    ih: str
    hh: str
    vectors: Mapping[str, str] | None = None


PEEPHOLES = {"weight_ph": "peephole_i peephole_f peephole_o"}
LAYERS = {
    "atr": _Layer("ATR", "p", "q"),
    "lightru": _Layer("LightRU", "n f", "f"),
    "ligru": _Layer("LiGRU", "z n", "z n"),
    "mgu": _Layer("MGU", "f n", "f fh.n"),
    "mut1": _Layer("MUT1", "z r e", "r rh.n"),
    "mut2": _Layer("MUT2", "z r n", "z r rh.n"),
    "original_lstm": _Layer("OriginalLSTM", "i g o", "i g o"),
    "peephole_lstm": _Layer("PeepholeLSTM", "i f g o", "i f g o", PEEPHOLES),
    "sgrn": _Layer("SGRN", "g", "f"),
    "star": _Layer("STAR", "n k", "k"),
    "ugrnn": _Layer("UGRNN", "n g", "n g"),
}
"""Those that compute the same function. It has no plain LSTM, GRU or RNN: they are torch's."""


class TorchRecurrent:
    """Inference and training. See `Contestant`."""

    name = "torchrecurrent"

    def absence(self) -> str | None:
        """It is no requirement."""
        return None if find_spec("torchrecurrent") else "pip install torchrecurrent"

    def version(self) -> str:
        """The version that is installed."""
        return version("torchrecurrent")

    def prepare(self, problem: Problem, kind: Kind, threads: int) -> Work | None:
        """A call of its layer, with our weights."""
        if problem.listed not in LAYERS or kind == "streaming":
            return None
        layer, x = _layer(problem), problem.x
        sources = [x, *layer.parameters()]

        def infer() -> Tensor:
            output: Tensor = layer(x)[0]
            return output

        def train() -> tuple[Tensor, ...]:
            return problem.gradients(layer(x)[0], sources)

        def check_training() -> Named:
            return {"output": infer(), "gradient of input": train()[0]}

        if kind == "inference":
            return Work(infer, lambda: {"output": infer()})
        return Work(train, check_training)


def _layer(problem: Problem) -> Any:
    about, blocks = LAYERS[problem.listed], _blocks(problem)
    layer = getattr(import_module("torchrecurrent"), about.name)(*problem.shape[2:])
    with torch.no_grad():
        for name, tensor in layer.named_parameters():
            tensor.copy_(_stacked(about, name.rpartition(".")[2], blocks, problem.shape.units))
    return layer.to(problem.x).train(problem.layer.training)


def _blocks(problem: Problem) -> Named:
    """Our parameters gate by gate: "weight_ih.i", or a learned vector's name."""
    layer, values = problem.layer, problem.weights()
    sizes = {"1": 1, "input": layer.input_size, "hidden": layer.hidden_size}
    return {
        p.name if block == p.name else f"{p.name}.{block}": values[p.name][rows]
        for p in layer.cell.parameters
        for block, rows in p.spans(sizes).items()
    }


def _stacked(about: _Layer, name: str, blocks: Named, units: int) -> Tensor:
    """One of their tensors, stacked of ours; a bias that ours has not is zero."""
    if about.vectors and name in about.vectors:
        return torch.cat([blocks[token] for token in about.vectors[name].split()])
    kind, _, group = name.partition("_")
    tokens = {"ih": about.ih, "hh": about.hh}[group].split()
    names = [f"{kind}_{t}" if "." in t else f"{kind}_{group}.{t}" for t in tokens]
    if kind == "weight":
        return torch.cat([blocks[n] for n in names])
    zeros = next(iter(blocks.values())).new_zeros(units)
    return torch.cat([blocks.get(n, zeros) for n in names])
