"""The families of the catalogue: the idea that cells share, and which cells share it.

A cell belongs to one family, by the idea that it is known for: an LSTM that forgets by the time
since its last step is a cell of irregular steps. The order is that of the documentation.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FAMILIES", "Family"]


@dataclass(frozen=True)
class Family:
    """Cells that share an idea.

    Attributes:
        title: What the family is called.
        about: The idea.
        names: Its cells, what to read first at the beginning.
    """

    title: str
    about: str
    names: tuple[str, ...]


def _family(title: str, about: str, names: str) -> Family:
    return Family(title, about, tuple(names.split()))


FAMILIES = {
    "vanilla": _family(
        "The vanilla RNN and its like",
        "A squashed map of input and state is the whole new state, or a fixed part of it: nothing "
        "in the step decides what is kept.",
        "rnn rnn_relu irnn leaky_rnn indrnn scrn clockwork_rnn quaternion_rnn",
    ),
    "lstm": _family(
        "LSTMs",
        "A memory cell beside the output, and gates that say what enters it, what stays and what "
        "leaves.",
        "lstm original_lstm coupled_gate_lstm projected_lstm peephole_lstm layer_norm_lstm "
        "layer_norm_lstm_joint indy_lstm multiplicative_lstm residual_lstm memory_controller_lstm "
        "on_lstm working_memory_lstm nas slstm slstm_heads mogrifier_lstm hyper_lstm "
        "quaternion_lstm",
    ),
    "gru": _family(
        "GRUs",
        "One state, which an update gate mixes with a candidate; the candidate sees the state "
        "through a reset gate or another modulation.",
        "gru gru_reset_before layer_norm_gru dreamer_gru indy_gru mut1 mut2 mut3 caru tau_gru brc "
        "nbrc",
    ),
    "lean": _family(
        "Lean gates: fewer than the GRU's, or cheaper",
        "What is left of the LSTM and the GRU when gates, maps or biases are taken away; and "
        "highways, whose gates carry a value past a map.",
        "mgu janet ligru lightru ugrnn intersection_rnn minimal_rnn rhn atr ran cfn star sru "
        "fastrnn fastgrnn sgu dsgu sgrn miru1 miru2",
    ),
    "scan": _family(
        "Scans: gates that read no state",
        "The new state is linear in the old one, by factors made of the input alone. All steps can "
        "be computed at once, as a scan; state spaces are of this kind.",
        "min_gru min_lstm t_rnn t_gru t_lstm qrnn lru rg_lru hgrn s5 s6 rwkv4",
    ),
    "matrix": _family(
        "Matrix memories",
        "Each head holds a matrix, to which outer products of a key and a value are written and "
        "which a query reads: linear attention, the delta rule, state spaces with heads.",
        "mlstm gla retnet hgrn2 rwkv6 delta_net gated_delta_net kda rwkv7 mamba2 ttt_linear titans "
        "fast_weights",
    ),
    "time": _family(
        "Continuous time and irregular steps",
        "The time of a step, the gap since the last one or what is missing in it is an input of "
        "its own.",
        "phased_lstm time_aware_lstm gru_d cfc ltc",
    ),
    "dynamics": _family(
        "Oscillators and stable dynamics",
        "The step is one of a differential equation, chosen so that what it does over a long time "
        "is known: to swing, to stay bounded, to hold a window of the past.",
        "antisymmetric_rnn gated_antisymmetric_rnn lipschitz_rnn cornn unicornn lem lmu urnn",
    ),
    "memory": _family(
        "Tapes, stacks and annotations",
        "A controller looks into a memory of many places, and says by shares where it reads and "
        "writes.",
        "ntm stack_rnn attention_decoder",
    ),
    "spiking": _family(
        "Spiking neurons",
        "A membrane leaks, and fires where it reaches a threshold: the output is 0 or 1, and is "
        "trained by a derivative that stands in for its own.",
        "lif alif",
    ),
}
"""Every family by its short name; each cell of the catalogue stands in one of them."""
