"""The primitives of kernels: the emulated ones do what PTX says, and all compile for cards."""

import re

import pytest
import torch

from backends.gpu.emulator.emulated import Emulated, slots
from gatework.backends.gpu import text as texts
from gatework.backends.gpu.machine import Launch
from gatework.backends.gpu.nvrtc import compile_text

DTYPES = {"float": torch.float32, "half": torch.float16, "bfloat16": torch.bfloat16}
SEEDS = [None, 0, 1, 2]


def run(body, values, *, element="float", launch=None, machine=None, exact=True):
    """Launch a kernel, by default one warp, with a slot for each value."""
    kernel = (machine or Emulated()).kernel(texts.assembled(body, element, exact=exact))
    kernel.launch(launch or Launch(blocks=1, threads=32), slots(*values))


def kernel(arguments, body):
    return f"""
struct Arguments {{ {arguments} }};
extern "C" __global__ void run(const Arguments a) {{
  const int lane = threadIdx.x % 32;
  {body}
}}
"""


def nan(*shape, dtype=torch.float32):
    return torch.full(shape, torch.nan, dtype=dtype)


# ---- a block ------------------------------------------------------------------------------------

SUM = """
struct Arguments { const el* x; el* total; i64 count; };

// Adds numbers: each thread some, then each warp its own, then the block.
extern "C" __global__ void __launch_bounds__(128) run(const Arguments a) {
  float* sums = (float*)shared_memory();
  float sum = 0.f;
  for (int i = threadIdx.x; i < a.count; i += blockDim.x) sum += load(a.x + i);
  for (int mask = 16; mask; mask /= 2) sum += shuffle_xor(sum, mask);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
  sync_block();
  if (threadIdx.x == 0) store(a.total, sums[0] + sums[1] + sums[2] + sums[3]);
}
"""


@pytest.mark.parametrize("element", DTYPES)
def test_a_block_adds_numbers(element):
    x = torch.randn(777).to(DTYPES[element])
    total = nan(1, dtype=x.dtype)
    launch = Launch(blocks=1, threads=128, shared=16)
    run(SUM, [x, total, x.numel()], element=element, launch=launch, machine=Emulated(seed=1))
    torch.testing.assert_close(total[0], x.double().sum().to(x.dtype))


def test_warps_meet_at_a_barrier_of_their_own():
    body = """
    float* at = (float*)shared_memory();
    const int tile = threadIdx.x / 64;
    at[threadIdx.x] = (float)threadIdx.x;
    sync_some(1 + tile, 64);
    a.y[threadIdx.x] = at[tile * 64 + (threadIdx.x + 32) % 64];"""
    for seed in SEEDS:
        y = nan(128)
        launch = Launch(blocks=1, threads=128, shared=512)
        run(kernel("float* y;", body), [y], launch=launch, machine=Emulated(seed=seed))
        assert torch.equal(y, torch.arange(128.0).view(2, 2, 32).flip(1).flatten())


# ---- elements -----------------------------------------------------------------------------------


@pytest.mark.parametrize("element", ["half", "bfloat16"])
def test_every_16_bit_number_is_read_and_written(element):
    body = """
    for (int i = lane; i < 65536; i += 32) {
      a.wide[i] = load(a.x + i);
      store(a.y + i, a.wide[i]);
    }"""
    x = torch.arange(65536).to(torch.uint16).view(DTYPES[element])
    wide, y = nan(65536), nan(65536, dtype=x.dtype)
    run(kernel("const el* x; float* wide; el* y;", body), [x, wide, y], element=element)
    assert torch.equal(wide.nan_to_num(7), x.float().nan_to_num(7))
    assert torch.equal(y.nan_to_num(7), x.nan_to_num(7))
    assert set(y[x.isnan()].view(torch.int16).tolist()) == {0x7FFF}  # never that of an empty word


@pytest.mark.parametrize("element", ["half", "bfloat16"])
def test_numbers_are_rounded_as_torch_does(element):
    body = "for (int i = lane; i < a.count; i += 32) store(a.y + i, a.x[i]);"
    x = torch.randint(-(2**31), 2**31, (20000,)).to(torch.int32).view(torch.float32)
    ties = torch.tensor([1.00390625, 1.01171875, 1.00048828125, 1.00146484375, 65520, 65519, 3e38])
    x = torch.cat([x, ties, torch.linspace(-1e-7, 1e-7, 999)])
    y = nan(x.numel(), dtype=DTYPES[element])
    run(kernel("const float* x; el* y; i64 count;", body), [x, y, x.numel()], element=element)
    assert torch.equal(y.nan_to_num(7), x.to(y.dtype).nan_to_num(7))


