"""Matrix products over all steps: the one place that decides how exact they are.

Torch's products of float32 are exact to float32 unless its user allows tf32. There is another way
to the same digits: a float32 is the sum of three bfloat16, and six of the nine products of two such
sums are all that float32 can hold. That is worth it where the units for bfloat16 are more than six
times as fast; but an infinity in it becomes NaN. So it is done only where it is asked for.

Letters: N rows, K what is summed over, M columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

SPLIT = False  # whether products of float32 on CUDA go by parts: not yet measured on a card
PARTS = 3  # bfloat16 with 8 bits each, where float32 has 24
PAIRS = ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0))  # the others are below float32's last bit


def is_exact() -> bool:
    """Whether products of float32 on CUDA shall be as exact as float32: torch's own setting."""
    return bool(torch.backends.cuda.matmul.fp32_precision != "tf32")


def matmul(a: Tensor, b: Tensor, added: Tensor | None = None) -> Tensor:
    """A product [N, M] of [N, K] and [K, M], with numbers [N, M] or a bias [M] added to it."""
    if _is_split(a):
        found = by_parts(a, b)
        return found if added is None else found.add_(added)
    return torch.mm(a, b) if added is None else torch.addmm(added, a, b)


def add_matmul(into: Tensor, a: Tensor, b: Tensor) -> None:
    """Add such a product to numbers in place."""
    if _is_split(a):
        into.add_(by_parts(a, b))
    else:
        into.addmm_(a, b)


def _is_split(a: Tensor) -> bool:
    return SPLIT and a.is_cuda and a.dtype is torch.float32 and is_exact()


def by_parts(a: Tensor, b: Tensor) -> Tensor:
    """A product of float32 as one product of bfloat16, six times as long, summed in float32."""
    left, right = parts(a), parts(b)
    rows = torch.cat([left[i] for i, _ in PAIRS], 1)
    columns = torch.cat([right[j] for _, j in PAIRS], 0)
    if a.is_cuda:
        return torch.mm(rows, columns, out_dtype=torch.float32)
    return torch.mm(rows.float(), columns.float())


def parts(numbers: Tensor) -> list[Tensor]:
    """Numbers as sums of bfloat16, the largest part first."""
    found = []
    for _ in range(PARTS):
        found.append(numbers.bfloat16())
        numbers = numbers - found[-1].float()
    return found
