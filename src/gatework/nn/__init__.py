"""Recurrent layers as torch modules."""

from gatework.nn import init, state
from gatework.nn.carrying import Carry
from gatework.nn.layers import GRU, LSTM, RNN
from gatework.nn.masking import Compacted, compacted
from gatework.nn.recurrent import Recurrent
from gatework.nn.steps import GRUCell, LSTMCell, RecurrentCell, RNNCell
from gatework.nn.streaming import Stream
from gatework.nn.traces import DirectionTrace, LayerTrace

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Carry",
    "Compacted",
    "DirectionTrace",
    "GRUCell",
    "LSTMCell",
    "LayerTrace",
    "RNNCell",
    "Recurrent",
    "RecurrentCell",
    "Stream",
    "compacted",
    "init",
    "state",
]
