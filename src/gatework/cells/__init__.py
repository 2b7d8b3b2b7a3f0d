"""The catalogue: every cell as its equations, a file for each paper or line of papers."""

from gatework.cells.antisymmetric_rnn import antisymmetric_rnn, gated_antisymmetric_rnn
from gatework.cells.atr import atr
from gatework.cells.attention_decoder import attention_decoder
from gatework.cells.bistable_recurrent_cell import brc, nbrc
from gatework.cells.caru import caru
from gatework.cells.cfc import cfc
from gatework.cells.cfn import cfn
from gatework.cells.clockwork_rnn import clockwork_rnn
from gatework.cells.delta_net import delta_net, gated_delta_net, kda
from gatework.cells.family import FAMILIES, Family
from gatework.cells.fast_weights import fast_weights
from gatework.cells.fastrnn import fastgrnn, fastrnn
from gatework.cells.gated_linear_attention import gla
from gatework.cells.gru import gru, gru_reset_before
from gatework.cells.gru_d import gru_d
from gatework.cells.hgrn import hgrn, hgrn2
from gatework.cells.hyper_lstm import hyper_lstm
from gatework.cells.indrnn import indrnn, indy_gru, indy_lstm
from gatework.cells.janet import janet
from gatework.cells.joint_layer_norm import dreamer_gru, layer_norm_lstm_joint
from gatework.cells.layer_norm_gru import layer_norm_gru
from gatework.cells.layer_norm_lstm import layer_norm_lstm
from gatework.cells.learning_memory import titans, ttt_linear
from gatework.cells.lem import lem
from gatework.cells.light_gru import lightru, ligru
from gatework.cells.lipschitz_rnn import lipschitz_rnn
from gatework.cells.lmu import lmu
from gatework.cells.lru import lru
from gatework.cells.lstm import coupled_gate_lstm, lstm, original_lstm, projected_lstm
from gatework.cells.ltc import ltc
from gatework.cells.mamba import mamba2, s6
from gatework.cells.memory_controller_lstm import memory_controller_lstm
from gatework.cells.mgu import mgu
from gatework.cells.min_rnn import min_gru, min_lstm
from gatework.cells.minimal_rnn import minimal_rnn
from gatework.cells.miru import miru1, miru2
from gatework.cells.mlstm import mlstm
from gatework.cells.mogrifier_lstm import mogrifier_lstm
from gatework.cells.multiplicative_lstm import multiplicative_lstm
from gatework.cells.mut import mut1, mut2, mut3
from gatework.cells.nas import nas
from gatework.cells.ntm import ntm
from gatework.cells.on_lstm import on_lstm
from gatework.cells.oscillatory_rnn import cornn, unicornn
from gatework.cells.peephole_lstm import peephole_lstm
from gatework.cells.phased_lstm import phased_lstm
from gatework.cells.qrnn import qrnn
from gatework.cells.quaternion import quaternion_lstm, quaternion_rnn
from gatework.cells.ran import ran
from gatework.cells.recurrent_highway_network import rhn
from gatework.cells.residual_lstm import residual_lstm
from gatework.cells.retention import retnet
from gatework.cells.rg_lru import rg_lru
from gatework.cells.rnn import irnn, leaky_rnn, rnn, rnn_relu
from gatework.cells.rwkv import rwkv4, rwkv6, rwkv7
from gatework.cells.s5 import s5
from gatework.cells.scrn import scrn
from gatework.cells.sgrn import sgrn
from gatework.cells.sgu import dsgu, sgu
from gatework.cells.slstm import slstm, slstm_heads
from gatework.cells.spiking import alif, lif
from gatework.cells.sru import sru
from gatework.cells.stack_rnn import stack_rnn
from gatework.cells.star import star
from gatework.cells.strongly_typed import t_gru, t_lstm, t_rnn
from gatework.cells.tau_gru import tau_gru
from gatework.cells.time_aware_lstm import time_aware_lstm
from gatework.cells.ugrnn import intersection_rnn, ugrnn
from gatework.cells.unitary import urnn
from gatework.cells.working_memory_lstm import working_memory_lstm
from gatework.lang.definition import Cell

__all__ = [
    "alif",
    "antisymmetric_rnn",
    "atr",
    "attention_decoder",
    "brc",
    "caru",
    "catalogue",
    "cfc",
    "cfn",
    "clockwork_rnn",
    "cornn",
    "coupled_gate_lstm",
    "delta_net",
    "dreamer_gru",
    "dsgu",
    "families",
    "fast_weights",
    "fastgrnn",
    "fastrnn",
    "gated_antisymmetric_rnn",
    "gated_delta_net",
    "gla",
    "gru",
    "gru_d",
    "gru_reset_before",
    "hgrn",
    "hgrn2",
    "hyper_lstm",
    "indrnn",
    "indy_gru",
    "indy_lstm",
    "intersection_rnn",
    "irnn",
    "janet",
    "kda",
    "layer_norm_gru",
    "layer_norm_lstm",
    "layer_norm_lstm_joint",
    "leaky_rnn",
    "lem",
    "lif",
    "lightru",
    "ligru",
    "lipschitz_rnn",
    "lmu",
    "lru",
    "lstm",
    "ltc",
    "mamba2",
    "memory_controller_lstm",
    "mgu",
    "min_gru",
    "min_lstm",
    "minimal_rnn",
    "miru1",
    "miru2",
    "mlstm",
    "mogrifier_lstm",
    "multiplicative_lstm",
    "mut1",
    "mut2",
    "mut3",
    "nas",
    "nbrc",
    "ntm",
    "on_lstm",
    "original_lstm",
    "peephole_lstm",
    "phased_lstm",
    "projected_lstm",
    "qrnn",
    "quaternion_lstm",
    "quaternion_rnn",
    "ran",
    "residual_lstm",
    "retnet",
    "rg_lru",
    "rhn",
    "rnn",
    "rnn_relu",
    "rwkv4",
    "rwkv6",
    "rwkv7",
    "s5",
    "s6",
    "scrn",
    "sgrn",
    "sgu",
    "slstm",
    "slstm_heads",
    "sru",
    "stack_rnn",
    "star",
    "t_gru",
    "t_lstm",
    "t_rnn",
    "tau_gru",
    "time_aware_lstm",
    "titans",
    "ttt_linear",
    "ugrnn",
    "unicornn",
    "urnn",
    "working_memory_lstm",
]


def catalogue() -> dict[str, Cell]:
    """Every cell of the catalogue by its name.

    Example:
        >>> "lstm" in catalogue()
        True
    """
    return {name: v for name in __all__ if isinstance(v := globals()[name], Cell)}


def families() -> dict[str, Family]:
    """The families of the catalogue by their short names; each cell belongs to one.

    Example:
        >>> families()["matrix"].title
        'Matrix memories'
        >>> "gru" in families()["gru"].names
        True
    """
    return dict(FAMILIES)
