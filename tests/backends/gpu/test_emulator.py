"""The machine that runs kernels on the CPU finds what is wrong with them."""

import os
import subprocess
import sys

import pytest
import torch

from backends.gpu.emulator import emulated
from backends.gpu.emulator.emulated import Broken, Emulated, slots
from gatework.backends.gpu import text as texts
from gatework.backends.gpu.machine import Launch

SEEDS = range(8)


def text(arguments, body):
    return texts.assembled(
        f"""
struct Arguments {{ {arguments} }};
extern "C" __global__ void run(const Arguments a) {{
  const int t = threadIdx.x;
  char* memory = shared_memory();
  {body}
}}
""",
        "float",
    )


def empty(count):
    """Words of 16 bytes that hold nothing yet."""
    return torch.full((count * 4,), -1, dtype=torch.int32)


def launched(text, launch, *values, machine=None):
    kernel = (machine or Emulated()).kernel(text, "a kernel")
    kernel.launch(launch, slots(*values))
    return kernel


# ---- what a missing wait does -------------------------------------------------------------------

TRANSPOSED = """
    float* at = (float*)memory;
    for (int i = 0; i < 3; i++) {
      at[t] = a.x[t] + i;
      sync_block();  // written
      a.y[i * 96 + t] = at[95 - t];
      sync_block();  // read
    }"""
SHOWN = """
    float* at = (float*)memory;
    at[t] = a.x[t];
    sync_warp();
    a.y[t] = at[t ^ 1];"""
TWO_WARPS = """
    float* at = (float*)memory;
    at[t] = a.x[t];
    if (t < 64) {
      sync_some(1, 64);
      a.y[t] = at[63 - t];
    }"""
NEXT_BLOCK = """
    const u32 barrier = shared_address(memory), rank = blockIdx.x;
    Watch watch{a.status};
    if (t == 0) {
      barrier_init(barrier);
      arm(barrier, 16, watch);
      barrier_fence();
    }
    sync_cluster();
    if (t == 0) {
      const u32 next = (rank + 1) % 4;
      send(in_block(barrier + 16, next), rank, rank, rank, rank, in_block(barrier, next));
    }
    if (rank == 0) return sync_cluster();  // who does not look at what comes
    wait(barrier, 0, watch);
    a.y[rank * 32 + t] = (float)((u32*)memory)[4];
    sync_cluster();"""
SHARED = """
    const u32 at = shared_address(memory + 4 * t), rank = blockIdx.x;
    for (int i = 0; i < 3; i++) {
      store_in(in_block(at, (rank + 1) % 4), (float)(rank + i));
      sync_cluster();  // written
      a.y[(i * 4 + rank) * 24 + t % 24] = ((float*)memory)[t];
      sync_cluster();  // read
    }"""
POLLED = """
    Watch watch{a.status};
    const float v = a.x[blockIdx.x * 32 + t];
    const u32 word = __float_as_uint(v);
    if (t % 4 == 0)
      store_relaxed((char*)a.words + (blockIdx.x * 32 + t) * 4,
                    make_uint4(word, word + 1, word + 2, word + 3));
    sync_block();
    const int from = (1 - blockIdx.x) * 32 + t / 4 * 4;
    Wait patience(watch);
    uint4 w;
    do w = load_relaxed((char*)a.words + from * 4);
    while (any_empty(w) && patience.goes_on());
    a.y[blockIdx.x * 32 + t] = __uint_as_float(w.w);"""
