"""The forms in which sequences come and go: time or batch first, alone, packed, listed, nested.

Legend: T steps, B sequences, n features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import (
    PackedSequence,
    pack_padded_sequence,
    pad_packed_sequence,
    pad_sequence,
)

from gatework.backends.gate import are_watched
from gatework.nn import checks
from gatework.nn.given import as_rows
from gatework.nn.precision import Precision, within


class Padded(NamedTuple):
    """Sequences as [T, B, n], with what is needed to give results in the form they came in.

    Attributes:
        sequence: [T, B, n].
        lengths: The steps of each sequence [B]; None when all have T.
        batch_first: Whether results are [B, T, n].
        batched: Whether results have a batch dimension.
        packed: The packed sequence they came from.
        listed: The steps of each sequence, if they came one by one; results do so then.
        nested: The nested tensor that they came in, if they did.
        dtype: What results are rounded to; None when they are given as they are.
    """

    sequence: Tensor
    lengths: Tensor | None
    batch_first: bool
    batched: bool = True
    packed: PackedSequence | None = None
    listed: Sequence[int] | None = None
    dtype: torch.dtype | None = None
    nested: Tensor | None = None

    @classmethod
    def of(cls, layer: str, input: Any, lengths: Any, batch_first: bool) -> Padded:
        """Bring an input of any form to [T, B, n]."""
        if isinstance(input, PackedSequence):
            return cls._unpacked(input, lengths, batch_first)
        if isinstance(input, (list, tuple)):
            return cls._padded(layer, input, lengths, batch_first)
        if isinstance(input, Tensor) and input.is_nested:
            checks.check_nested(layer, input)
            padded = cls._padded(layer, input.unbind(), lengths, batch_first)
            return padded._replace(nested=input)
        checks.check_input(layer, input, (2, 3))
        batched = input.dim() == 3
        if not batched:
            input = input.unsqueeze(1)
        elif batch_first:
            input = input.transpose(0, 1)
        if lengths is not None:
            lengths = checks.check_lengths(lengths, input.shape[0], input.shape[1])
            lengths = lengths.to(input.device)
        return cls(input, lengths, batch_first, batched)

    @classmethod
    def _padded(cls, layer: str, input: Any, lengths: Any, batch_first: bool) -> Padded:
        if lengths is not None:
            raise ValueError(
                "a list or nested tensor of sequences has their lengths already; leave lengths= out"
            )
        sequences = checks.check_listed(layer, input)
        steps = [len(x) for x in sequences]
        lengths = torch.tensor(steps, device=sequences[0].device)
        return cls(pad_sequence(sequences), lengths, batch_first, listed=steps)

    @classmethod
    def _unpacked(cls, input: PackedSequence, lengths: Any, batch_first: bool) -> Padded:
        if lengths is not None:
            raise ValueError("a packed sequence has its lengths already; leave lengths= out")
        if input.data.dim() != 2:
            raise RuntimeError(f"input must have 2 dimensions, got {input.data.dim()}")
        # In the packed order, longest first, so that nothing has to be sorted on the way.
        ordered = PackedSequence(input.data, input.batch_sizes)
        sequence, steps = pad_packed_sequence(ordered)
        if are_watched():  # torch writes these past what records its operations
            steps = _longest_first(input.batch_sizes, sequence.shape[1])
        return cls(sequence, steps.to(sequence.device), batch_first, packed=input)

    def dense(self, what: str, given: Any) -> Any:
        """What is given for each step as one tensor, padded where the input came one by one."""
        if isinstance(given, Tensor) and given.is_nested and self.listed is not None:
            given = given.unbind()
        if isinstance(given, list | tuple) and self.listed is not None:
            parts = [as_rows(f"{what}, element {k}", g, self.sequence) for k, g in enumerate(given)]
            return pad_sequence([checks.as_tensor(part) for part in parts], self.batch_first)
        return as_rows(what, given, self.sequence)

    def flags(self, given: Any) -> Tensor:
        """Given booleans, one a step, as [T, B] in the order of the batch; none in the padding."""
        steps, batch, _ = self.sequence.shape
        given = self.dense("resets", given)
        outer = (batch, steps) if self.batch_first else (steps, batch)
        flags = checks.check_resets(given, outer if self.batched else (steps,))
        flags = flags.to(self.sequence.device)
        if not self.batched:
            flags = flags.unsqueeze(1)
        elif self.batch_first:
            flags = flags.transpose(0, 1)
        if self.packed is not None and self.packed.sorted_indices is not None:
            flags = flags.index_select(1, self.packed.sorted_indices)
        if self.lengths is None:
            return flags
        return flags & (torch.arange(steps, device=flags.device)[:, None] < self.lengths)

    def within(self, precision: Precision) -> Padded:
        """The sequences in the dtypes of a call of half precision."""
        return self._replace(
            sequence=within(self.sequence, precision.inside), dtype=precision.result
        )

    def _rounded(self, result: Tensor) -> Tensor:
        return result if self.dtype is None else result.to(self.dtype)

    def state(self, state: Tensor) -> Tensor:
        """A given state [L * D, B, n], in the order of the batch and the dtype of the sequence."""
        if self.dtype is not None:
            state = within(state, self.sequence.dtype)
        if not self.batched:
            return state.unsqueeze(1)
        if self.packed is not None and self.packed.sorted_indices is not None:
            return state.index_select(1, self.packed.sorted_indices)
        return state

    def restored_state(self, state: Tensor) -> Tensor:
        """A final state in the form of the given one."""
        state = self._rounded(state)
        if not self.batched:
            return state.squeeze(1)
        if self.packed is not None and self.packed.unsorted_indices is not None:
            return state.index_select(1, self.packed.unsorted_indices)
        return state

    def restored(self, rows: Tensor, packed: bool = False) -> Any:
        """An output [T, B, n] in the form of the input; packed or listed only when asked to."""
        rows = self._rounded(rows)
        if self.listed is not None and packed:
            parts = [rows[:n, k] for k, n in enumerate(self.listed)]
            return parts if self.nested is None else _nested_as(self.nested, parts)
        if self.packed is not None:
            return self._repacked(rows) if packed else self._in_given_order(rows)
        if not self.batched:
            return rows.squeeze(1)
        return rows.transpose(0, 1) if self.batch_first else rows

    def _repacked(self, rows: Tensor) -> PackedSequence:
        assert self.packed is not None
        assert self.lengths is not None
        data = pack_padded_sequence(rows, self.lengths.cpu()).data
        return PackedSequence(
            data, self.packed.batch_sizes, self.packed.sorted_indices, self.packed.unsorted_indices
        )

    def _in_given_order(self, rows: Tensor) -> Tensor:
        assert self.packed is not None
        if self.packed.unsorted_indices is not None:
            rows = rows.index_select(1, self.packed.unsorted_indices)
        return rows.transpose(0, 1) if self.batch_first else rows


def _nested_as(given: Any, parts: list[Tensor]) -> Tensor:
    """Rows of each sequence as a nested tensor of the given one's kind.

    With the given one's own offsets, where it has no holes: torch adds two tensors only then.
    """
    if given.layout is torch.jagged and given.lengths() is None:
        return torch.nested.nested_tensor_from_jagged(torch.cat(parts), given.offsets())
    return torch.nested.as_nested_tensor(parts, layout=given.layout)


def axes(input: Any, batch_first: bool) -> tuple[str, ...]:
    """The axes of rows in the form of the input, without the last."""
    if isinstance(input, Tensor) and not input.is_nested and input.dim() == 2:
        return ("time",)
    return ("batch", "time") if batch_first else ("time", "batch")


def lengths_of(input: Any, lengths: Any) -> Tensor | None:
    """The steps of each sequence [B], in the order in which they were given."""
    if isinstance(input, list | tuple) and not isinstance(input, PackedSequence):
        return torch.tensor([len(x) for x in input])
    if isinstance(input, Tensor) and input.is_nested:
        return torch.tensor([len(x) for x in input.unbind()])
    if not isinstance(input, PackedSequence):
        return None if lengths is None else checks.as_tensor(lengths)
    longest_first = _longest_first(input.batch_sizes, int(input.batch_sizes[0]))
    given = input.unsorted_indices
    return longest_first if given is None else longest_first[given.cpu()]


def _longest_first(batch_sizes: Tensor, batch: int) -> Tensor:
    """The steps of each sequence [B], from how many sequences have each step."""
    return (batch_sizes[:, None] > torch.arange(batch, device="cpu")).sum(0)
