"""`gatework.export.onnx`: from a layer to a file that ONNX Runtime and its like run.

Legend: T steps, B sequences, I input features, n units of a row, L layers, D directions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from gatework.errors import InputError
from gatework.export.graphs.checking import Verdict, compared
from gatework.export.graphs.graph import Graph
from gatework.export.graphs.layers import layer_nodes
from gatework.export.graphs.loop import Frame
from gatework.export.graphs.models import model_with_layers
from gatework.export.graphs.trials import compared_model
from gatework.files import write_atomically
from gatework.needed import needed
from gatework.nn import Recurrent

OPSET = 18  # the oldest whose operators say all that is needed; what runs it is from 2022 or newer
DTYPES = {torch.float32: "FLOAT", torch.float16: "FLOAT16"}
MOST = 2**31 - 1  # bytes of a file, by its format
LOOPS = ("LSTM", "GRU", "RNN", "Scan")


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Attributes:
        path: The file.
        inputs: What it reads, by the names by which it is fed.
        outputs: What it gives.
        loops: The operator of each layer, in the order in which they run: "LSTM", "GRU" and "RNN"
            are ONNX's own, a "Scan" has the cell's equations in it, one for each direction.
        difference: The largest difference from the layer in torch that was found in trial runs;
            None when it was not checked.
        note: How it was checked, or why not.
    """

    path: Path
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    loops: tuple[str, ...]
    difference: float | None
    note: str


class Form(NamedTuple):
    """What a file is to look like: see `onnx`."""

    opset: int
    dtype: torch.dtype
    lengths: bool
    states: bool


def onnx(
    model: nn.Module,
    path: str | Path,
    example_inputs: Any = None,
    *,
    opset: int = OPSET,
    dtype: torch.dtype | None = None,
    lengths: bool = False,
    states: bool = False,
    check: bool = True,
    dynamic_shapes: Any = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    notes: Mapping[str, str] | None = None,
) -> Exported:
    """Write a layer or a model as an ONNX file, as it is in eval mode.

    A layer whose cell ONNX has an operator for becomes that operator, every other one a loop
    (`Scan`) with the cell's equations. Of a model `torch.onnx.export` writes what is torch's. Steps
    and sequences are free.

    Args:
        model: A layer of `gatework.nn`: `LSTM`, `GRU`, `RNN`, or `Recurrent` of any cell. Or any
            module with such layers in it, also accelerated ones.
        path: The file.
        example_inputs: What a model is called with, a tensor or a tuple of all arguments: at least
            two sequences and steps, since an axis of length 1 is taken for a fixed one. A layer
            needs none.
        opset: The version of ONNX's operators, 18 or newer.
        dtype: `torch.float32` or `torch.float16`, that of inputs, outputs and stored weights; the
            layer's own when not given. Arithmetic is float32 with both.
        lengths: Whether the file of a layer reads how many steps each sequence has, `lengths` [B]
            of int64. A model reads what the example has.
        states: Whether it reads the initial states, `initial_h` [L * D, B, n] and so on. When it
            does not, they are zero, or the learned ones.
        check: Whether the file is run in ONNX Runtime, if that is installed, and compared with the
            layer; nothing is written if they differ.
        dynamic_shapes: Of a model, which axes are free, as `torch.export.export` has them; without
            it all that can be.
        input_names: Of a model's inputs, in their order.
        output_names: Of its outputs.
        notes: What is written beside, by name, as the file's metadata.

    Returns:
        What was written, and how it was checked.

    Raises:
        InputError: If the layer, an option or the place is none that it can be written with, if a
            package is missing, or if the file gives something else than the layer.

    Example:
        >>> import tempfile, gatework as gw
        >>> path = Path(tempfile.mkdtemp()) / "lstm.onnx"
        >>> written = gw.export.onnx(gw.nn.LSTM(4, 8), path, lengths=True)
        >>> written.inputs, written.outputs, written.loops
        (('input', 'lengths'), ('output', 'final_h', 'final_c'), ('LSTM',))
        >>> whole = torch.nn.Sequential(torch.nn.Embedding(9, 4), gw.nn.GRU(4, 8))
        >>> written = gw.export.onnx(whole, path, torch.randint(9, (7, 2)), input_names=["text"])
        >>> written.inputs, written.loops
        (('text',), ('GRU',))
    """
    opset = _checked_opset(opset)
    if example_inputs is None:
        known = _checked(model)
        form = Form(opset, _checked_dtype(known, dtype), lengths, states)
        proto = model_of(known, form)
        compare = partial(compared, layer=known, dtype=form.dtype)
    else:
        _check_free(dtype=dtype, lengths=lengths, states=states)
        inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
        proto = model_with_layers(
            model,
            inputs,
            opset,
            dynamic_shapes=dynamic_shapes,
            input_names=input_names,
            output_names=output_names,
        )
        compare = partial(compared_model, model=model, example_inputs=inputs)
    for name, note in (notes or {}).items():
        proto.metadata_props.add(key=name, value=note)
    content = proto.SerializeToString()
    verdict = compare(content) if check else Verdict(None, "not checked")
    path = Path(path)
    try:
        write_atomically(path, content)
    except OSError as error:
        came = f"{str(path)!r} {error.strerror}"
        raise InputError(came, "a file that can be written", "make its folder first") from None
    names = ([one.name for one in many] for many in (proto.graph.input, proto.graph.output))
    inputs, outputs = map(tuple, names)
    loops = tuple(n.op_type for n in proto.graph.node if n.op_type in LOOPS)
    return Exported(path, inputs, outputs, loops, *verdict)


