"""Models of others, before and after `gatework.accelerate`: the same results, and how much faster.

    pip install '.[models]'
    python benchmarks/models_of_others.py

Each model is built by its own package with random weights; nothing is downloaded. It is timed in
eval mode on one thread, as it comes and accelerated, in turns: the least processor time of many
calls, since whatever else the machine does only adds. What is not installed is named.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

import gatework as gw

Call = Callable[[nn.Module], Iterable[Tensor]]


@dataclass(frozen=True)
class Case:
    """A model of someone else.

    Attributes:
        package: What to import.
        title: What it is.
        make: The model and a call of it, which gives its floating-point results.
        train: Whether its users train it by this call.
    """

    package: str
    title: str
    make: Callable[[], tuple[nn.Module, Call]]
    train: bool = True


def tagger(kind: str = "lstm") -> tuple[nn.Module, Call]:
    """A recurrent CRF: packed sentences of unequal length, a Viterbi loss on top."""
    from bi_lstm_crf.model import BiRnnCrf

    words = torch.randint(1, 5000, (32, 50))
    for row, length in zip(words, torch.linspace(8, 50, 32).int().tolist(), strict=True):
        row[length:] = 0
    tags = torch.randint(10, words.shape)
    model = BiRnnCrf(5000, 10, embedding_dim=100, hidden_dim=256, num_rnn_layers=2, rnn=kind)
    return model, lambda m: [m.loss(words, tags)]


def policy() -> nn.Module:
    """RecurrentPPO's MlpLstmPolicy with its own sizes: LSTMs of 256 units for actor and critic."""
    import numpy as np
    from gymnasium.spaces import Box
    from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy

    box = Box(-1, 1, (17,), np.float32)
    return RecurrentActorCriticPolicy(box, Box(-1, 1, (6,), np.float32), lambda _: 3e-4)


def _policy_states(batch: int):
    from sb3_contrib.common.recurrent.type_aliases import RNNStates

    zeros = tuple(torch.zeros(1, batch, 256) for _ in range(2))
    return RNNStates(zeros, zeros)


def policy_update() -> tuple[nn.Module, Call]:
    """What PPO evaluates for an update: 8 sequences of 128 steps."""
    observed, done = torch.randn(1024, 17), torch.randn(1024, 6)
    states, starts = _policy_states(8), torch.zeros(1024)
    return policy(), lambda m: m.evaluate_actions(observed, done, states, starts)


def policy_step() -> tuple[nn.Module, Call]:
    """What it runs while it collects: one step of 8 environments."""
    observed, states, starts = torch.randn(8, 17), _policy_states(8), torch.zeros(8)
    return policy(), lambda m: m(observed, states, starts, deterministic=True)[:3]


def forecaster() -> tuple[nn.Module, Call]:
    """DeepAR with its own sizes: two layers of 40 units, the loss over 168 hours of 32 series."""
    from gluonts.torch.model.deepar.module import DeepARModel

    model = DeepARModel("h", context_length=168, prediction_length=24)
    inputs = {
        name: torch.rand(spec.shape).to(spec.dtype)  # categories are zero
        for name, spec in model.describe_inputs(32).data.items()
    }
    target = torch.rand(32, 24)
    return model, lambda m: [m.log_prob(**inputs, future_target=target)]


def codec() -> tuple[nn.Module, Call]:
    """EnCodec's encoder and decoder: convolutions around LSTMs of 512 units, a second of sound."""
    from transformers import EncodecConfig, EncodecModel

    model = EncodecModel(EncodecConfig())
    sound = 0.1 * torch.randn(1, 1, 24000)
    return model, lambda m: [m.decoder(m.encoder(sound))]


def separation() -> tuple[nn.Module, Call]:
    """Demucs with half its channels: convolutions around four BiLSTMs, four seconds of sound."""
    from demucs.demucs import Demucs

    model = Demucs(["voice", "rest"], channels=32, samplerate=16000)
    sound = 0.1 * torch.randn(1, 2, 64000)
    return model, lambda m: [m(sound)]


