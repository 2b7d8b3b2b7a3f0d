"""The sums by which gradients of learned vectors are made: as exact as their terms."""

import pytest
import torch

from gatework.backends.cpu.vector.target import host
from machine_code import routine

ELEMENTS = {torch.float32: "float", torch.float64: "double"}


def summed(values, rows):
    """The sums of columns over some rows, by the backend's routine."""
    columns = values.shape[1]
    to = torch.full((columns,), torch.nan, dtype=values.dtype)
    run = routine("sum_rows", host(), ELEMENTS[values.dtype])
    run(to.numpy(), values.numpy(), columns, rows.numpy(), len(rows), columns)
    return to


@pytest.mark.parametrize("dtype", ELEMENTS)
@pytest.mark.parametrize("shape", [(200_001, 3), (8_191, 17), (4_097, 1), (67, 33), (3, 2), (0, 5)])
def test_a_sum_of_many_terms_loses_no_digits(shape, dtype):
    values = torch.rand(shape, dtype=dtype)
    rows = torch.randperm(shape[0])[: shape[0] - shape[0] // 5]
    exact = [sum(map(int, column)) for column in (values[rows].double() * 2.0**60).T.tolist()]
    exact = torch.tensor([n / 2**60 for n in exact], dtype=torch.float64)
    error = (summed(values, rows).double() - exact).abs() / exact.clamp(min=1)
    assert (error <= 4 * torch.finfo(dtype).eps).all()


def test_infinite_terms_have_an_infinite_sum():
    values = torch.tensor([[1.0, torch.inf, -torch.inf, torch.inf]] * 70)
    values[69, 3] = -torch.inf
    found = summed(values, torch.arange(70))
    assert torch.equal(found[:3], torch.tensor([70.0, torch.inf, -torch.inf]))
    assert found[3].isnan()
