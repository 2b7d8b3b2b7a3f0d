"""Whole models: torch's own exporter writes what is torch's, layers of ours are put in their place.

In what torch records of a model each layer of ours is one operator for each of its directions,
`gatework::forward`. It is written as a node of that name, which is then replaced by nodes of ONNX.

Legend: T steps, B sequences, I input features, n units of a state.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import nn

from gatework.autograd.job import Job
from gatework.autograd.operator import job_of
from gatework.convert.onnx_constants import Constants, attributes_of
from gatework.errors import InputError
from gatework.export.graphs.graph import Graph
from gatework.export.graphs.layers import Part, directions_nodes
from gatework.export.graphs.loop import Frame
from gatework.needed import needed

__all__ = ["model_with_layers"]

DOMAIN, OPERATOR = "gatework", "Forward"


def model_with_layers(
    model: nn.Module,
    example_inputs: tuple[Any, ...],
    opset: int,
    *,
    dynamic_shapes: Any = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> Any:
    """Return a model as ONNX's own object, checked by ONNX's own checker.

    Args:
        model: any module; it is exported as it is in eval mode.
        example_inputs: what it is called with.
        opset: the version of ONNX's operators.
        dynamic_shapes: which axes are free, as torch.export has them; all that can be when not
            given.
        input_names: of the inputs.
        output_names: of the outputs.

    Raises:
        InputError: torch cannot record or write it, or one of its layers cannot be written.
    """
    needed("onnxscript", "export")
    program = _recorded(model, example_inputs, dynamic_shapes)
    with _quiet(), _told("written as ONNX"):
        written = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=opset,
            custom_translation_table={torch.ops.gatework.forward.default: _operator},
            input_names=input_names,
            output_names=output_names,
            verbose=False,
        )
        assert written is not None
        proto = written.model_proto
    _replace_operators(proto)
    _forget_places(proto)
    _name_axes(proto.graph)
    import_module("onnx").checker.check_model(proto, full_check=True)
    return proto


def _recorded(model: nn.Module, example_inputs: tuple[Any, ...], dynamic_shapes: Any) -> Any:
    """The model as torch.export records it."""
    if dynamic_shapes is None:
        dynamic_shapes = tuple(_all_free(one) for one in example_inputs)
    with torch.no_grad(), _quiet(), _told("recorded by torch.export"):
        own = copy.deepcopy(model).cpu().eval()
        return torch.export.export(own, example_inputs, dynamic_shapes=dynamic_shapes)


def _all_free(value: Any) -> Any:
    """Every axis of every tensor, as free as the model leaves it."""
    if isinstance(value, torch.Tensor):
        return dict.fromkeys(range(value.dim()), torch.export.Dim.AUTO)
    if isinstance(value, list | tuple):
        return type(value)(map(_all_free, value))
    return {k: _all_free(v) for k, v in value.items()} if isinstance(value, dict) else None


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn what torch raises into an error that says why and what to do."""
    try:
        yield
    except Exception as error:
        causes = [error]
        while cause := causes[-1].__cause__ or causes[-1].__context__:
            causes.append(cause)  # type: ignore[arg-type]
        if own := next((one for one in causes if isinstance(one, InputError)), None):
            raise own from None
        first = f"{type(causes[-1]).__name__}: {causes[-1]}".partition("\n")[0]
        raise InputError(
            f"a model that cannot be {what}: {first}",
            "one that torch.export.export records and torch.onnx.export writes",
            "try these alone to see all of the reason; or export its layers one by one",
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch says of itself, such as packages that it misses, from the user."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def _operator(
    key: str, tensors: Sequence[Any], lengths: Any = None, keep: bool = False
) -> list[Any]:
    """Write `gatework::forward` as a node of its name; torch's exporter calls it."""
    ir, evaluator = import_module("onnx_ir"), import_module("onnxscript.evaluator")
    job = job_of(key)
    _check_written(job, tensors)
    kind = tensors[0].dtype
    if kind not in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        raise InputError(
            f"a layer of {job.cell.name!r} that reads {str(kind).lower()}",
            "float32 or float16",
            "call model.float() before",
        )
    node = ir.Node(
        DOMAIN,
        OPERATOR,
        [*tensors] if lengths is None else [*tensors, lengths],
        [
            ir.AttrString("key", key),
            ir.AttrInt64("half", int(kind == ir.DataType.FLOAT16)),
            ir.AttrInt64("lengths", int(lengths is not None)),
        ],
        num_outputs=1 + len(job.program.recurrence.states),
    )
    evaluator.default().nodes.append(node)
    return [*node.outputs]


