"""Kernels are loaded and launched as the driver wants it. The driver here is a Python object."""

from array import array
from concurrent.futures import ThreadPoolExecutor
from ctypes import memset, sizeof

import pytest
import torch

from fake_driver import MAIN, FakeDriver
from gatework.backends.gpu import driver, libcuda, nvrtc
from gatework.backends.gpu.driver import Card
from gatework.backends.gpu.loop import Refused
from gatework.backends.gpu.machine import Launch

SLOTS = array("q", [10, -1, 2**40])
SHARED, CLUSTERS = 8, 14  # attributes of a function


@pytest.fixture(autouse=True)
def compiled(monkeypatch):
    """What was compiled, for which architecture."""
    found = []

    def compile_text(text, architecture):
        found.append((text, architecture))
        return nvrtc.Compiled(b"code of " + text.encode(), 40, 8)

    monkeypatch.setattr(nvrtc, "compile_text", compile_text)
    return found


@pytest.fixture
def streams(monkeypatch):
    """The current stream of each device."""
    current = {0: 0, 1: 0}
    monkeypatch.setattr(driver, "raw_stream", lambda: current.__getitem__)
    return current


@pytest.fixture
def install(monkeypatch, streams):
    def to_be_used(**facts):
        fake = FakeDriver(**facts)
        monkeypatch.setattr(libcuda, "library", lambda: fake)
        driver._card.cache_clear()
        return fake

    yield to_be_used
    driver._card.cache_clear()


@pytest.fixture
def fake(install):
    return install()


def test_the_structs_are_laid_out_as_in_the_drivers_header():
    assert sizeof(libcuda.Attribute) == 72
    assert libcuda.Attribute.value.offset == 8
    offsets = {n: getattr(libcuda.Config, n).offset for n, _ in libcuda.Config._fields_}
    assert offsets == {
        "grid": 0, "block": 12, "shared": 24, "stream": 32, "attributes": 40, "count": 48,
    }  # fmt: skip
    assert sizeof(libcuda.Config) == 56


def test_facts_of_a_card(fake):
    hopper = Card(0)
    assert (hopper.architecture, hopper.processors, hopper.shared) == ("sm_90a", 132, 232_448)
    assert hopper.clusters


@pytest.mark.parametrize(
    ("capability", "architecture", "clusters"),
    [((8, 0), "sm_80", False), ((8, 9), "sm_89", False), ((10, 0), "sm_100", True)],
)
def test_other_cards(capability, architecture, clusters, install):
    install(facts={75: capability[0], 76: capability[1]})
    other = Card(0)
    assert (other.architecture, other.clusters) == (architecture, clusters)


def test_a_text_is_loaded_once(fake, compiled):
    hopper = Card(0)
    kernel = hopper.kernel("text")
    assert hopper.kernel("text") is kernel
    assert hopper.kernel("other") is not kernel
    assert compiled == [("text", "sm_90a"), ("other", "sm_90a")]
    assert (kernel.registers, kernel.spilled) == (40, 8)
    assert fake.attributes == [(101, CLUSTERS, 1), (102, CLUSTERS, 1)]


def test_loading_is_allowed_in_a_capture_and_leaves_all_as_it_was(fake):
    fake.contexts.append(77)
    Card(1).kernel("text")
    assert fake.loaded == [(MAIN + 1, libcuda.CAPTURE_MODE_RELAXED, b"code of text")]
    assert fake.contexts == [0, 77]
    assert fake.mode == 0


def test_two_threads_load_one_kernel(fake, compiled):
    hopper = Card(0)
    with ThreadPoolExecutor(4) as pool:
        kernels = list(pool.map(hopper.kernel, ["text"] * 8))
    assert len({id(k) for k in kernels}) == len(compiled) == 1


@pytest.mark.parametrize(
    ("launch", "attributes"),
    [
        (Launch(8, 128), []),
        (Launch(32, 256, 1000, cluster=16), [(4, [16, 1, 1])]),
        (Launch(96, 384, 200_000, together=True), [(2, [1])]),
        (Launch(16, 96, cluster=2, together=True), [(4, [2, 1, 1]), (2, [1])]),
    ],
)
def test_a_launch(launch, attributes, fake, streams):
    streams[0] = 1234
    Card(0).kernel("text").launch(launch, SLOTS)
    ((function, given, slots, context),) = fake.launches
    assert (function, slots, context) == (101, list(SLOTS), MAIN)
    found = given.pop("attributes")
    assert given == {
        "grid": [launch.blocks, 1, 1], "block": [launch.threads, 1, 1],
        "shared": launch.shared, "stream": 1234,
    }  # fmt: skip
    assert [
        (a, values[: len(v)]) for (a, values), (_, v) in zip(found, attributes, strict=True)
    ] == (attributes)


def test_shared_memory_is_asked_for_before_it_is_used(fake):
    kernel = Card(0).kernel("text")
    for shared in (0, 1000, 500, 2000, 1000):
        kernel.launch(Launch(1, 32, shared), SLOTS)
    assert [v for _, a, v in fake.attributes if a == SHARED] == [1000, 2000]
    order = [c for c in fake.calls if c in ("cuFuncSetAttribute", "cuLaunchKernelEx")]
    _, *rest = order  # the first allows clusters
    assert rest[:3] == ["cuLaunchKernelEx", "cuFuncSetAttribute", "cuLaunchKernelEx"]


