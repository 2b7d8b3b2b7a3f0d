"""Settings of every test: hypothesis' profiles and a fixed seed."""

import os
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

from browser import browser  # noqa: F401 - one browser for the tests of every folder
from gatework import backends
from gatework.backends import cache
from gatework.backends.cpu import Cpu
from machine_code import AS_IT_STANDS

# The same examples in every run, so that a red test is red for everyone. To look for new ones:
# HYPOTHESIS_PROFILE=explore pytest tests/…
_COMMON = {
    "deadline": None,  # tests never time
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}
settings.register_profile("fixed", max_examples=40, derandomize=True, database=None, **_COMMON)
settings.register_profile("explore", max_examples=1000, **_COMMON)
os.environ.setdefault("KERAS_BACKEND", "torch")  # read when keras is imported
OPTIMISED = backends._BACKENDS["cpu"]
torch.set_num_threads(1)  # the test runner's workers share the processor's cores already
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


def pytest_runtest_setup(item):
    """What needs a card with CUDA is skipped where there is none, and nothing stands for one."""
    there = torch.cuda.is_available() or "GATEWORK_TEST_CARD" in os.environ
    if item.get_closest_marker("cuda") and not there:
        pytest.skip("needs a card with CUDA")


@pytest.fixture(autouse=True, scope="session")
def _kernels_of_their_own(tmp_path_factory):
    """Compiled kernels are kept beside the tests' other files; workers share them.

    GATEWORK_TEST_KERNELS names a folder that many runs share, such as the mutants'
    (tests/mutation). A kernel is kept by its code, so what changes is compiled anew.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    kernels = Path(os.environ.get("GATEWORK_TEST_KERNELS", shared / "kernels"))
    make_room = cache._make_room

    def make_room_elsewhere(where):
        """Thousands of kernels are not counted again for each new one; other folders' are."""
        if where != kernels:
            make_room(where)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATEWORK_CACHE_DIR", str(kernels))
        patch.setattr(cache, "_make_room", make_room_elsewhere)
        yield


@pytest.fixture(autouse=True, scope="session")
def _code_as_it_stands():
    """Machine code is run as it was written, without LLVM's optimisation: most of it runs once.

    What users run is tested by tests/backends. GATEWORK_TEST_OPTIMISED=1: by all tests.
    """
    with pytest.MonkeyPatch.context() as patch:
        if "GATEWORK_TEST_OPTIMISED" not in os.environ:
            patch.setitem(backends._BACKENDS, "cpu", Cpu(AS_IT_STANDS))
        yield


@pytest.fixture
def optimised(monkeypatch):
    """Machine code as users run it."""
    monkeypatch.setitem(backends._BACKENDS, "cpu", OPTIMISED)


@pytest.fixture(autouse=True)
def _seed():
    """Every test starts from the same random state and leaves torch's defaults as they were."""
    torch.manual_seed(0)
    dtype = torch.get_default_dtype()
    yield
    torch.set_default_dtype(dtype)


@pytest.fixture
def float64():
    """Tensors made without a dtype are float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
