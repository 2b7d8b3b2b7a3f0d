"""The model of a run as an ONNX file: what it reads and gives by name, and what these mean.

Legend: T steps, B sequences, L layers, n units of a state.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gatework.export.graphs.exporting import Exported, onnx
from gatework.nn.recurrent import State
from gatework.tasks.task import SequenceModel, Standalone

__all__ = ["run_as_onnx"]

STEPS, SEQUENCES = 7, 3
"""Of the example that is recorded."""


class _ByName(nn.Module):
    """A model that takes one mapping, and gives its prediction and the states it leaves."""

    def __init__(self, model: Standalone) -> None:
        super().__init__()
        self.model = model

    def forward(self, given: Mapping[str, Tensor]) -> list[Tensor]:
        rest = dict(given)
        inputs, lengths = rest.pop("inputs"), rest.pop("lengths", None)
        begin = [rest.pop(f"initial_{s.name}") for s in self._states()]
        state: State | None = (begin[0] if len(begin) == 1 else tuple(begin)) if begin else None
        found, left = self.model(inputs, state, lengths=lengths, **rest)
        if not begin:
            return [found]
        return [found, *((left,) if isinstance(left, Tensor) else left)]

    def _states(self) -> tuple[Any, ...]:
        return self.model.layer.cell.states if self.model.streams else ()


def run_as_onnx(model: SequenceModel, path: Path, **options: Any) -> Exported:
    """Write the model of a run as an ONNX file.

    It reads `inputs` [T, B, …]: symbols of texts, the columns of what was labelled, of a forecast
    scaled features; `lengths` [B] where sequences may be of unequal lengths; what else the model
    takes. It gives `prediction`. A model that predicts at each step also reads `initial_…` states
    [L, B, n] and gives `final_…` ones, so that it can go on. What the task has understood, such as
    categories and classes, stands in the file's metadata as JSON, under "gatework".

    Args:
        model: from `gatework.load`.
        path: the file.
        options: of `gatework.export.onnx`.

    Raises:
        InputError: as `gatework.export.onnx`.
    """
    alone: Standalone = model.task.standalone(model)
    example, names = _example(alone), [s.name for s in alone.layer.cell.states]
    finals = [f"final_{name}" for name in names] if alone.streams else []
    return onnx(
        _ByName(alone),
        path,
        (example,),
        input_names=[*example],
        output_names=["prediction", *finals],
        notes={"gatework": json.dumps(_meaning(model))},
        **options,
    )


def _example(model: Standalone) -> dict[str, Tensor]:
    batch = model.example(STEPS, SEQUENCES)
    found = {"inputs": batch.inputs, **batch.more}
    if batch.lengths is not None:
        found["lengths"] = batch.lengths
    if model.streams:
        layer, sizes = model.layer, model.layer.sizes(0)
        for state in layer.cell.states:
            shape = layer.num_layers, SEQUENCES, sizes[state.size]
            found[f"initial_{state.name}"] = torch.zeros(shape)
    return found


def _meaning(model: SequenceModel) -> dict[str, Any]:
    """What the task is, and what of its data one has to know to feed the model."""
    task = model.task
    return {"task": task.settings.shown(), "unit": task.unit, "understood": task.understood}