def character_model() -> tuple[nn.Module, Call]:
    """Stanza's character language model with its own sizes: 1,024 units, packed lines."""
    from stanza.models.common.char_model import CharacterLanguageModel

    sizes = {"char_emb_dim": 100, "char_hidden_dim": 1024, "char_num_layers": 1}
    rates = {"char_dropout": 0.05, "char_rec_dropout": 0.0}
    model = CharacterLanguageModel({**sizes, **rates}, {"char": list(range(300))})
    lengths = [200, 180, 150, 90, 60, 40, 20, 10]
    characters = torch.randint(300, (8, 200))
    return model, lambda m: m(characters, lengths)[::2]


def loop_of_cells() -> tuple[nn.Module, Call]:
    """Stanza's LSTM with recurrent dropout: a Python loop over torch's LSTMCell."""
    from stanza.models.common.packed_lstm import PackedLSTM

    model = PackedLSTM(100, 200, 1, batch_first=True, bidirectional=True, pad=True, rec_dropout=0.3)
    words, lengths = torch.randn(32, 40, 100), sorted((8 + i for i in range(32)), reverse=True)
    return model, lambda m: [m(words, lengths)[0]]


CASES = {
    "tagger": Case("bi_lstm_crf", "BiLSTM-CRF tagger, bi-lstm-crf", tagger),
    "tagger with GRU": Case("bi_lstm_crf", "BiGRU-CRF tagger, bi-lstm-crf", partial(tagger, "gru")),
    "policy update": Case("sb3_contrib", "MlpLstmPolicy, update, sb3-contrib", policy_update),
    "policy step": Case("sb3_contrib", "MlpLstmPolicy, one step, sb3-contrib", policy_step, False),
    "forecaster": Case("gluonts", "DeepAR forecaster, gluonts", forecaster),
    "codec": Case("transformers", "EnCodec, transformers", codec),
    "separation": Case("demucs", "Demucs, demucs", separation),
    "character model": Case("stanza", "character model, stanza", character_model),
    "loop of cells": Case("stanza", "LSTMCell in a loop, stanza", loop_of_cells),
}


def made(case: Case) -> tuple[nn.Module, nn.Module, Call]:
    """A model in eval mode, its accelerated copy, and a call."""
    torch.manual_seed(0)
    with warnings.catch_warnings(action="ignore"):  # whatever the packages warn of is theirs
        model, call = case.make()
    model.eval()
    return model, gw.accelerate(copy.deepcopy(model)), call


def outputs(model: nn.Module, call: Call) -> list[Tensor]:
    """The results of a call."""
    return [o for o in call(model) if o is not None]


def results(model: nn.Module, call: Call) -> dict[str, Tensor]:
    """The results of a call and the gradients of all parameters."""
    model.zero_grad()
    found = {f"output {k}": o for k, o in enumerate(outputs(model, call))}
    sum(o.square().mean() for o in found.values() if o.requires_grad).backward()
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return {**found, **{f"gradient of {n}": g.clone() for n, g in grads.items()}}


def least_times(functions: list[Callable[[], object]], seconds: float) -> list[float]:
    """The least processor time of each, all called in turns."""
    best = [float("inf")] * len(functions)
    for function in functions:
        function()
    end, turns = time.perf_counter() + seconds, 0
    while time.perf_counter() < end or turns < 5:
        for k in sorted(range(len(functions)), reverse=turns % 2 == 1):
            start = time.process_time()
            functions[k]()
            best[k] = min(best[k], time.process_time() - start)
        turns += 1
    return best


def plain(model: nn.Module, call: Call) -> None:
    with torch.no_grad():
        call(model)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=6, help="time for each figure")
    parser.add_argument("--only", choices=CASES, action="append", help="one of the models")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| model | inference | training |\n|---|---|---|")
    for name in options.only or CASES:
        case = CASES[name]
        if importlib.util.find_spec(case.package) is None:
            print(f"| {case.title} | not installed | |")
            continue
        before, after, call = made(case)
        cells = []
        for run, wanted in ((plain, True), (results, case.train)):
            if wanted:
                pair = [partial(run, m, call) for m in (before, after)]
                old, new = least_times(pair, options.seconds)
                cells.append(f"{old / new:.2f} × ({1e3 * old:.1f} → {1e3 * new:.1f} ms)")
            else:
                cells.append("–")
        print(f"| {case.title} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
