"""Kernels of the GPU backend compiled by NVRTC, which needs no card: their registers and spills."""

import pytest

from gatework.backends.gpu import nvrtc

HOPPER = "sm_90a"


def compiled(text, architecture=HOPPER):
    """A kernel's text as machine code, or the test is skipped where there is no NVRTC."""
    if nvrtc._library() is None:
        pytest.skip(nvrtc.refusal(architecture))
    return nvrtc.compile_text(text, architecture)


def registers_and_spills(text, architecture=HOPPER):
    """Registers of a thread, and bytes that did not fit in them."""
    found = compiled(text, architecture)
    return found.registers, found.spilled
