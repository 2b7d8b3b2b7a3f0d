"""A file beside the layer that it was made of: run in ONNX Runtime, and compared.

Legend: T steps, B sequences, n units of a row.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call

from gatework.errors import InputError
from gatework.lang.expressions import Apply, postorder
from gatework.lang.functions import JUMPS
from gatework.lens.watching import in_eval_mode
from gatework.nn import Recurrent

TRIALS = ((1, 1), (3, 7), (2, 20))  # B and T
TOLERATED = {torch.float32: 1e-4, torch.float16: 1e-2}
RARE = 0.01  # of the numbers behind a jump, which a rounding may set off elsewhere


class Verdict(NamedTuple):
    """The largest difference, None when nothing was compared; what was done."""

    difference: float | None
    note: str


NOT_CHECKED = Verdict(None, "not checked: pip install onnxruntime, and it will be")


def compared(content: bytes, layer: Recurrent, dtype: torch.dtype) -> Verdict:
    """Run a file and the layer on the same numbers, at several batch sizes and lengths.

    Raises:
        InputError: If they differ, or ONNX Runtime does not take the file.
    """
    session = session_of(content)
    if session is None:
        return NOT_CHECKED
    with in_eval_mode(layer):
        worst = max(_difference(session, layer, dtype, *trial) for trial in TRIALS)
    sizes = ", ".join(f"{steps} of {batch}" for batch, steps in TRIALS)
    return Verdict(worst, f"{equal_within(worst)}; steps and sequences: {sizes}")


def session_of(content: bytes) -> Any:
    """What runs a file; None where ONNX Runtime is not installed.

    Raises:
        InputError: If it does not take the file.
    """
    if find_spec("onnxruntime") is None:
        return None
    runtime = import_module("onnxruntime")
    try:
        return runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own kinds, which have no common base
        raise InputError(
            f"ONNX Runtime {runtime.__version__} does not take the file: {error}",
            "a file that it runs",
            "give a smaller opset=, or check=False for another runtime",
        ) from None


def equal_within(worst: float) -> str:
    """How near a file came, in words."""
    version = import_module("onnxruntime").__version__
    return f"equal within {worst:.1e} in ONNX Runtime {version}"


def _difference(
    session: Any, layer: Recurrent, dtype: torch.dtype, batch: int, steps: int
) -> float:
    """The largest difference of one trial."""
    feed = _numbers(session, dtype, batch, steps)
    expected = _of_layer(layer, dtype, dict(feed))
    found = session.run(None, {n: v.numpy() for n, v in feed.items()})
    names = [one.name for one in session.get_outputs()]
    rare = rare_of(layer)
    pairs = zip(names, map(torch.from_numpy, found), expected, strict=True)
    return max(difference_of(n, a.float(), b.float(), TOLERATED[dtype], rare) for n, a, b in pairs)


def _numbers(session: Any, dtype: torch.dtype, batch: int, steps: int) -> dict[str, Tensor]:
    """Random numbers for each input, the same ones each time."""
    chance, free = torch.Generator().manual_seed(0), {"batch": batch, "time": steps}
    feed = {}
    for one in session.get_inputs():
        shape = [free.get(n, n) for n in one.shape]
        if one.name == "lengths":
            feed[one.name] = torch.tensor([steps, steps // 2, 0][:batch])
        else:
            feed[one.name] = torch.randn(shape, generator=chance).to(dtype)
    return feed


def _of_layer(layer: Recurrent, dtype: torch.dtype, feed: dict[str, Tensor]) -> list[Tensor]:
    """What the layer makes of them on the CPU: the output, then the final states."""
    own = {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
    weights = {n: w.detach().to("cpu", dtype) for n, w in own.items()}
    states = tuple(feed.pop(n) for n in [*feed] if n.startswith("initial_"))
    hx = states[0] if len(states) == 1 else states or None
    with torch.no_grad():
        output, final = functional_call(layer, weights, (feed.pop("input"), hx), feed)
    return [output, *((final,) if isinstance(final, Tensor) else final)]


def rare_of(layer: Recurrent) -> float:
    """What share of a layer's numbers may be others: those of a cell that jumps."""
    nodes = postorder(layer.eval_cell.results())
    jumps = any(isinstance(n, Apply) and n.function in JUMPS for n in nodes)
    return RARE if jumps else 0.0


def difference_of(
    name: str, found: Tensor, expected: Tensor, tolerated: float, rare: float
) -> float:
    """The largest difference of two tensors; that which is tolerated grows with the numbers."""
    apart = torch.where(found.isnan() & expected.isnan(), 0, (found - expected).abs())
    wrong = ~(apart <= tolerated * (1 + expected.abs()))
    worst = float(apart[~wrong].max()) if not wrong.all() else 0.0
    if float(wrong.float().mean()) <= rare:
        return worst
    raise InputError(
        f"{name!r} of the file differs from that of the layer by {float(apart.max()):.3g}",
        f"at most {tolerated:g} beside numbers of about 1",
        "nothing was written; check=False writes it all the same, and please report the cell",
    )
