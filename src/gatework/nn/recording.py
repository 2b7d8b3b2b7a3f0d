"""What records modules, and what it finds in ours.

torch.jit.trace         the operator, see `gatework.autograd.routes`
torch.fx                one node for each call, as for the modules of torch.nn
torch.jit.script        an error: TorchScript compiles Python code, and equations are none
ONNX, the older way     an error: ONNX has no such operator
a stream                an error, where a graph is made: it keeps its state to itself
"""

from __future__ import annotations

import warnings
from typing import Any, NoReturn

from torch import nn
from torch.jit._trace import TracerWarning

from gatework.autograd.operator import check_onnx
from gatework.backends.gate import is_freed, is_graph_made


class Recordable(nn.Module):
    """A module whose calls torch's recorders can follow, or are told why they cannot."""

    def _slow_forward(self, *args: Any, **options: Any) -> Any:
        """What torch.jit.trace calls in the place of `forward`.

        There a shape is a tensor, and each check of one a warning, as in torch.nn, where torch
        keeps it to itself: that the check has been made for the recorded shapes.
        """
        if len(args) > 2:  # ONNX export hands over all defaults, by position
            check_onnx(type(self).__name__)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", TracerWarning)
            return super()._slow_forward(*args, **options)  # type: ignore[no-untyped-call]

    def __prepare_scriptable__(self) -> NoReturn:
        """What torch.jit.script calls first."""
        raise RuntimeError(
            f"torch.jit.script compiles Python code, and {type(self).__name__} runs equations: use "
            "torch.export.export or torch.jit.trace, which record it as one operator. A model that "
            "gatework.accelerate has changed is torch.nn's again after gatework.restore"
        )

    def _as_node(self, input: Any, *states: Any, inputs: Any, **options: Any) -> Any:
        """The call as one node of a graph of torch.fx, on whose proxies it was called."""
        name = input.tracer.path_of_module(self)
        if not name:
            raise RuntimeError(
                f"torch.fx looks into the module that it is given, and {type(self).__name__} runs "
                "equations; trace a model that holds it, where it becomes one node, or use "
                "torch.export.export"
            )
        given = [s for s in states if s is not None]
        options = {n: v for n, v in options.items() if v is not None} | inputs
        return input.tracer.create_proxy("call_module", name, (input, *given), options)


def check_live(x: Any) -> None:
    """Raise unless a stream can take a step now, with an input that has its numbers."""
    if is_graph_made():
        raise RuntimeError(
            "the state of a stream is no part of a graph, so its steps cannot be recorded; record "
            "the layer, which takes the state and returns it, with torch.export.export"
        )
    if is_freed(x):
        raise ValueError("the input has no memory: its storage was freed")