def model_of(layer: Recurrent, form: Form) -> Any:
    """The model as ONNX's own object, checked by ONNX's own checker."""
    graph = Graph(half=form.dtype == torch.float16)
    helper = graph.onnx.helper
    inputs, outputs = _Ends(graph, layer, form).write()
    made = helper.make_graph(graph.nodes, layer.cell.name, inputs, outputs, graph.constants)
    opset = [helper.make_opsetid("", form.opset)]
    model = helper.make_model(
        made,
        opset_imports=opset,
        ir_version=helper.find_min_ir_version_for(opset),
        producer_name="gatework",
        doc_string=repr(layer),
    )
    if model.ByteSize() > MOST:
        raise InputError(
            f"a layer whose file would have {model.ByteSize():,} bytes",
            f"at most {MOST:,}, which one ONNX file holds",
            "give dtype=torch.float16, which halves it",
        )
    graph.onnx.checker.check_model(model, full_check=True)
    return model


class _Ends:
    """The inputs and outputs of a layer's graph, and what lies between them."""

    def __init__(self, graph: Graph, layer: Recurrent, form: Form) -> None:
        self.graph, self.layer, self.form = graph, layer, form
        self.sizes, self.cell = layer.sizes(0), layer.cell
        self.kind = DTYPES[form.dtype]
        self.outer = ["batch", "time"] if layer.batch_first else ["time", "batch"]
        self.places = layer.num_layers * layer.num_directions
        self.inputs: list[Any] = []

    def write(self) -> tuple[list[Any], list[Any]]:
        """The graph's inputs and outputs, described."""
        self.reserve()
        input = self.sequence("input", self.layer.input_size)
        lengths = self.lengths() if self.form.lengths else None
        states = [self.state(s) for s in self.cell.states] if self.form.states else None
        further = {
            s.name: (self.sequence if s.role == "sequence" else self.once)(
                s.name, self.sizes[s.size]
            )
            for s in self.cell.further
        }
        frame = Frame(self.graph, input, lengths)
        output, finals = layer_nodes(frame, self.layer, input, states, further)
        units = self.layer.output_size * self.layer.num_directions
        outputs = [self.given("output", self.turned(output), [*self.outer, units])]
        for s, value in zip(self.cell.states, finals, strict=True):
            dims: list[int | str] = [self.places, "batch", self.sizes[s.size]]
            outputs.append(self.given(f"final_{s.name}", value, dims))
        return self.inputs, outputs

    def reserve(self) -> None:
        """Keep the names of inputs and outputs for these, each for one."""
        states = [f"{end}_{s.name}" for s in self.cell.states for end in ("initial", "final")]
        names = ["input", "output", "lengths", *states]
        for s in self.cell.further:
            if s.name in names:
                raise InputError(
                    f"a cell with an input named {s.name!r}",
                    f"another name than {', '.join(names)}, which the file has itself",
                    "rename the input in the cell",
                )
            names.append(s.name)
        for name in names:
            self.graph.name(name)

    def read(self, name: str, dims: Sequence[int | str]) -> str:
        """An input, as float32."""
        self.inputs.append(self.graph.described(name, dims, self.kind))
        return self.graph.cast(name, "FLOAT") if self.graph.half else name

    def sequence(self, name: str, units: int) -> str:
        """What is read at each step, as [T, B, n]."""
        return self.turned(self.read(name, [*self.outer, units]))

    def once(self, name: str, units: int) -> str:
        """What is read once for a sequence, [B, n]."""
        return self.read(name, ["batch", units])

    def state(self, state: Any) -> str:
        """An initial state [L·D, B, n]."""
        return self.read(f"initial_{state.name}", [self.places, "batch", self.sizes[state.size]])

    def lengths(self) -> str:
        """The number of steps of each sequence, [B]."""
        self.inputs.append(self.graph.described("lengths", ["batch"], "INT64"))
        return "lengths"

    def turned(self, value: str) -> str:
        """A sequence of a layer with the batch first, with time first, or back again."""
        if not self.layer.batch_first:
            return value
        return self.graph.node("Transpose", value, perm=[1, 0, 2])

    def given(self, name: str, value: str, dims: Sequence[int | str]) -> Any:
        """A value as an output of this name."""
        value = self.graph.cast(value, "FLOAT16") if self.graph.half else value
        self.graph.nodes.append(self.graph.onnx.helper.make_node("Identity", [value], [name]))
        return self.graph.described(name, dims, self.kind)


