"""What a layer's own settings say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gatework.checkup.layers import LAYERS
from gatework.checkup.report import Finding


def dropout_of_one_layer(layers: Mapping[str, Any]) -> Iterator[Finding]:
    """`dropout=` acts between layers; with one layer there is no between."""
    for name, layer in layers.items():
        if isinstance(layer, LAYERS) and layer.dropout and layer.num_layers == 1:
            yield Finding(
                "warning", "dropout-one-layer", name,
                f"dropout={layer.dropout} with num_layers=1: it acts on the outputs of every layer "
                "but the last, so it does nothing, and it never acts from step to step",
                "remove it; put torch.nn.Dropout on the output, or use a layer of gatework with "
                "recurrent_dropout=, which acts from step to step",
            )  # fmt: skip


def notes_on_dropout(layers: Mapping[str, Any]) -> Iterator[str]:
    """What `dropout=` does in stacks of layers."""
    for name, layer in layers.items():
        if isinstance(layer, LAYERS) and layer.dropout and layer.num_layers > 1:
            yield (
                f"{name}: dropout={layer.dropout} acts between its {layer.num_layers} layers, with "
                "new zeros at every step; it is not recurrent dropout, which layers of gatework "
                "have as recurrent_dropout="
            )
