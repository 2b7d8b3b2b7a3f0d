"""C objects: every cell equals the reference, and no object asks for anything from outside."""

import shutil
import struct
import subprocess

import numpy as np
import pytest
import torch
from torch import nn

import gatework as gw
from c_objects import (
    CELLS,
    NATIVE,
    STEPS,
    Loaded,
    assert_near,
    layer_and_inputs,
    runs_here,
)
from gatework.errors import InputError
from gatework.export.objects.targets import TARGETS


def exported(model, tmp_path, target=None):
    return Loaded(gw.export.c(model, tmp_path / "net", target=target or NATIVE))


def assert_equals_the_reference(cell, tmp_path):
    layer, inputs = layer_and_inputs(cell)
    assert_near(exported(layer, tmp_path).run(*inputs), layer, inputs[0])


@runs_here
@pytest.mark.parametrize("name", ["lstm", "gru_d", "delta_net", "on_lstm", "slstm_heads"])
def test_a_cell_equals_the_reference(name, tmp_path):
    assert_equals_the_reference(CELLS[name], tmp_path)


@pytest.mark.slow
@runs_here
@pytest.mark.parametrize("name", CELLS)
def test_every_cell_equals_the_reference(name, tmp_path):
    assert_equals_the_reference(CELLS[name], tmp_path)


class Network(nn.Sequential):
    """Layers whose states are not handed on."""

    def forward(self, x):
        for part in self:
            x = part(x)[0] if isinstance(part, gw.nn.Recurrent) else part(x)
        return x


def network():
    torch.manual_seed(3)
    lstm = gw.nn.LSTM(1, 9, num_layers=2, learned_state=True)
    with torch.no_grad():
        for p in lstm.initial_parameters.values():
            p.normal_()
    return Network(lstm, gw.nn.GRU(9, 6), nn.Dropout(0.5), nn.Linear(6, 2))


@runs_here
def test_layers_and_a_head_are_one_network(tmp_path):
    model, x = network(), torch.randn(STEPS, 1)
    assert_near(exported(model, tmp_path).run(x), model, x)


@runs_here
def test_a_saved_state_goes_on_where_it_was(tmp_path):
    net, x = exported(network(), tmp_path), torch.randn(STEPS, 1)
    whole = net.run(x)
    net.call("reset", net.state)
    first, saved = net.run(x[:3]), np.empty(net.number("SAVED"), "f4")
    net.call("save", net.state, saved)
    net.run(x)
    net.state[:] = np.nan
    net.call("load", net.state, saved)
    assert torch.equal(torch.cat([first, net.run(x[3:])]), whole)


@runs_here
@pytest.mark.parametrize("exponent", [-3, -0.5, 0.25, 1.7, 13])
def test_powers_need_no_library(exponent, tmp_path):
    @gw.cell
    def powers(x, h):
        return gw.tanh(gw.linear("a", x) + abs(h + 1.5) ** exponent)

    assert_equals_the_reference(powers, tmp_path)


# ---- objects for other machines ----------------------------------------------------------------


def undefined(image):
    """The names that an ELF object has and does not define."""
    wide = image[4] == 2
    names = "<IBBHQQ" if wide else "<IIIBBH"
    at, size, count = (0x28, 0x3A, 0x3C) if wide else (0x20, 0x2E, 0x30)
    (start,) = struct.unpack_from("<Q" if wide else "<I", image, at)
    (each,), (n,) = struct.unpack_from("<H", image, size), struct.unpack_from("<H", image, count)
    form = "<IIQQQQIIQQ" if wide else "<IIIIIIIIII"
    sections = [struct.unpack_from(form, image, start + k * each) for k in range(n)]
    for _, kind, _, _, offset, length, link, *_ in sections:
        if kind == 2:  # the table of symbols
            strings = sections[link][4]
            for place in range(offset, offset + length, struct.calcsize(names)):
                name, *rest = struct.unpack_from(names, image, place)
                section = rest[2] if wide else rest[4]
                text = image[strings + name : image.index(0, strings + name)].decode()
                if text and section == 0:
                    yield text


@gw.cell
def everything(x, h):
    """A step of all functions that might be taken from a C library."""
    a = gw.linear("a", x, h)
    b = gw.exp(-abs(a)) + gw.log1p(a * a) + gw.sin(a) + gw.cos(a) + gw.atan(a) + gw.erf(a)
    return gw.tanh(
        gw.floor(b) + gw.softplus(a) + gw.sqrt(abs(b)) + gw.maximum(a, b) + abs(a) ** 1.7
    )


@pytest.mark.parametrize("target", [t for t in TARGETS if t != "wasm32"])
def test_no_name_is_left_open(target, tmp_path):
    files = gw.export.c(gw.nn.Recurrent(everything, 3, 40), tmp_path / "net", target=target)
    assert [*undefined(files[0].read_bytes())] == []


def test_web_assembly_imports_nothing_but_its_memory(tmp_path):
    image, *_ = gw.export.c(gw.nn.Recurrent(everything, 3, 40), tmp_path / "net", target="wasm32")
    text = image.read_bytes()
    assert text[:4] == b"\0asm"
    assert not any(name in text for name in (b"memcpy", b"memset", b"fma", b"powf", b"sinf"))


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@runs_here
def test_a_c_program_is_built_with_it(tmp_path):
    model = network()
    gw.export.c(model, tmp_path / "net", target=NATIVE)
    (tmp_path / "main.c").write_text(PROGRAM)
    command = ["cc", "-Wall", "-Werror", "-o", "main", "main.c", "net.o"]
    subprocess.run(command, cwd=tmp_path, check=True)
    said = subprocess.run([tmp_path / "main"], check=True, capture_output=True, text=True).stdout
    found = torch.tensor([float(n) for n in said.split()]).reshape(-1, 2)
    assert_near(found, model, torch.tensor([[0.0], [0.5], [1.0]]))


PROGRAM = """
#include <stdio.h>
#include "net.h"

int main(void) {
    static net_state state;
    net_reset(&state);
    for (int t = 0; t < 3; t++) {
        float x = 0.5f * t, y[NET_Y];
        net_step(&state, &x, y);
        printf("%.9g %.9g\\n", y[0], y[1]);
    }
    return 0;
}
"""


# ---- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "name", "target", "said"),
    [
        (gw.nn.LSTM(2, 3), "net", "cortex-m5", "did you mean 'cortex"),
        (gw.nn.LSTM(2, 3), "my-net", "aarch64", "'my-net'"),
        (gw.nn.LSTM(2, 3, bidirectional=True), "net", "aarch64", "bidirectional"),
        (nn.Sequential(gw.nn.LSTM(2, 3), nn.Conv1d(3, 3, 1)), "net", "aarch64", "Conv1d"),
        (nn.Sequential(), "net", "aarch64", "no layers"),
    ],
)
def test_what_cannot_be_exported_is_named(model, name, target, said, tmp_path):
    with pytest.raises(InputError, match=said):
        gw.export.c(model, tmp_path / name, target=target)
