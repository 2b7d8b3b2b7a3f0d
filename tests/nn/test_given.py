"""Arrays, DataFrames of two libraries and nested tensors as input: what the tensors give."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import gatework as gw

polars = pytest.importorskip("polars")

nested_warns = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
layouts = pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
libraries = pytest.mark.parametrize("library", [pd, polars], ids=["pandas", "polars"])


def sequences(*steps):
    return [torch.randn(n, 3) for n in steps]


def table(library, rows):
    return library.DataFrame({name: rows[:, k].numpy() for k, name in enumerate("abc")})


# ---- arrays and tables -------------------------------------------------------------------------


@libraries
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_table_is_one_sequence_in_the_dtype_of_the_layer(library, batch_first):
    layer = gw.nn.GRU(3, 5, batch_first=batch_first)
    (rows,) = sequences(6)
    y, h = layer(table(library, rows.double()))
    torch.testing.assert_close((y, h), layer(rows))
    trace = layer.double().trace(table(library, rows))
    assert trace.dims == ("time", "unit")
    assert trace["z"].dtype == torch.float64


@libraries
def test_a_list_of_tables(library):
    layer, listed = gw.nn.LSTM(3, 5, bidirectional=True), sequences(4, 0, 2)
    tables = [table(library, rows) for rows in listed]
    torch.testing.assert_close(layer(tables), layer(listed))
    assert layer.trace(tables).lengths.tolist() == [4, 0, 2]


def test_integers_booleans_and_nullable_columns_are_numbers():
    layer = gw.nn.GRU(3, 5)
    rows = pd.DataFrame(
        {"a": [1, 2], "b": [True, False], "c": pd.array([3, 4], dtype="Int64")}, index=["u", "v"]
    )
    wanted, _ = layer(torch.tensor([[1.0, 1, 3], [2, 0, 4]]))
    torch.testing.assert_close(layer(rows)[0], wanted)
    columns = {"a": [1, 2], "b": [True, False], "c": [3, 4]}
    torch.testing.assert_close(layer(polars.DataFrame(columns))[0], wanted)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int64, np.uint8, bool, ">f4"])
def test_arrays_of_any_numbers(dtype):
    layer = gw.nn.GRU(3, 5)
    array = np.random.default_rng(0).integers(0, 2, (4, 2, 3)).astype(dtype)
    wanted = layer(torch.tensor(array.astype(np.float32)))
    torch.testing.assert_close(layer(array), wanted)
    torch.testing.assert_close(
        layer(array[::-1])[0], layer(torch.tensor(array[::-1].astype("f4")))[0]
    )


def test_what_a_layer_was_given_is_not_kept():
    layer, array = gw.nn.GRU(3, 5), np.ones((4, 3), np.float32)
    y, _ = layer(array)
    array[:] = np.nan
    y.sum().backward()
    assert layer.weight_ih_l0.grad.isfinite().all()


@libraries
def test_further_inputs_and_resets_come_as_tables_too(library):
    layer = gw.nn.Recurrent(gw.cells.gru_d, 3, 5)
    listed = sequences(4, 2)
    masks, gaps = [x > 0 for x in listed], [torch.rand(len(x)) for x in listed]
    wanted = layer(listed, mask=masks, gap=gaps)
    tables = [table(library, x) for x in listed]
    column = library.Series if library is pd else lambda rows: polars.Series("gap", rows)
    columns = [column(gap.numpy()) for gap in gaps]
    found = layer(tables, mask=[table(library, m) for m in masks], gap=columns)
    torch.testing.assert_close(found, wanted)
    resets = [torch.tensor([False, False, True, False]), torch.tensor([False, True])]
    plain = gw.nn.GRU(3, 5)
    found = plain(tables, resets=[r.numpy() for r in resets])
    torch.testing.assert_close(found, plain(listed, resets=resets))


def test_an_accelerated_layer_of_torch_takes_them_as_well():
    layer, (rows,) = gw.accelerate(nn.GRU(3, 5)), sequences(6)
    torch.testing.assert_close(layer(table(pd, rows)), layer(rows))


# ---- nested tensors ----------------------------------------------------------------------------


@nested_warns
@layouts
@pytest.mark.parametrize("make", [gw.nn.LSTM, nn.LSTM])
def test_a_nested_tensor_gives_a_nested_tensor(make, layout):
    layer = make(3, 5, num_layers=2, bidirectional=True)
    layer = gw.accelerate(layer) if make is nn.LSTM else layer
    listed = [x.requires_grad_() for x in sequences(4, 1, 6)]
    nested = torch.nested.as_nested_tensor(listed, layout=layout)
    outputs, state = layer(nested)
    wanted, final = layer(listed)
    assert outputs.is_nested
    assert outputs.layout is layout
    torch.testing.assert_close(list(outputs.unbind()), wanted)
    torch.testing.assert_close(state, final)
    loss, other = (sum(y.square().sum() for y in part) for part in (outputs.unbind(), wanted))
    gradients = torch.autograd.grad(loss, listed), torch.autograd.grad(other, listed)
    torch.testing.assert_close(*gradients)


@nested_warns
@layouts
def test_traces_resets_and_further_inputs_of_a_nested_tensor(layout):
    listed = sequences(4, 2)
    nest = lambda parts: torch.nested.as_nested_tensor(parts, layout=layout)  # noqa: E731
    layer = gw.nn.Recurrent(gw.cells.gru_d, 3, 5, batch_first=True)
    masks, gaps = [(x > 0).float() for x in listed], [torch.rand(len(x), 1) for x in listed]
    resets = [torch.tensor([False, False, True, False]), torch.tensor([False, True])]
    wanted = layer.trace(listed, resets=resets, mask=masks, gap=gaps)
    found = layer.trace(nest(listed), resets=resets, mask=nest(masks), gap=nest(gaps))
    assert found.lengths.tolist() == [4, 2]
    assert found.dims == ("batch", "time", "unit")
    torch.testing.assert_close(dict(found), dict(wanted))


def test_a_jagged_output_can_be_added_to_what_has_the_lengths_of_the_input():
    layer = gw.nn.GRU(3, 3)
    values, offsets = torch.randn(6, 3), torch.tensor([0, 4, 4, 6])
    nested = torch.nested.nested_tensor_from_jagged(values, offsets)
    y, _ = layer(nested)
    torch.testing.assert_close((y + nested).values(), y.values() + values)


def test_a_jagged_tensor_with_holes():
    layer, values = gw.nn.GRU(3, 5), torch.randn(6, 3)
    nested = torch.nested.nested_tensor_from_jagged(
        values, torch.tensor([0, 3, 6]), torch.tensor([2, 3])
    )
    wanted, _ = layer([values[:2], values[3:]])
    torch.testing.assert_close(list(layer(nested)[0].unbind()), wanted)


# ---- what is wrong -----------------------------------------------------------------------------

ONES = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "c": [5.0, 6.0]})


@pytest.mark.parametrize(
    ("given", "error", "phrase"),
    [
        (ONES.assign(b=["x", "y"]), ValueError, r"no numbers: 'b' \(str\)"),
        (ONES.assign(b=pd.Timestamp("2026")), ValueError, r"no numbers: 'b' \(datetime"),
        (ONES.assign(b=[1.0, np.nan]), ValueError, r"1 missing .* row 1, column 'b'"),
        (ONES.assign(b=pd.array([None, 1], dtype="Int64")), ValueError, "row 0, column 'b'"),
        (polars.DataFrame({"a": [1, None], "b": [1, 2]}), ValueError, "row 1, column 'a'"),
        (polars.DataFrame({"a": ["x"]}), ValueError, r"no numbers: 'a' \(String\)"),
        ([ONES, ONES[["b", "a", "c"]]], ValueError, "element 1 of the list has the columns b, a"),
        ([ONES, ONES.assign(b=np.nan)], ValueError, "GRU: element 1 has 2 missing"),
        (ONES[["a"]], RuntimeError, "must be equal to input_size"),
        (ONES[:0], RuntimeError, "larger than 0"),
        (ONES["a"], ValueError, "2D or 3D, got 1D"),
        (np.array([["a", "b", "c"]]), ValueError, "an array of <U1"),
        (np.array([[None, 1, 2]]), ValueError, "an array of object"),
        (np.zeros((2, 3), complex), ValueError, "an array of complex128"),
        (np.full((2, 3), np.nan), ValueError, r"6 missing .* at \[0, 0\]"),
        ({"a": 1}, TypeError, "DataFrame or a list of these, got dict"),
    ],
)
def test_errors_say_what_came_and_what_was_expected(given, error, phrase):
    with pytest.raises(error, match=phrase):
        gw.nn.GRU(3, 5)(given)


@nested_warns
def test_errors_of_nested_tensors():
    layer = gw.nn.GRU(3, 5)
    nested = torch.nested.as_nested_tensor(sequences(4, 2), layout=torch.jagged)
    with pytest.raises(ValueError, match="leave lengths= out"):
        layer(nested, lengths=[4, 2])
    with pytest.raises(ValueError, match="ragged in its steps, got 3 dimensions of the shape"):
        layer(nested.transpose(1, 2))
    with pytest.raises(ValueError, match="ragged in its steps, got 2 dimensions"):
        layer(torch.nested.as_nested_tensor([torch.ones(3), torch.ones(2)], layout=torch.jagged))
    uneven = torch.nested.as_nested_tensor([torch.zeros(4, 3), torch.zeros(2, 2)])
    with pytest.raises(ValueError, match=r"element 1 has the shape \[2, 2\]"):
        layer(uneven)
