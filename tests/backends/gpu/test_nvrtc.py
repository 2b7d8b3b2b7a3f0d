"""Kernels are compiled by NVRTC without a card, once, and what is missing is said."""

import sys
import textwrap

import pytest
import torch

from gatework.backends.gpu import nvrtc
from gatework.backends.gpu.loop import Refused
from gpu_compiling import HOPPER, compiled, registers_and_spills

DOUBLE = 'extern "C" __global__ void run(float *a) { a[threadIdx.x] *= 2.f; }'


@pytest.fixture
def no_folder(monkeypatch):
    monkeypatch.setenv("GATEWORK_CACHE_DIR", "")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("GATEWORK_CACHE_DIR", str(tmp_path))


@pytest.mark.parametrize("architecture", [HOPPER, "sm_80"])
def test_code_for_a_card(architecture, no_folder):
    made = compiled(DOUBLE, architecture)
    assert made.cubin.startswith(b"\x7fELF")
    assert 0 < made.registers <= 32
    assert made.spilled == 0


def test_spills_are_seen(no_folder):
    """Two hundred values at once do not fit in the registers that 1,024 threads leave to each."""
    many = textwrap.dedent("""
        extern "C" __global__ void __launch_bounds__(1024, 1) run(const float *a, float *b) {
          float v[200];
          #pragma unroll
          for (int i = 0; i < 200; i++) v[i] = a[i * 1024 + threadIdx.x];
          __syncthreads();
          #pragma unroll
          for (int i = 0; i < 200; i++) b[i * 1024 + threadIdx.x] = v[199 - i] * v[(i * 7) % 200];
        }
    """)
    registers, spilled = registers_and_spills(many)
    assert registers == 64
    assert spilled > 0


def test_what_the_assembler_says():
    log = textwrap.dedent("""
        ptxas info    : 3 bytes gmem
        ptxas info    : Function properties for run
            16 bytes stack frame, 12 bytes spill stores, 8 bytes spill loads
        ptxas info    : Used 168 registers, used 1 barriers, 16 bytes cumulative stack size
    """)
    assert nvrtc.resources(log) == (168, 12)
    assert nvrtc.resources("") == (0, 0)


def test_a_wrong_text(no_folder):
    compiled(DOUBLE)
    with pytest.raises(nvrtc.CompileError, match='identifier "wrong" is undefined'):
        nvrtc.compile_text('extern "C" __global__ void run() { wrong(); }', HOPPER)


class Counted(nvrtc.Library):
    """A library that only counts how often it is asked."""

    version, architectures = "1.0", frozenset({80, 90})

    def __init__(self):
        self.asked = []

    def compile_text(self, text, architecture):
        self.asked.append((text, architecture))
        return nvrtc.Compiled(b"co\nde", 7, 3)


@pytest.fixture
def counted(monkeypatch):
    library = Counted()
    monkeypatch.setattr(nvrtc, "_library", lambda: library)
    return library


def test_a_text_is_compiled_once(folder, counted):
    for _ in range(2):
        assert nvrtc.compile_text("a", "sm_80") == nvrtc.Compiled(b"co\nde", 7, 3)
    assert counted.asked == [("a", "sm_80")]


def test_everything_that_matters_is_in_the_key(folder, counted, monkeypatch):
    nvrtc.compile_text("a", "sm_80")
    nvrtc.compile_text("b", "sm_80")
    nvrtc.compile_text("a", "sm_90a")
    counted.version = "1.1"
    nvrtc.compile_text("a", "sm_80")
    monkeypatch.setattr(nvrtc, "OPTIONS", ("--another",))
    nvrtc.compile_text("a", "sm_80")
    assert len(counted.asked) == 5


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [("sm_75", r"sm_80 \(Ampere\) and newer"), ("sm_130", "NVRTC 1.0 does not know sm_130")],
)
def test_cards_that_nothing_is_compiled_for(architecture, reason, counted):
    with pytest.raises(Refused, match=reason):
        nvrtc.compile_text("a", architecture)
    assert nvrtc.refusal("sm_90a") is None


@pytest.mark.parametrize(
    ("cuda", "wheel"),
    [
        ("12.8", "nvidia-cuda-nvrtc-cu12"),
        ("13.0", "nvidia-cuda-nvrtc"),
        (None, "nvidia-cuda-nvrtc"),
    ],
)
def test_no_nvrtc(cuda, wheel, monkeypatch):
    monkeypatch.setattr(nvrtc, "_library", lambda: None)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    with pytest.raises(Refused, match=rf"pip install {wheel} "):
        nvrtc.compile_text("a", HOPPER)


def test_the_library_of_torchs_cuda_comes_first(tmp_path, monkeypatch):
    for name in ("a/lib/libnvrtc.so.13", "b/lib/libnvrtc.so.12", "b/lib/libnvrtc.alt.so.12",
                 "b/lib/libnvrtc-builtins.so.12.8"):  # fmt: skip
        path = tmp_path / "nvidia" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    old, new = (
        str(tmp_path / "nvidia" / n) for n in ("b/lib/libnvrtc.so.12", "a/lib/libnvrtc.so.13")
    )
    assert list(nvrtc._candidates()) == [old, new, *nvrtc.SONAMES]
    monkeypatch.setattr(torch.version, "cuda", None)
    assert list(nvrtc._candidates()) == [new, old, *nvrtc.SONAMES]


def test_a_library_in_torchs_own_folder(tmp_path, monkeypatch):
    """As wheels of torch have it that bring all of CUDA in one folder."""
    lib = tmp_path / "torch" / "lib"
    lib.mkdir(parents=True)
    for name in ("libnvrtc-672ee683.so.12", "libnvrtc-builtins.so.12.8", "libnvrtc.so"):
        (lib / name).touch()
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(torch, "__file__", str(tmp_path / "torch" / "__init__.py"))
    assert list(nvrtc._candidates()) == [str(lib / "libnvrtc-672ee683.so.12"), *nvrtc.SONAMES]


def test_what_is_no_library_is_passed_over(tmp_path, monkeypatch):
    broken = tmp_path / "libnvrtc.so.13"
    broken.write_text("nothing")
    monkeypatch.setattr(nvrtc, "_candidates", lambda: [str(broken), "libnone.so.1"])
    assert nvrtc._library.__wrapped__() is None
