"""RNN, LSTM and GRU: drop-in replacements for torch.nn's, by the catalogue's cells."""

from __future__ import annotations

from typing import Any, Unpack

from torch import nn

from gatework.cells import gru, lstm, projected_lstm, rnn, rnn_relu
from gatework.nn.options import LayerOptions
from gatework.nn.recurrent import Recurrent

NONLINEARITIES = {"tanh": rnn, "relu": rnn_relu}


class TorchLayer(Recurrent):
    """What other code looks for on a layer of torch.nn, such as initialisers and wrappers.

    Attributes:
        mode: Torch's name of the kind: "RNN_TANH", "RNN_RELU", "LSTM" or "GRU".
        proj_size: The size of the output if it is another than the hidden size; else 0.
    """

    mode: str
    proj_size: int = 0
    _shows_cell = False

    check_input = nn.RNNBase.check_input
    check_hidden_size = nn.RNNBase.check_hidden_size
    check_forward_args: Any = nn.RNNBase.check_forward_args
    get_expected_hidden_size = nn.RNNBase.get_expected_hidden_size
    permute_hidden: Any = nn.RNNBase.permute_hidden

    @property
    def _flat_weights_names(self) -> list[str]:
        return [name for one in self._directions() for name in one.names]

    @property
    def _flat_weights(self) -> list[nn.Parameter]:
        return [weight for weights in self.all_weights for weight in weights]


class RNN(TorchLayer):
    """The vanilla recurrent network, as torch.nn.RNN: h' = tanh(W x + b + U h + b').

    Everything is stored, nothing is selected, so over a long sequence the beginning is forgotten.
    The arguments are those of torch.nn.RNN, and the options of `Recurrent`, which explains both.

    Example:
        >>> import torch, gatework as gw
        >>> y, h = gw.nn.RNN(4, 8, nonlinearity="relu")(torch.randn(6, 2, 4))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        if nonlinearity not in NONLINEARITIES:
            raise ValueError(
                f"Unknown nonlinearity {nonlinearity!r}. Select from 'tanh' or 'relu'."
            )
        super().__init__(
            NONLINEARITIES[nonlinearity],
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device,
            dtype,
            **options,
        )
        self.nonlinearity, self.mode = nonlinearity, f"RNN_{nonlinearity.upper()}"


class LSTM(TorchLayer):
    """Long Short-Term Memory, as torch.nn.LSTM: a memory cell and three gates.

    The arguments are those of torch.nn.LSTM, and the options of `Recurrent`, which explains both.
    With `proj_size` the output and the hidden state have that size.

    Example:
        >>> import torch, gatework as gw
        >>> layer = gw.nn.LSTM(4, 8)
        >>> layer.load_state_dict(torch.nn.LSTM(4, 8).state_dict())
        <All keys matched successfully>
        >>> y, (h, c) = layer(torch.randn(6, 2, 4))
    """

    mode = "LSTM"
    check_forward_args = nn.LSTM.check_forward_args
    get_expected_cell_size = nn.LSTM.get_expected_cell_size
    permute_hidden = nn.LSTM.permute_hidden

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        if proj_size < 0:
            raise ValueError(
                "proj_size should be a positive integer or zero to disable projections"
            )
        if proj_size >= hidden_size > 0:
            raise ValueError("proj_size has to be smaller than hidden_size")
        sizes = {"proj_size": proj_size} if proj_size else {}
        super().__init__(
            projected_lstm if proj_size else lstm,
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device,
            dtype,
            **sizes,
            **options,
        )
        self.proj_size = proj_size


class GRU(TorchLayer):
    """Gated Recurrent Unit, as torch.nn.GRU: a reset gate and an update gate.

    The arguments are those of torch.nn.GRU, and the options of `Recurrent`, which explains both.
    The reset gate stands after the product; the other variant is `gw.cells.gru_reset_before`.

    Example:
        >>> import torch, gatework as gw
        >>> y, h = gw.nn.GRU(4, 8, bidirectional=True)(torch.randn(6, 2, 4))
    """

    mode = "GRU"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        super().__init__(
            gru,
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device,
            dtype,
            **options,
        )
