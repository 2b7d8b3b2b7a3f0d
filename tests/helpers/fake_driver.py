"""CUDA's driver as a Python object: it does nothing, and remembers what it was asked."""

import ctypes
from array import array

ATTRIBUTES = {16: 132, 97: 227 * 1024, 75: 9, 76: 0}  # of an H100
MAIN = 4096  # the context of device 0; the next ones follow


class FakeDriver:
    """The functions of libcuda that the backend calls.

    Attributes:
        calls: The names of the functions that were called, in order.
        launches: What was launched: function, configuration by name, slots, context, stream.
        failing: Error codes by function, which are returned in place of 0.
        contexts: The contexts of this thread, the current one last; 0 is none.
        attributes: Of functions: (function, attribute, value).
    """

    def __init__(self, slots=3, **facts):
        self.slots, self.facts = slots, ATTRIBUTES | facts.pop("facts", {})
        self.calls, self.launches, self.failing, self.attributes = [], [], {}, []
        self.contexts, self.modes, self.mode, self.memory = [0], [], 0, []
        self.loaded = []

    def __getattr__(self, name):
        if not name.startswith("cu"):
            raise AttributeError(name)

        def call(*arguments):
            self.calls.append(name)
            failed = self.failing.get(name, 0)
            return failed or self.answer(name, *arguments) or 0

        return call

    def answer(self, name, *arguments):
        return getattr(self, f"_{name}", lambda *_: 0)(*arguments)

    def _cuDeviceGet(self, device, index):
        device._obj.value = index

    def _cuDeviceGetAttribute(self, value, attribute, device):
        value._obj.value = self.facts[attribute]

    def _cuDevicePrimaryCtxRetain(self, context, device):
        context._obj.value = MAIN + device.value

    def _cuCtxGetCurrent(self, context):
        context._obj.value = self.contexts[-1] or None

    def _cuCtxPushCurrent_v2(self, context):
        self.contexts.append(context.value)

    def _cuCtxPopCurrent_v2(self, context):
        context._obj.value = self.contexts.pop()

    def _cuThreadExchangeStreamCaptureMode(self, mode):
        self.mode, mode._obj.value = mode._obj.value, self.mode
        self.modes.append(self.mode)

    def _cuModuleLoadData(self, module, cubin):
        self.loaded.append((self.contexts[-1], self.mode, cubin))
        module._obj.value = len(self.loaded)

    def _cuModuleGetFunction(self, function, module, name):
        assert name == b"run"
        function._obj.value = 100 + module.value

    def _cuFuncSetAttribute(self, function, attribute, value):
        self.attributes.append((function.value, attribute, value))

    def _cuMemHostAlloc(self, address, size, flags):
        self.memory.append(ctypes.create_string_buffer(b"x" * size.value, size.value))
        address._obj.value = ctypes.addressof(self.memory[-1])

    def _cuOccupancyMaxActiveClusters(self, count, function, config):
        count._obj.value = 7 if read(config._obj)["attributes"][0][1][0] > 8 else 15

    def _cuOccupancyMaxActiveBlocksPerMultiprocessor(self, count, function, threads, shared):
        count._obj.value = 1 if shared.value > 100_000 else 2

    def _cuGetErrorName(self, code, text):
        text._obj.value = b"CUDA_ERROR_OF_A_TEST"

    def _cuLaunchKernelEx(self, config, function, slots, extra):
        assert extra is None
        given = array("q", bytes((ctypes.c_char * (8 * self.slots)).from_address(slots[0])))
        self.launches.append((function.value, read(config._obj), list(given), self.contexts[-1]))


def read(config):
    """A configuration of a launch in Python's own types."""
    attributes = [(a.id, list(a.value)) for a in config.attributes[: config.count]]
    return {
        "grid": list(config.grid), "block": list(config.block), "shared": config.shared,
        "stream": config.stream or 0, "attributes": attributes,
    }  # fmt: skip
