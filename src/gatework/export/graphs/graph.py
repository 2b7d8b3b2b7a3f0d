"""An ONNX graph while it is written: its nodes, its constants, names that are never given twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatework.needed import needed

Numbers = NDArray[Any]
Dims = Sequence[int | str]


class Graph:
    """The nodes of a graph, or of the body of a loop, in the order in which they run.

    Constants stand in the outermost graph, and bodies read them there, as they read every value of
    the graphs around them. Arithmetic is float32 throughout.

    Args:
        half: Whether weights are stored in float16.
        around: The graph in which a body stands.

    Attributes:
        nodes: The nodes.
        constants: The weights and other constants; those of a body stand in the graph around it.

    Example:
        >>> graph = Graph()
        >>> graph.node("Add", "x", graph.number(1.0), name="y")
        'y'
        >>> [node.op_type for node in graph.nodes]
        ['Add']
    """

    def __init__(self, half: bool = False, around: Graph | None = None) -> None:
        self.onnx: Any = needed("onnx", "export")
        self.half = half
        self.root: Graph = self if around is None else around.root
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._names: Counter[str] = Counter()
        self._known: dict[Any, str] = {}

    def body(self) -> Graph:
        """An empty graph for the body of a loop in this one."""
        return Graph(self.half, self)

    def name(self, wish: str) -> str:
        """A name that nothing in the graph has."""
        names = self.root._names
        names[wish] += 1
        free = wish if names[wish] == 1 else f"{wish}_{names[wish]}"
        return free if free == wish else self.name(free)

    # ---- nodes ---------------------------------------------------------------------------------

    def node(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node of one output, and return what this is called."""
        (output,) = self.several(kind, inputs, [name or kind.lower()], **attributes)
        return output

    def several(
        self, kind: str, inputs: Sequence[str], names: Sequence[str], **attributes: Any
    ) -> list[str]:
        """Add a node of several outputs; of what nobody reads the name is ""."""
        outputs = [self.name(n) if n else "" for n in names]
        made = self.onnx.helper.make_node(kind, inputs, outputs, **attributes)
        made.name = self.name(f"{kind}_node")
        self.nodes.append(made)
        return outputs

    def cast(self, value: str, kind: str) -> str:
        """A value as "FLOAT", "FLOAT16", "BOOL", "INT32" or "INT64"."""
        return self.node("Cast", value, to=getattr(self.onnx.TensorProto, kind))

    # ---- constants -----------------------------------------------------------------------------

    def integers(self, values: Sequence[int]) -> str:
        """A list of whole numbers."""
        return self._constant("integers", np.array(values, np.int64))

    def number(self, value: float) -> str:
        """A single number, which is repeated beside any row."""
        return self.numbers(np.array(value))

    def numbers(self, values: Numbers) -> str:
        """Known numbers."""
        return self._constant("number", values.astype(np.float32))

    def weight(self, values: Numbers, name: str) -> str:
        """Learned numbers, stored as exact as the graph has them, read as float32."""
        found = self._constant(name, values.astype(np.float16 if self.half else np.float32))
        if not self.half:
            return found
        cast = ("cast", found)
        if cast not in self.root._known:
            self.root._known[cast] = self.root.cast(found, "FLOAT")
        return self.root._known[cast]

    def _constant(self, name: str, values: Numbers) -> str:
        """Equal constants are one."""
        key = values.dtype.str, values.shape, sha256(values.tobytes()).digest()
        known = self.root._known
        if key not in known:
            known[key] = self.name(name)
            made = self.onnx.numpy_helper.from_array(np.ascontiguousarray(values), known[key])
            self.root.constants.append(made)
        return known[key]

    # ---- rows ----------------------------------------------------------------------------------

    def slice(self, value: str, start: int, stop: int, axis: int) -> str:
        """The part of a value from `start` to before `stop` along an axis."""
        bounds = (self.integers([k]) for k in (start, stop, axis))
        return self.node("Slice", value, *bounds)

    def reshape(self, value: str, lead: int, rest: Sequence[int], name: str = "") -> str:
        """A value whose axes after the first `lead` are others."""
        return self.node("Reshape", value, self.integers([*[0] * lead, *rest]), name=name)

    def outputs(self, values: Sequence[str], names: Sequence[str]) -> list[str]:
        """The values by names that nodes of this graph give them, each once, as outputs must be."""
        own = {o for made in self.nodes for o in made.output}
        found: list[str] = []
        for value, name in zip(values, names, strict=True):
            ready = value in own and value not in found
            found.append(value if ready else self.node("Identity", value, name=name))
        return found

    def described(self, name: str, dims: Dims, kind: str = "FLOAT") -> Any:
        """An input or output: its name, its dtype, its axes, those that are free by name."""
        return self.onnx.helper.make_tensor_value_info(
            name, getattr(self.onnx.TensorProto, kind), list(dims)
        )