BLOCK = Launch(1, 96, shared=384)
CLUSTER = Launch(4, 32, shared=32, cluster=4)
CLUSTERED = Launch(4, 32, shared=128, cluster=4)
GRID = Launch(2, 32, together=True)
WAITS = {  # the kernel, its launch, and what is taken out or put in another's place
    "of a block, before reading": (TRANSPOSED, BLOCK, "sync_block();  // written", ""),
    "of a block, after reading": (TRANSPOSED, BLOCK, "sync_block();  // read", ""),
    "of a warp": (SHOWN, BLOCK, "sync_warp();", ""),
    "of some warps": (TWO_WARPS, BLOCK, "sync_some(1, 64);", ""),
    "for what was sent": (NEXT_BLOCK, CLUSTER, "wait(barrier, 0, watch);", ""),
    "of a cluster, at the beginning": (NEXT_BLOCK, CLUSTER, "sync_cluster();", ""),
    "of a cluster, at the end": (NEXT_BLOCK, CLUSTER, "return sync_cluster();", "return;"),
    "of a cluster, before reading": (SHARED, CLUSTERED, "sync_cluster();  // written", ""),
    "of a cluster, after reading": (SHARED, CLUSTERED, "sync_cluster();  // read", ""),
    "for a word": (POLLED, GRID, "any_empty(w) && ", "false && "),
}  # fmt: skip


def outcome(body, launch, seed):
    """What a kernel computes with a seed, or that it broke."""
    x, y = torch.arange(96.0), torch.full((288,), torch.nan)
    words, status = empty(16), torch.zeros(1, dtype=torch.int32)
    arguments = "const float* x; float* y; u32* words; int* status;"
    try:
        machine = Emulated(seed=seed)
        launched(text(arguments, body), launch, x, y, words, status, machine=machine)
    except Broken as broken:
        return str(broken)
    return y.nan_to_num(-1).tolist()


@pytest.mark.parametrize("what", WAITS)
def test_a_missing_wait_shows(what):
    body, launch, wait, nothing = WAITS[what]
    assert wait in body
    right = [outcome(body, launch, seed) for seed in (None, *SEEDS)]
    assert all(found == right[0] for found in right)
    assert isinstance(right[0], list)
    wrong = [outcome(body.replace(wait, nothing, 1), launch, seed) for seed in SEEDS]
    assert any(found != right[0] for found in wrong)


def test_a_seed_gives_the_same_again():
    body, launch, wait, nothing = WAITS["for what was sent"]
    broken = body.replace(wait, nothing)
    assert outcome(broken, launch, 3) == outcome(broken, launch, 3)


# ---- waits that never end -----------------------------------------------------------------------


def test_threads_that_wait_for_ever_are_named():
    body = "if (t < 32) sync_some(3, 64); else if (t >= 64) sync_block();"
    said = r"a kernel: nobody can go on\n  block 0: sync_block, .* 64-95\n  .* sync_some 3, .* 0-31"
    with pytest.raises(Broken, match=said):
        launched(text("i64 n;", body), Launch(1, 96), 0)


def test_a_barrier_that_nobody_sends_to_is_named():
    body = """
    const u32 barrier = shared_address(memory + 16);
    Watch watch{a.status};
    if (t == 0) { barrier_init(barrier); barrier_arm(barrier, 16); }
    sync_warp();
    wait(barrier, 0, watch);"""
    status = torch.zeros(1, dtype=torch.int32)
    said = "block 0: barrier_passed at byte 16, threads 0-31"
    with pytest.raises(Broken, match=said):
        launched(text("int* status;", body), Launch(1, 32, shared=32), status)


POLLING = """
    Watch watch{a.status};
    auto poll = [&](int i) {
      Wait patience(watch);
      while (any_empty(load_relaxed(a.words + 4 * i)) && patience.goes_on()) {}
    };"""
WAITING = """
    for (int i = 0; i < 5; i++) {
      if (blockIdx.x == 1) poll(0);
      sync_block();
    }
    if (t == 0) a.y[blockIdx.x] = watch.lost ? 2.f : 1.f;"""


def test_a_patient_machine_lets_the_watchdog_end_a_kernel():
    """The wait is given up, the kernel runs to its end, and its next launch says what happened."""
    words, y = empty(1), torch.full((2,), torch.nan)
    waiting = text("u32* words; float* y; int* status;", POLLING + WAITING)
    kernel = Emulated(patient=True).kernel(waiting, "a kernel")
    given = slots(words, y, kernel.status)
    kernel.launch(Launch(2, 64, together=True), given)
    assert kernel.said == 2  # 1 + the block
    assert y[1] == 2
    with pytest.raises(RuntimeError, match="a kernel: block 1 had waited too long"):
        kernel.launch(Launch(2, 64, together=True), given)
    status = torch.zeros(1, dtype=torch.int32)
    with pytest.raises(Broken, match="block 1: what another block stores at"):
        launched(waiting, Launch(2, 64), words, y, status)