def test_a_float_that_is_sent_is_never_an_empty_word():
    body = "a.y[lane] = kept_apart(a.x[lane]);"
    x = torch.arange(32.0)
    x.view(torch.int32)[:2] = torch.tensor([-1, 0x7F800001])
    y = nan(32)
    run(kernel("const float* x; float* y;", body), [x, y])
    assert y.view(torch.int32)[:2].tolist() == [0x7FFFFFFF] * 2
    assert torch.equal(y[2:], x[2:])


# ---- products: where PTX says that the numbers of a fragment lie --------------------------------


def fragments_k16(a, b):
    """Six words of two halves for each lane, of a [16, 16] and b [16, 8]."""
    halves = torch.empty(32, 12, dtype=a.dtype)
    for lane in range(32):
        group, thread = lane // 4, lane % 4
        for i in range(8):
            row = group if i < 2 or 4 <= i < 6 else group + 8
            halves[lane, i] = a[row, thread * 2 + (i & 1) + (8 if i >= 4 else 0)]
        for i in range(4):
            halves[lane, 8 + i] = b[thread * 2 + (i & 1) + (8 if i >= 2 else 0), group]
    return halves


def fragments_k8(a, b):
    """Six floats for each lane, of a [16, 8] and b [8, 8]."""
    floats = torch.empty(32, 6)
    for lane in range(32):
        group, thread = lane // 4, lane % 4
        for i in range(4):
            floats[lane, i] = a[group + 8 * (i % 2), thread + 4 * (i // 2)]
        for i in range(2):
            floats[lane, 4 + i] = b[thread + 4 * i, group]
    return floats


def of_lanes(d):
    """The result [16, 8] of four floats of each lane."""
    result = torch.empty(16, 8)
    for lane in range(32):
        for i in range(4):
            result[lane // 4 + 8 * (i // 2), lane % 4 * 2 + (i & 1)] = d[lane, i]
    return result


PRODUCT = kernel(
    "const u32* words; float* d;",
    """
    const u32* w = a.words + lane * 6;
    float d[4] = {a.d[lane * 4], a.d[lane * 4 + 1], a.d[lane * 4 + 2], a.d[lane * 4 + 3]};
    mma(d, w, w[4], w[5]);
    for (int i = 0; i < 4; i++) a.d[lane * 4 + i] = d[i];""",
)


@pytest.mark.parametrize("element", ["half", "bfloat16"])
def test_a_product_of_halves(element):
    a, b = torch.randn(16, 16).to(DTYPES[element]), torch.randn(16, 8).to(DTYPES[element])
    d = torch.randn(32, 4)
    expected = of_lanes(d).double() + a.double() @ b.double()
    run(PRODUCT, [fragments_k16(a, b), d], element=element)
    torch.testing.assert_close(of_lanes(d).double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("exact", "digits"), [(True, 2e-6), (False, 5e-3)])
def test_a_product_of_floats(exact, digits):
    a, b, d = torch.randn(16, 8), torch.randn(8, 8), torch.randn(32, 4)
    expected = of_lanes(d).double() + a.double() @ b.double()
    run(PRODUCT, [fragments_k8(a, b), d], exact=exact)
    torch.testing.assert_close(of_lanes(d).double(), expected, rtol=digits, atol=digits)
    assert exact or (of_lanes(d) - expected).abs().max() > 1e-5  # tf32 it is


@pytest.mark.parametrize("element", DTYPES)
def test_an_operand_is_multiplied_as_it_lies(element):
    """The rows of weights are read where a lane reads the operand's: the order of the sum."""
    body = """
    el* operand = (el*)shared_memory();
    for (int i = lane; i < 8 * K; i += 32) operand[op_at(i / K, i % K)] = a.h[i];
    sync_warp();
    const int q = lane % 4, r = lane / 4, from = q * 16 / (int)sizeof(el);
    const uint4 h = *(const uint4*)((const char*)operand + lane_at(lane));
    const uint4 v = *(const uint4*)(a.w + r * K + from);
    const uint4 w = *(const uint4*)(a.w + (r + 8) * K + from);
    float d[4] = {0.f, 0.f, 0.f, 0.f};
    const u32 first[4] = {v.x, w.x, v.y, w.y}, second[4] = {v.z, w.z, v.w, w.w};
    mma(d, first, h.x, h.y);
    mma(d, second, h.z, h.w);
    for (int i = 0; i < 4; i++) a.d[lane * 4 + i] = d[i];"""
    k = 64 // DTYPES[element].itemsize
    w, h = torch.randn(16, k).to(DTYPES[element]), torch.randn(8, k).to(DTYPES[element])
    d = nan(32, 4)
    text = kernel("const el* h; const el* w; float* d;", f"constexpr int K = {k};\n{body}")
    run(text, [h, w, d], element=element, launch=Launch(1, 32, shared=512))
    expected = w.double() @ h.double().T
    torch.testing.assert_close(of_lanes(d).double(), expected, rtol=1e-5, atol=1e-5)


# ---- lanes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "source"),
    [
        ("shuffle(v, 35)", lambda lane: 3),
        ("shuffle(v, lane * 7)", lambda lane: lane * 7 % 32),
        ("shuffle_down(v, 5)", lambda lane: lane + 5 if lane + 5 < 32 else lane),
        ("shuffle_up(v, 3)", lambda lane: lane - 3 if lane >= 3 else lane),
        ("shuffle_xor(v, 6)", lambda lane: lane ^ 6),
    ],
)
def test_shuffles(call, source):
    body = f"float v = a.x[lane]; a.y[lane] = {call};"
    x, y = torch.randn(32), nan(32)
    run(kernel("const float* x; float* y;", body), [x, y], machine=Emulated(seed=3))
    assert torch.equal(y, x[[source(lane) for lane in range(32)]])


# ---- blocks of a cluster ------------------------------------------------------------------------


def test_phases_of_a_barrier():
    """A phase ends once it was armed and as many bytes have come, in whatever order."""
    body = """
    const u32 at = shared_address(shared_memory()), to = at + 16;
    int k = 0;
    auto note = [&] { a.y[k++] = barrier_passed(at, 0) + 2 * barrier_passed(at, 1); };
    if (lane == 0) {
      barrier_init(at);
      note();                       // the phase before the first has passed
      send(to, 1, 2, 3, 4, at);
      note();                       // bytes that come before it is armed are counted
      barrier_arm(at, 16);
      note();
      barrier_arm(at, 32);
      send(to, 5, 6, 7, 8, at);
      note();
      send(to + 16, 9, 10, 11, 12, at);
      note();
      barrier_arm(at, 0);
      note();
      for (int i = 0; i < 4; i++) a.y[k++] = ((u32*)shared_memory())[4 + 2 * i];
    }"""
    y = nan(10)
    run(kernel("float* y;", body), [y], launch=Launch(1, 32, shared=48))
    assert y.tolist() == [2, 2, 1, 1, 2, 1, 5, 7, 9, 11]


GATHER = """
struct Arguments { float* y; int* status; i64 rounds; };
constexpr int BLOCKS = 4, BYTES = BLOCKS * 16;

// Each block sends its number to all, itself among them, and goes on with what came from all. Two
// buffers in turn are enough: whoever sends again has had what others sent after their reading.
extern "C" __global__ void __launch_bounds__(32) run(const Arguments a) {
  const u32 rank = blockIdx.x % BLOCKS;
  u32* words = (u32*)(shared_memory() + 16);
  const u32 barrier = shared_address(shared_memory()), inbox = shared_address(words);
  Watch watch{a.status};
  if (threadIdx.x == 0) {
    for (int side = 0; side < 2; side++) {
      barrier_init(barrier + side * 8);
      barrier_arm(barrier + side * 8, BYTES);
    }
    barrier_fence();
  }
  sync_cluster();
  u32 v = rank;
  for (int i = 0; i < a.rounds; i++) {
    const int side = i % 2;
    if (threadIdx.x < BLOCKS)
      send(in_block(inbox + side * BYTES + rank * 16, threadIdx.x), v, v + 1, v * v, 1,
           in_block(barrier + side * 8, threadIdx.x));
    wait(barrier + side * 8, i / 2 % 2, watch);
    for (int k = 0; k < BLOCKS; k++) v = v * 3 + words[(side * BLOCKS + k) * 4 + k % 3];
    v %= 1000;
    sync_warp();
    if (threadIdx.x == 0) arm(barrier + side * 8, BYTES, watch);
  }
  sync_cluster();
  a.y[blockIdx.x * 32 + threadIdx.x] = (float)v;
}
"""
GATHER_LAUNCH = Launch(blocks=8, threads=32, shared=144, cluster=4)


def gathered(rounds):
    values = [0, 1, 2, 3]
    for _ in range(rounds):
        sent = [(v, v + 1, v * v) for v in values]
        for rank in range(4):
            for k in range(4):
                values[rank] = values[rank] * 3 + sent[k][k % 3]
        values = [v % 1000 for v in values]
    return torch.tensor(values * 2)[:, None].expand(-1, 32).float()


@pytest.mark.parametrize("seed", SEEDS)
def test_blocks_of_a_cluster_send_to_each_other(seed):
    y, status = nan(8, 32), torch.zeros(1, dtype=torch.int32)
    run(GATHER, [y, status, 7], launch=GATHER_LAUNCH, machine=Emulated(seed=seed))
    assert torch.equal(y, gathered(7))
    assert status.item() == 0


# ---- blocks of a grid ---------------------------------------------------------------------------

GRID = """
struct Arguments { float* y; char* words; int* status; };

// Every block stores 16 bytes once; everybody reads those of all.
extern "C" __global__ void __launch_bounds__(32) run(const Arguments a) {
  Watch watch{a.status};
  const u32 n = gridDim.x, v = blockIdx.x + 1;
  if (threadIdx.x == 0) store_relaxed(a.words + blockIdx.x * 16, make_uint4(v, v * v, v, v));
  u32 sum = 0;
  for (u32 b = 0; b < n; b++) {
    uint4 w;
    Wait patience(watch);
    do w = load_relaxed(a.words + b * 16);
    while (any_empty(w) && patience.goes_on());
    sum += w.x + w.y + w.z + w.w;
  }
  a.y[blockIdx.x * 32 + threadIdx.x] = (float)sum;
}
"""


@pytest.mark.parametrize("seed", SEEDS)
def test_blocks_of_a_grid_read_what_others_store(seed):
    blocks = 5
    y, words = nan(blocks, 32), torch.full((blocks * 4,), -1, dtype=torch.int32)
    status = torch.zeros(1, dtype=torch.int32)
    launch = Launch(blocks, threads=32, together=True)
    run(GRID, [y, words, status], launch=launch, machine=Emulated(seed=seed))
    expected = torch.full((blocks, 32), float(sum(3 * v + v * v for v in range(1, blocks + 1))))
    assert torch.equal(y, expected)
    assert status.item() == 0


# ---- for cards ----------------------------------------------------------------------------------


def calls(primitives):
    """A kernel that calls every function of primitives.cu, with and for the types it names."""
    lines = []
    for result, name, given in re.findall(r"^DEVICE (.+?) ?(\w+)\(([^)]*)\)", primitives, re.M):
        kinds = [re.sub(r"\w+$", "", p).strip() for p in given.split(",") if p.strip()]
        args = ", ".join("make_uint4(1, 2, 3, 4)" if k == "uint4" else f"({k})a.v" for k in kinds)
        call = f"{name}({args})"
        lines.append(f"{call};" if result == "void" else f"*({result}*)a.p = {call};")
    lines = [line.replace("*)a.v", "*)a.p") for line in lines]
    return kernel("void* p; i64 v;", "\n  ".join(lines)), len(lines)


@pytest.mark.parametrize("element", DTYPES)
def test_every_primitive_is_there_for_cards_and_for_the_cpu(element):
    everything = texts.read(texts.PRIMITIVES)
    older = re.sub(r"#if __CUDA_ARCH__ >= 900\n.*?\n#endif", "", everything, flags=re.S)
    for architecture, primitives in (("sm_90a", everything), ("sm_80", older)):
        body, count = calls(primitives)
        assert count == primitives.count("\nDEVICE ")
        text = texts.assembled(body, element)
        assert compile_text(text, architecture).cubin
        Emulated(architecture).kernel(text)


@pytest.mark.parametrize("element", DTYPES)
def test_the_kernels_of_these_tests_compile_for_cards(element):
    for body in (SUM, GRID, GATHER, PRODUCT):
        assert compile_text(texts.assembled(body, element), "sm_90a").spilled == 0
    for body in (SUM, GRID, PRODUCT):
        assert compile_text(texts.assembled(body, element), "sm_80").spilled == 0
