"""What of an ONNX graph does not hang on its inputs."""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatework.needed import needed

__all__ = ["Constants", "attributes_of"]


def attributes_of(node: Any) -> dict[str, Any]:
    """Return the attributes of a node by name, texts as such."""
    helper = needed("onnx", "export").helper
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {name: _as_text(value) for name, value in values.items()}


def _as_text(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_text(one) for one in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


class Constants:
    """The values of a graph that are known without its inputs, computed where a node makes them.

    An exporter may write weights as they are in torch, and beside them the nodes that bring them
    into ONNX's order.
    """

    def __init__(self, graph: Any) -> None:
        onnx = needed("onnx", "export")
        self._stored = {one.name: one for one in graph.initializer}
        self._made = {name: node for node in graph.node for name in node.output if name}
        self._array = onnx.numpy_helper.to_array
        self._onnx = onnx
        self._value = lru_cache(None)(self._computed)

    def __contains__(self, name: str) -> bool:
        try:
            self[name]
        except KeyError:
            return False
        return True

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return a value.

        Raises:
            KeyError: with the name of the input on which it hangs.
        """
        if name in self._stored:
            found: NDArray[Any] = self._array(self._stored[name])
            return found
        return self._value(name)

    def _computed(self, name: str) -> NDArray[Any]:
        """The result of a node whose inputs are all constants."""
        if name not in self._made:
            raise KeyError(name)
        node = self._made[name]
        inputs = {read: self[read] for read in node.input if read}
        helper = self._onnx.helper
        stored = [self._onnx.numpy_helper.from_array(v, n) for n, v in inputs.items()]
        result = helper.make_empty_tensor_value_info(name)
        graph = helper.make_graph([node], "constant", [], [result], stored)
        evaluator = import_module("onnx.reference").ReferenceEvaluator
        found: Any = evaluator(helper.make_model(graph)).run([name], {})
        return np.asarray(found[0])