def test_one_who_gives_up_makes_all_give_up():
    """Blocks that wait for a block that has given up do not wait for their own patience to end."""
    body = """
    poll(blockIdx.x);
    if (t == 0) {
      a.y[blockIdx.x] = watch.lost;
      store_relaxed(a.words + 4 * blockIdx.x + 4, make_uint4(1, 1, 1, 1));
    }"""
    words, y = empty(5), torch.full((4,), torch.nan)
    chained = text("u32* words; float* y; int* status;", POLLING + body)
    kernel = Emulated(patient=True, seed=2).kernel(chained)
    kernel.launch(Launch(4, 32, together=True), slots(words, y, kernel.status))
    assert kernel.said
    assert y[0] == 1
    assert not y.isnan().any()


def test_a_poll_without_patience_is_found_too():
    body = "while (any_empty(load_relaxed(a.words))) {}"
    with pytest.raises(Broken, match="what another block stores at"):
        launched(text("u32* words;", body), Launch(1, 32), empty(1))


# ---- what no card allows ------------------------------------------------------------------------

FORBIDDEN = {
    "reading past shared memory": ("a.y[t] = ((float*)memory)[t + 1];", r"byte 128 of 128"),
    "writing past shared memory": ("((float*)memory)[t + 1] = 1.f;", r"byte 128 of 128"),
    "before shared memory": ("a.y[t] = ((float*)memory)[-2000];", "an address that is not there"),
    "no address": ("*(float*)0 = 1.f;", r"block 0, thread 0: an address that is not there"),
    "half a warp": ("if (t < 16) sync_warp();", r"sync_warp, threads 0-15"),
    "two things in one warp": ("t < 16 ? sync_warp() : (void)shuffle(1u, 0);", "where others"),
    "a barrier of the wrong number": ("sync_some(16, 32);", "barriers are 1 to 15"),
    "a barrier of half a warp": ("sync_some(1, 48);", "no whole warps"),
    "no barrier": ("barrier_arm(shared_address(memory), 1);", "no barrier at byte 0"),
    "a barrier at an odd place": ("barrier_init(shared_address(memory + 4));", "multiple of 8"),
    "arming twice": (
        "if (t == 0) { const u32 b = shared_address(memory); barrier_init(b);"
        " barrier_arm(b, 16); barrier_arm(b, 16); }",
        "armed already, 16 bytes have not come",
    ),
    "sending past shared memory": (
        "const u32 b = shared_address(memory); barrier_init(b);"
        " send(b + 128, 1, 2, 3, 4, b);",
        "16 bytes to byte 128 of 128",
    ),
    "sending to half a word": (
        "const u32 b = shared_address(memory); barrier_init(b); send(b + 24, 1, 2, 3, 4, b);",
        "16 bytes to byte 24",
    ),
    "a block that is not there": ("in_block(0, 1);", "rank 1 in a cluster of 1"),
    "a load from an odd place": ("load_relaxed((char*)a.y + 4);", "a load of 16 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_no_card_allows_is_found(what):
    body, said = FORBIDDEN[what]
    with pytest.raises(Broken, match=said):
        launched(text("float* y;", body), Launch(1, 32, shared=128), torch.zeros(40))


def test_shared_memory_and_registers_hold_no_number_before_it_is_written():
    body = "float v[4]; a.y[t] = ((float*)memory)[t]; a.y[32 + t] = v[t % 4] + a.y[0];"
    y = torch.zeros(64)
    launched(text("volatile float* y;", body), Launch(1, 32, shared=128), y)
    assert y.isnan().all()


def test_a_text_that_is_no_c_is_shown_what_the_compiler_says():
    with pytest.raises(Broken, match="unknown_function"):
        Emulated().kernel(text("i64 n;", "unknown_function();"))
    with pytest.raises(ValueError, match=r"no primitives\.cu"):
        Emulated().kernel("void run() {}")


# ---- launches -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("launch", "said"),
    [
        (Launch(133, 32, together=True), "133 blocks together, where 132 fit"),
        (Launch(9 * 16, 32, cluster=16, together=True), "144 blocks together, where 128 fit"),
        (Launch(1, 48), "48 threads; a block has whole warps"),
        (Launch(1, 1056), "1056 threads"),
        (Launch(1, 32, shared=232449), "232449 bytes of shared memory of 232448"),
        (Launch(3, 32, cluster=2), "3 blocks in clusters of 2"),
    ],
)
def test_what_no_card_launches(launch, said):
    with pytest.raises(Broken, match=said):
        launched(text("i64 n;", ""), launch, 0)


def test_an_older_card_has_no_clusters():
    with pytest.raises(Broken, match="sm_80 has no clusters"):
        launched(text("i64 n;", ""), Launch(2, 32, cluster=2), 0, machine=Emulated("sm_80"))


SAID = "if (t == 0) store_relaxed(a.words + 4 * blockIdx.x, make_uint4(1, 1, 1, 1));"
HEARD = "for (int i = 0; i < gridDim.x; i++) poll(i);"


def test_blocks_that_do_not_fit_begin_when_others_have_ended():
    status = torch.zeros(1, dtype=torch.int32)
    kernel = text("u32* words; int* status;", POLLING + SAID + HEARD)
    launched(kernel, Launch(3, 32), empty(3), status, machine=Emulated(processors=3))
    with pytest.raises(Broken, match="nobody can go on"):  # the third waits for a place
        launched(kernel, Launch(3, 32), empty(3), status, machine=Emulated(processors=2))
    words, alone = empty(50), text("u32* words;", SAID)
    launched(alone, Launch(50, 64), words, machine=Emulated(processors=3, seed=1))
    assert (words == 1).all()


# ---- how it is built ----------------------------------------------------------------------------


def test_it_runs_on_other_processors_too():
    """Where there is no switch of our own, the system's is used."""
    body, launch, _, _ = WAITS["of a block, after reading"]
    x, y = torch.arange(96.0), torch.full((288,), torch.nan)
    machine = Emulated(seed=1, options=("-DUCONTEXT",))
    arguments = "const float* x; float* y; u32* words; int* status;"
    launched(text(arguments, body), launch, x, y, 0, 0, machine=machine)
    assert y.tolist() == outcome(body, launch, None)


PAST_A_TENSOR = """
import torch
from backends.gpu.test_emulator import Launch, launched, text
x, y = torch.ones(30), torch.zeros(30)
kernel = text("float* x; float* y; i64 n;", "sync_block(); if (t < a.n) a.y[t] = a.x[t];")
for n in (30, 31):
    launched(kernel, Launch(2, 64), x, y, n)
    print("ran", n, flush=True)
"""


@pytest.mark.slow
def test_addresses_past_a_tensor_are_found():
    ask = ["g++", "-print-file-name=libasan.so"]
    library = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    own = {"GATEWORK_SANITIZED": "1", "ASAN_OPTIONS": "detect_leaks=0", "LD_PRELOAD": library}
    paths = {"PYTHONPATH": os.pathsep.join([*map(str, emulated.HERE.parents[2:3]), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", PAST_A_TENSOR],
        env={**os.environ, **own, **paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "ran 30\n", done.stderr
    assert "heap-buffer-overflow" in done.stderr
    assert "in run" in done.stderr


def test_the_same_text_is_compiled_once(monkeypatch):
    kernel = text("i64 n;", "/* the same */")
    Emulated().kernel(kernel)
    monkeypatch.setattr(subprocess, "run", None)
    emulated._compiled.cache_clear()
    Emulated(seed=5, patient=True).kernel(kernel)