def _check_written(job: Job, tensors: Sequence[Any]) -> None:
    """Raise where a call asks for more than an output and final states."""
    asked = {
        "resets=": job.resets is not None,
        "a trace of its values": bool(job.traced),
        "noise, as in training mode,": bool(job.cell.noises),
        "values that are held": len(tensors) != _count(job),
    }
    if found := [what for what, is_so in asked.items() if is_so]:
        raise InputError(
            f"a layer of {job.cell.name!r} that is called with {found[0]}",
            "a call with its inputs, a state and lengths",
            "leave that out of the model that is exported",
        )


def _count(job: Job) -> int:
    return 1 + len(job.cell.states) + len(job.cell.parameters) + len(job.cell.further)


def _replace_operators(proto: Any) -> None:
    """Put nodes of ONNX in the place of our operators, in place."""
    own = proto.graph
    graphs = {half: _beside(own, half) for half in (False, True)}
    constants, nodes = Constants(own), []
    for node in own.node:
        if node.domain != DOMAIN:
            nodes.append(node)
            continue
        attributes = attributes_of(node)
        graph = graphs[bool(attributes["half"])]
        _write(graph, node, attributes, constants)
        nodes += graph.nodes
        graph.nodes.clear()
    del own.node[:]
    own.node.extend(nodes)
    for graph in graphs.values():
        own.initializer.extend(graph.constants)
    _drop_unread(own)
    for imported in [one for one in proto.opset_import if one.domain == DOMAIN]:
        proto.opset_import.remove(imported)


def _beside(own: Any, half: bool) -> Graph:
    """A graph whose names are none of another's."""
    graph = Graph(half)
    named = [*own.input, *own.initializer]
    taken = {one.name for one in named} | {name for node in own.node for name in node.output}
    taken |= {node.name for node in own.node}
    for name in taken - {""}:
        graph.name(name)
    return graph


def _write(graph: Graph, node: Any, attributes: Mapping[str, Any], constants: Constants) -> None:
    """Write what a node of ours computes, under the names of its outputs."""
    job = job_of(attributes["key"])
    cell, inputs = job.cell, [*node.input]
    lengths = inputs.pop() if attributes["lengths"] else None
    counts = (1, len(cell.states), len(cell.parameters), len(cell.further))
    parts = iter(inputs)
    (input,), states, parameters, rows = ([next(parts) for _ in range(n)] for n in counts)
    arrays = {
        p.name: _learned(constants, name, cell.name)
        for p, name in zip(cell.parameters, parameters, strict=True)
    }

    def read(name: str) -> str:
        return graph.cast(name, "FLOAT") if graph.half else name

    x, first = read(input), graph.integers([0])
    begin = [graph.node("Unsqueeze", read(s), first) for s in states]  # [1, B, n]
    further = {s.name: read(name) for s, name in zip(cell.further, rows, strict=True)}
    part = Part(cell, job.sizes, arrays, job.reverse)
    frame = Frame(graph, x, lengths)
    output, finals = directions_nodes(frame, [part], x, begin, further)
    found = [output, *(graph.node("Squeeze", s, first) for s in finals)]
    for value, name in zip(found, node.output, strict=True):
        if name:
            given = graph.cast(value, "FLOAT16") if graph.half else value
            graph.nodes.append(graph.onnx.helper.make_node("Identity", [given], [name]))


def _learned(constants: Constants, name: str, cell: str) -> Any:
    try:
        return constants[name]
    except KeyError as missing:
        raise InputError(
            f"weights of a layer of {cell!r} that are computed from the input {missing.args[0]!r}",
            "weights that the model has learned",
            "export the layer where its weights are fixed",
        ) from None


def _drop_unread(own: Any) -> None:
    """Leave out weights, and nodes, that nobody reads any more."""
    wanted = {one.name for one in own.output}
    nodes = []
    for node in reversed(own.node):
        if wanted & {*node.output}:
            nodes.append(node)
            wanted |= _read_by(node)
    del own.node[:]
    own.node.extend(reversed(nodes))
    for stored in [one for one in own.initializer if one.name not in wanted]:
        own.initializer.remove(stored)
    del own.value_info[:]  # found again by who reads the file


def _read_by(node: Any) -> set[str]:
    """What a node reads, its bodies too."""
    bodies = (a.g for a in node.attribute if a.HasField("g"))
    return {*node.input}.union(*(_read_by(one) for body in bodies for one in body.node))


def _forget_places(proto: Any) -> None:
    """Leave out where on this machine each node's Python stands."""
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.input, *proto.graph.output):
        del part.metadata_props[:]
    for node in proto.graph.node:
        node.doc_string = ""


def _name_axes(own: Any) -> None:
    """Call each free axis after the first input that has it; torch numbers them."""
    names: dict[str, str] = {}
    for one in (*own.input, *own.output):
        for axis, dim in enumerate(one.type.tensor_type.shape.dim):
            if dim.dim_param.isdigit():  # free in the example's description alone
                dim.dim_value = int(dim.dim_param)
            elif dim.dim_param:
                dim.dim_param = names.setdefault(dim.dim_param, f"{one.name}_{axis}")
