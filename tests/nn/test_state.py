"""States between calls: detached, cloned, moved, on disk."""

import json
from collections import namedtuple

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import gatework as gw
from gatework.nn import state as states
from numerics import assert_same, flat

Pair = namedtuple("Pair", "h c")


def lstm_state():
    return gw.nn.LSTM(3, 4, num_layers=2)(torch.randn(5, 2, 3))[1]


def some_states():
    h, c = lstm_state()
    return {
        "one tensor": h,
        "a tuple": (h, c),
        "none": None,
        "nested": {"encoder": (h, c), "decoder": [h, None, (c,)], "empty": (), "none": {}},
        "bf16": (h.bfloat16(), c.double()),
        "a view": (h[:, :1], c.transpose(0, 1)),
        "twice": (h, h),
        "no sequence": h[:, :0],
    }


every_state = pytest.mark.parametrize("name", some_states())


def form_of(state):
    """The structure without the numbers."""
    if isinstance(state, torch.Tensor):
        return state.dtype, state.shape
    if isinstance(state, dict):
        return {k: form_of(v) for k, v in state.items()}
    return None if state is None else type(state)(map(form_of, state))


def tensors_of(state):
    found = []
    states.mapped(lambda t: found.append(t.detach()) or t, state)
    return found


@every_state
def test_detach_clone_and_to_keep_the_form_and_the_numbers(name):
    state = some_states()[name]
    for function in (states.detach, states.clone, lambda s: states.to(s, "cpu")):
        found = function(state)
        assert form_of(found) == form_of(state)
        pairs = zip(tensors_of(found), tensors_of(state), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_what_shares_memory_and_what_is_part_of_the_graph():
    h, c = lstm_state()
    detached, cloned = states.detach((h, c)), states.clone((h, c))
    assert not any(s.requires_grad for s in detached)
    assert detached[0].data_ptr() == h.data_ptr()
    assert cloned[1].requires_grad
    assert cloned[1].data_ptr() != c.data_ptr()
    assert [s.dtype for s in states.to((h, c), torch.bfloat16)] == [torch.bfloat16] * 2
    assert isinstance(states.detach(Pair(h, c)), Pair)


def test_what_is_no_state_is_refused():
    with pytest.raises(TypeError, match="got str in it"):
        states.detach((torch.zeros(1), "h"))
    with pytest.raises(TypeError, match="got int in it"):
        states.save([1], "unwritten")


# ---- on disk -----------------------------------------------------------------------------------


@every_state
def test_what_is_saved_is_loaded(name, tmp_path):
    state, path = some_states()[name], tmp_path / "state.safetensors"
    states.save(state, path)
    found = states.load(str(path))
    assert form_of(found) == form_of(state)
    pairs = list(zip(tensors_of(found), tensors_of(state), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert [p.name for p in tmp_path.iterdir()] == ["state.safetensors"]


def test_the_file_is_as_the_documentation_says(tmp_path):
    h, c = lstm_state()
    states.save({"encoder": (h, c), "memory": [None, h]}, tmp_path / "s")
    with safe_open(tmp_path / "s", framework="pt") as file:
        assert set(file.keys()) == {"encoder.0", "encoder.1", "memory.1"}
        assert json.loads(file.metadata()["gatework.state"]) == {
            "version": 1,
            "state": {
                "dict": {"encoder": {"tuple": ["encoder.0", "encoder.1"]},
                         "memory": [None, "memory.1"]},
            },
        }  # fmt: skip
    states.save(h, tmp_path / "s")
    with safe_open(tmp_path / "s", framework="pt") as file:
        assert list(file.keys()) == ["state"]


def test_a_state_goes_on_in_another_process_as_it_would_have_here(tmp_path):
    layer, x = gw.nn.LSTM(3, 4, num_layers=2).eval(), torch.randn(6, 2, 3)
    whole = layer(x)
    states.save(layer(x[:3])[1], tmp_path / "s")
    y, state = layer(x[3:], states.load(tmp_path / "s"))
    assert_same(flat((y, state)), flat((whole[0][3:], whole[1])), 1e-6)
    stream = layer.stream(2)
    stream.state = states.load(tmp_path / "s")
    torch.testing.assert_close(stream.step(x[3]), whole[0][3], atol=1e-6, rtol=0)


def test_what_cannot_be_saved_is_refused(tmp_path):
    h = torch.zeros(1, 2, 3)
    with pytest.raises(ValueError, match=r"two tensors of the state would be called 'a\.b'"):
        states.save({"a.b": h, "a": {"b": h}}, tmp_path / "s")
    with pytest.raises(TypeError, match="the keys of a saved state are strings, got 1"):
        states.save({1: h}, tmp_path / "s")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "form",
    [
        None,
        "{",
        "[]",
        '{"version": 2, "state": "state"}',
        '{"version": 1}',
        '{"version": 1, "state": "other"}',
        '{"version": 1, "state": 3}',
        '{"version": 1, "state": {"set": ["state"]}}',
        '{"version": 1, "state": {"tuple": 3}}',
        '{"version": 1, "state": {"dict": ["state"]}}',
        '{"version": 1, "state": {}}',
        "[" * 5000,
    ],
)
def test_a_file_that_is_no_saved_state_is_refused(form, tmp_path):
    metadata = None if form is None else {"gatework.state": form}
    save_file({"state": torch.zeros(2)}, tmp_path / "s", metadata)
    with pytest.raises(ValueError, match=r"is no state that gatework\.nn\.state\.save wrote"):
        states.load(tmp_path / "s")


def test_a_damaged_and_a_missing_file_are_refused(tmp_path):
    path = tmp_path / "s"
    states.save(torch.zeros(1, 2, 3), path)
    for content in (path.read_bytes()[:-5], b"", b"no safetensors at all"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is no safetensors file"):
            states.load(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        states.load(tmp_path / "none")
    with pytest.raises(FileNotFoundError):
        states.load(tmp_path)
