"""Works that do not wait for each other, such as the directions of a layer, at the same time.

On CUDA each but the first has a stream of its own. What comes before them is done before they
begin, and what comes after them waits for all, so memory can be handed on as in one stream; only
what such a work has made is told to the allocator, since it lives on elsewhere. A backward pass
runs in the streams of its forward pass, which torch's autograd sees to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")


class Streams(Protocol):
    """The streams of a device that works besides the first run in."""

    def aside(self, number: int) -> AbstractContextManager[Any]:
        """While entered, what is launched runs in a stream of its own."""

    def join(self, number: int, made: Sequence[Tensor]) -> None:
        """Wait for that stream where it matters, and for what was made in it."""


class CudaStreams:
    """Those of a card, beside the stream that is current."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._now = device, torch.cuda.current_stream(device)
        self._before = self._now.record_event()
        self._others: dict[int, torch.cuda.Stream] = {}

    def aside(self, number: int) -> AbstractContextManager[Any]:
        """Begin after all that was launched before the first of these works."""
        other = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        self._others[number] = other  # out of a pool: it costs nothing to ask again
        other.wait_event(self._before)
        context: AbstractContextManager[Any] = torch.cuda.stream(other)
        return context

    def join(self, number: int, made: Sequence[Tensor]) -> None:
        """Let the current stream wait, and keep what was made until it has read it."""
        self._now.wait_stream(self._others[number])
        for tensor in made:
            tensor.record_stream(self._now)


STREAMS: dict[str, Callable[[torch.device], Streams]] = {"cuda": CudaStreams}
"""What gives a kind of device its streams; works on others run one after the other."""


def at_once(
    work: Callable[..., Result], given: Sequence[tuple[Any, ...]], device: torch.device
) -> list[Result]:
    """The results of works that do not wait for each other.

    Args:
        work: What is done.
        given: The arguments of each.
        device: Where.
    """
    if len(given) == 1 or device.type not in STREAMS or torch.compiler.is_compiling():
        return [work(*one) for one in given]
    streams, results = STREAMS[device.type](device), [work(*given[0])]
    for number, one in enumerate(given[1:]):
        with streams.aside(number):
            results.append(work(*one))
    for number, result in enumerate(results[1:]):
        streams.join(number, list(_tensors(result)))
    return results


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
