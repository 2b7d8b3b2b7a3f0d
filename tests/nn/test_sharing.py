"""Equal cells share programs and kernels, which go when nobody needs them."""

import copy
import ctypes
import gc
import pickle
import subprocess
import sys
import threading
import weakref

import pytest
import torch

import gatework as gw
from gatework.autograd import operator
from gatework.backends.cpu import compiled
from gatework.backends.cpu.machine import jit
from gatework.backends.cpu.vector.target import host
from gatework.compiler import program as programs
from gatework.lang.sizes import RECENT

I, H = 3, 5


def called(layer, steps=4):
    """A forward and a backward pass."""
    y, _ = layer(torch.randn(steps, 2, layer.input_size))
    y.square().sum().backward()
    return layer


def latch(factor=1.5):
    """A cell of which each call makes an equal one, from a function of its own."""

    @gw.cell
    def latch(x, h):
        keep = gw.sigmoid(gw.linear("k", x, h))
        return keep * h + factor * (1 - keep) * gw.tanh(gw.linear("n", x))

    return latch


def programs_of(layer):
    return [job.program for one in layer._directions() for job in one.jobs.values()]


LAYERS = {
    "LSTM": lambda: gw.nn.LSTM(I, H),
    "GRU, reverse": lambda: gw.nn.GRU(I, H, bidirectional=True),
    "without bias": lambda: gw.nn.LSTM(I, H, bias=False),
    "options": lambda: gw.nn.GRU(I, H, layer_norm=True, zoneout=0.1, recurrent_dropout=0.2),
    "by states": lambda: gw.nn.LSTM(I, H, zoneout={"c": 0.5, "h": 0.1}),
    "another function": lambda: gw.nn.Recurrent(latch(), I, H),
    "pinned": lambda: gw.nn.Recurrent(gw.cells.gru.pin(z=0.3), I, H),
    "single step": lambda: gw.nn.LSTMCell(I, H),
    "accelerated": lambda: gw.accelerate(torch.nn.GRU(I, H)),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_layers_of_equal_cells_have_one_program(make, loaded):
    first, second = make(), make()
    for layer in (first, second):
        layer.train()(torch.randn(4, I) if "Cell" in type(layer).__name__ else torch.randn(4, 2, I))
    assert programs_of(first) == programs_of(second)
    count = len(loaded)
    for other in (make(), copy.deepcopy(first), pickle.loads(pickle.dumps(first))):
        assert programs_of(other) == programs_of(first)
    assert len(loaded) == count


def test_a_new_layer_of_known_equations_and_sizes_compiles_nothing(loaded):
    first = called(gw.nn.LSTM(7, 9, bias=False, zoneout=0.1))
    assert len(loaded) == len(set(loaded)) > 0
    loaded.clear()
    for _ in range(3):
        called(gw.nn.LSTM(7, 9, bias=False, zoneout=0.1))
    del first
    gc.collect()
    called(gw.nn.LSTM(7, 9, bias=False, zoneout=0.1))  # none is left of the layers before
    assert not loaded


def test_cells_of_one_equation_and_other_names_share_kernels_and_are_named_each_for_itself():
    @gw.cell
    def one(x, h):
        return gw.tanh(gw.linear("a", x, h))

    @gw.cell
    def other(x, h):
        return gw.tanh(gw.linear("a", x, h))

    layers = [gw.nn.Recurrent(c, I, H) for c in (one, other)]
    assert programs_of(layers[0]) == programs_of(layers[1])
    for layer, name in zip(layers, ("one", "other"), strict=True):
        with gw.use_backend("torch"), pytest.raises(RuntimeError, match=f"cannot run {name}:"):
            layer(torch.randn(4, 2, I))
        with pytest.raises(ValueError, match=f"cell '{name}' has no value"):
            layer(torch.randn(4, 2, I), pin={"q": 1})
        assert name in repr(layer)
        assert name in str(gw.explain(layer))


DIFFERENT = {
    "number": lambda: latch(1.25),
    "pinned": lambda: latch().pin(k=0.5),
    "without bias": lambda: latch().without_bias(),
    "observed": lambda: latch().observing({"twice": 2 * latch().names["k"]}),
    "noise": lambda: gw.rewriting.zoneout(latch(), 0.2),
}


@pytest.mark.parametrize("make", DIFFERENT.values(), ids=DIFFERENT)
def test_cells_that_differ_do_not_share(make):
    plain, other = (gw.nn.Recurrent(c, I, H).eval() for c in (latch(), make()))
    if "twice" not in other.cell.names:
        assert set(programs_of(plain)).isdisjoint(programs_of(other))
    x = torch.randn(4, 2, I)
    for layer in (plain, other):
        names = [n for n in layer.cell.names if n != "k.pre"]
        trace = layer.trace(x, names=names)
        with gw.use_backend("reference"):
            expected = layer.trace(x, names=names)
        assert list(trace) == list(expected)
        for name in trace:
            torch.testing.assert_close(trace[name], expected[name])


def test_what_a_learned_value_starts_from_is_no_part_of_a_program():
    def leaking(start):
        @gw.cell
        def leaking(x, h):
            return gw.vector("a", init=start) * h + gw.linear("b", x)

        return gw.nn.Recurrent(leaking, I, H)

    some, others = leaking(0.25), leaking(0.75)
    assert programs_of(some) == programs_of(others)
    assert some.a_l0.unique().tolist() == [0.25]
    assert others.a_l0.unique().tolist() == [0.75]


def test_what_differs_in_names_alone_has_one_machine_code(loaded):
    """A traced value's name is part of the program, but not of the code."""
    cell = latch()
    other = cell.observing({"keeps": cell.names["k"]})
    layers = [gw.nn.Recurrent(c, I, H).eval() for c in (cell, other)]
    held = [layers[0].trace(torch.randn(4, 2, I), names="k")]
    count = len(loaded)
    held.append(layers[1].trace(torch.randn(4, 2, I), names="keeps"))
    assert len(loaded) == count > 0


def test_threads_that_make_equal_cells_at_once_get_one_program():
    ready, found = threading.Barrier(4), []

    def make():
        ready.wait()
        found.append(gw.nn.Recurrent(latch(1.75), I, H))

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({p for layer in found for p in programs_of(layer)}) == 1


# ---- memory ------------------------------------------------------------------------------------


def alive():
    """How many programs, kernels and registered jobs there are."""
    gc.collect()
    return len(programs._programs), len(compiled._libraries), len(operator._JOBS)


def every_use(cell):
    """A layer of a cell is called in all ways; nothing is returned."""
    layer, x = called(gw.nn.Recurrent(cell, I, H, bidirectional=True)), torch.randn(4, 2, I)
    layer(x, pin={"k": 0.3, "n": torch.randn(H)}, lengths=[4, 1])
    layer(x, resets=torch.rand(4, 2) < 0.5)
    layer.trace(x, names=["k"])
    with gw.lens.hold(layer, {"k": {1: 0.0}}), gw.lens.watch(layer):
        layer(x)
    gw.lens.gradient_flow(layer, [x])
    gw.nn.Recurrent(cell, I, H).stream().step(torch.randn(I))
    gw.nn.RecurrentCell(cell, I, H)(torch.randn(2, I))
    gw.nn.Recurrent(cell, I, H, zoneout=0.1, layer_norm=True, dtype=torch.float64).eval()
    gw.nn.Recurrent(cell, I, H, device="meta")(x.to("meta"))
    gw.explain(layer)


def test_programs_and_kernels_go_with_their_cells():
    every_use(latch(1.5))
    before = alive()
    every_use(latch(2.0))
    assert alive() == before


def test_a_program_goes_at_once_and_not_when_garbage_is_collected():
    gc.disable()
    try:
        layer = called(gw.nn.Recurrent(latch(1.125), I, H))
        program = weakref.ref(programs_of(layer)[0])
        kernels = len(compiled._libraries)
        del layer
        assert program() is None
        assert len(compiled._libraries) < kernels
    finally:
        gc.enable()


def test_layers_in_use_keep_their_kernels_and_few_of_those_that_are_gone_stay(loaded):
    """The cells of the catalogue stay, but of their kernels those of the last sizes alone."""
    x = torch.randn(4, 2, 2)
    with torch.no_grad():
        layers = [gw.nn.RNN(2, 53 + k) for k in range(RECENT + 5)]
        for layer in layers:
            layer(x)
        loaded.clear()
        for layer in layers:
            layer(x)
    assert not loaded
    kernels = alive()[1]
    del layers, layer
    assert kernels - alive()[1] >= 5


def test_a_program_made_from_text_is_that_of_a_layer_alive():
    first, second = gw.nn.GRU(I, 6), gw.nn.GRU(I, 6)
    key = second._keys[0, 0, True]
    program = weakref.ref(programs_of(first)[0])
    del first
    gc.collect()
    assert operator.job_of(key).program is program() is programs_of(second)[0]


class _Allocated(ctypes.Structure):
    """What the C library has handed out: `mallinfo2`."""

    _fields_ = [(n, ctypes.c_size_t) for n in ("a", "b", "c", "d", "mapped", "f", "g", "used")]
    _fields_ += [("h", ctypes.c_size_t), ("i", ctypes.c_size_t)]


def test_a_compilation_leaves_no_memory_behind():
    library = ctypes.CDLL(None)
    if not hasattr(library, "mallinfo2"):
        pytest.skip("the C library does not say how much is allocated")
    library.mallinfo2.restype = _Allocated

    def allocated():
        gc.collect()
        found = library.mallinfo2()
        return found.used + found.mapped

    ir = "define i32 @answer(i32 %x) {\n  %y = add i32 %x, 1\n  ret i32 %y\n}\n"
    for _ in range(3):
        jit._compile(ir, host())
    before = allocated()
    for _ in range(20):
        jit._compile(ir, host())
    assert allocated() - before < 20 * 10_000  # 2 kB each; undisposed passes are 30 kB


RESIDENT = """
import gc, torch, gatework as gw
torch.set_num_threads(1)

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def use(layer, **asked):
    layer(torch.randn(5, 2, 3), **asked)[0].sum().backward()

def cell(number):
    @gw.cell
    def cell(x, h):
        return gw.tanh(gw.linear("a", x, h)) + number * h
    return cell

kept = gw.nn.GRU(3, 4)

def all(k):
    for _ in range(20):
        use(gw.nn.GRU(3, 4))
        use(kept, pin={"z": k / 401 + 0.001})
    use(gw.nn.Recurrent(cell(k / 401), 3, 4))

for k in range(5):
    all(k)
before = resident()
for k in range(5, 65):
    all(k)
print((resident() - before) / 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_does_not_grow_with_layers_cells_and_pinned_numbers():
    done = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True)
    assert float(done.stdout) < 6, done.stderr  # MB; 60 cells, 1,200 layers, 1,200 numbers