# ---- what was given ----------------------------------------------------------------------------


def _checked(layer: Any) -> Recurrent:
    if isinstance(layer, Recurrent):
        return layer
    kind = type(layer)
    raise InputError(
        f"{kind.__module__}.{kind.__qualname__}, which is no layer of Gatework",
        "a layer of gatework.nn: LSTM, GRU, RNN, or Recurrent of any cell",
        "for a model give what it is called with: onnx(model, path, example_inputs)",
    )


def _check_free(**options: Any) -> None:
    """Raise where an option of layers is given for a model."""
    if given := [name for name, value in options.items() if value]:
        raise InputError(
            f"{given[0]}= for a model with example_inputs",
            "an option of models",
            "put it into the example, or into the model; it is for bare layers",
        )


def _checked_opset(opset: int) -> int:
    newest: int = needed("onnx", "export").defs.onnx_opset_version()
    if type(opset) is int and OPSET <= opset <= newest:
        return opset
    raise InputError(
        f"opset={opset!r}",
        f"a whole number from {OPSET} to {newest}, which the installed onnx knows",
        f"leave it out for {OPSET}",
    )


def _checked_dtype(layer: Recurrent, dtype: torch.dtype | None) -> torch.dtype:
    first = next(chain(layer.parameters(), layer.buffers()), torch.empty(0, dtype=torch.float32))
    wanted = first.dtype if dtype is None else dtype
    if wanted in DTYPES:
        return wanted
    raise InputError(
        f"a layer of {first.dtype}" if dtype is None else f"dtype={dtype!r}",
        "torch.float32 or torch.float16",
        "give dtype=torch.float32; the weights are rounded to it",
    )
