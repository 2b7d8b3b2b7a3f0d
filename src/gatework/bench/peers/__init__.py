"""Who is compared with whom. Each file knows one of them and imports it only when it is asked."""

from gatework.bench.peers.contestant import Contestant, Work
from gatework.bench.peers.jax_scan import JaxScan
from gatework.bench.peers.onnx_runtime import OnnxRuntime
from gatework.bench.peers.ours import Gatework
from gatework.bench.peers.python_loop import PythonLoop
from gatework.bench.peers.torch_nn import TorchNn
from gatework.bench.peers.torchrecurrent import TorchRecurrent

__all__ = ["CONTESTANTS", "OURS", "Contestant", "Work"]

OURS = Gatework()
CONTESTANTS: tuple[Contestant, ...] = (
    OURS, TorchNn(), OnnxRuntime(), PythonLoop(), TorchRecurrent(), JaxScan()
)  # fmt: skip
"""In the order of the table's columns, ours first."""