def test_a_second_launch_only_launches(fake):
    fake.contexts.append(MAIN)
    kernel = Card(0).kernel("text")
    for _ in range(2):
        fake.calls.clear()
        kernel.launch(Launch(1, 32, 1000), SLOTS)
    assert fake.calls == ["cuCtxGetCurrent", "cuLaunchKernelEx"]
    assert [context for *_, context in fake.launches] == [MAIN, MAIN]


def test_another_card_is_current(fake):
    fake.contexts.append(MAIN)
    Card(1).kernel("text").launch(Launch(1, 32), SLOTS)
    assert [context for *_, context in fake.launches] == [MAIN + 1]
    assert fake.contexts == [0, MAIN]


def test_every_stream_and_launch_has_its_own(fake, streams):
    kernel = Card(0).kernel("text")
    for stream in (5, 6, 5, *range(100, 200)):
        streams[0] = stream
        for blocks in (1, 2):
            kernel.launch(Launch(blocks, 32), SLOTS)
            (_, given, *_) = fake.launches[-1]
            assert (given["stream"], given["grid"][0]) == (stream, blocks)
    assert len(kernel._prepared) <= driver.MOST_PREPARED


@pytest.mark.parametrize(
    ("launch", "count"),
    [
        (Launch(112, 256, cluster=16), 7),
        (Launch(64, 256, cluster=8), 15),
        (Launch(64, 256), 264),
        (Launch(64, 256, 200_000), 132),
    ],
)
def test_what_runs_at_the_same_time(launch, count, fake):
    hopper = Card(0)
    assert hopper.resident(hopper.kernel("text"), launch) == count
    assert fake.contexts == [0]


@pytest.mark.parametrize(
    ("function", "code", "said"),
    [
        ("cuLaunchKernelEx", 720, "do not fit on the card at the same time"),
        ("cuLaunchKernelEx", 700, "start it again"),
        ("cuLaunchKernelEx", 999, r"CUDA_ERROR_OF_A_TEST \(999\)"),
        ("cuModuleLoadData", 2, "memory is full"),
    ],
)
def test_errors_say_what_to_do(function, code, said, fake):
    hopper = Card(0)
    fake.failing[function] = code
    with pytest.raises(RuntimeError, match=said):
        hopper.kernel("text", "group of 16").launch(Launch(1, 32), SLOTS)
    assert fake.contexts == [0]
    assert fake.mode == 0


def test_an_error_of_a_launch_names_the_kernel(fake):
    kernel = Card(0).kernel("text", "group of 16")
    fake.failing["cuLaunchKernelEx"] = 1
    with pytest.raises(RuntimeError, match=r"blocks=3.*group of 16"):
        kernel.launch(Launch(3, 32), SLOTS)


def test_a_driver_that_is_too_old_for_the_code(fake):
    fake.failing["cuModuleLoadData"] = 222
    with pytest.raises(Refused, match="update it"):
        Card(0).kernel("text")


def test_a_kernel_that_waited_too_long(fake):
    hopper = Card(0)
    first, second = hopper.kernel("a", "of a"), hopper.kernel("b", "of b")
    assert first.status != second.status
    first.launch(Launch(1, 32), SLOTS)
    memset(second.status, 1, 1)
    with pytest.raises(RuntimeError, match=r"cuda:0 a kernel of Gatework \(of b\) waited too long"):
        first.launch(Launch(1, 32), SLOTS)
    assert len(fake.launches) == 1
    first.launch(Launch(1, 32), SLOTS)
    assert len(fake.launches) == 2


def test_more_kernels_than_words(fake):
    hopper = Card(0)
    kernels = [hopper.kernel(str(k), f"number {k}") for k in range(driver.WORDS + 1)]
    assert len({k.status for k in kernels}) == driver.WORDS
    memset(kernels[0].status, 1, 1)
    with pytest.raises(RuntimeError, match=f"number 0 or number {driver.WORDS}"):
        kernels[5].launch(Launch(1, 32), SLOTS)


def test_the_machine_of_a_device(fake, monkeypatch):
    monkeypatch.setattr(nvrtc, "refusal", lambda architecture: None)
    first = driver.card(torch.device("cuda", 0))
    assert driver.card(torch.device("cuda", 0)) is first
    assert driver.card(torch.device("cuda", 1)).index == 1
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert driver.card(torch.device("cuda")) is first


def test_no_kernels_for_an_old_card(install):
    install(facts={75: 7, 76: 5})
    with pytest.raises(Refused, match="sm_75"):
        driver.card(torch.device("cuda", 0))


def test_no_kernels_for_rocm(fake, monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.2")
    with pytest.raises(Refused, match="ROCm"):
        driver.card(torch.device("cuda", 0))
    assert fake.calls == []


def test_no_driver(monkeypatch):
    libcuda.library.cache_clear()
    monkeypatch.setattr(libcuda, "LIBRARY", "libnone.so.1")
    driver._card.cache_clear()
    with pytest.raises(Refused, match="not on this machine"):
        driver.card(torch.device("cuda", 0))
    driver._card.cache_clear()


def test_a_library_without_the_newest_function(monkeypatch):
    libcuda.library.cache_clear()
    monkeypatch.setattr(libcuda, "LIBRARY", None)  # this process itself
    with pytest.raises(Refused, match=r"older than CUDA 11\.8"):
        libcuda.library()
