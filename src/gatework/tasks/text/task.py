"""Texts as a task: streams of symbols, a softmax over the next one, bits per symbol."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, cast

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from gatework.data.alphabet import Alphabet
from gatework.data.corpus import Corpus, load_corpus
from gatework.tasks.settings import TaskSettings
from gatework.tasks.task import (
    ALL,
    Batch,
    Evaluation,
    Loss,
    MakeLayer,
    Part,
    SequenceModel,
    Shown,
    Source,
    Task,
    check_forward,
)
from gatework.tasks.text.evaluation import bits_per_symbol
from gatework.tasks.text.held_out import HeldOutText
from gatework.tasks.text.model import BYTES, LanguageModel
from gatework.tasks.text.sampling import as_text, generate, openings
from gatework.tasks.text.settings import TextSettings
from gatework.tasks.text.streams import Streams

__all__ = ["TASKS", "TextTask"]

CURVE, FINAL = 2**16, 2**18
"""Held-out symbols read for a point of the curve, and for the figure at the end."""
SAMPLE, LOOKED_AT = 400, 2**22
"""Symbols that a model writes; held-out ones among which it looks for a line to go on with."""
WRITES = (
    "Drawn from the trained network symbol by symbol, after the words it was given to begin with."
)
COUNTED = 2**20
"""Held-out symbols whose frequencies the naive figure is taken from."""


class TextTask(Task):
    """Predict each symbol of a text from all before it."""

    carries = True
    settings: TextSettings

    def __init__(self, settings: TaskSettings, understood: Mapping[str, Any]) -> None:
        super().__init__(settings, understood)
        self.alphabet = None if self.of_bytes else Alphabet.of_data(self.understood)
        """The characters; None where symbols are bytes."""

    @property
    def of_bytes(self) -> bool:
        """Whether symbols are bytes, not characters."""
        return self.settings.symbols == "bytes"

    @property
    def symbols(self) -> int:
        """How many symbols there are."""
        return BYTES if self.alphabet is None else len(self.alphabet)

    @property
    def counted(self) -> str:
        """Bytes or characters."""
        return self.settings.symbols

    @property
    def unit(self) -> str:
        """Bits per byte, or per character."""
        return f"bits per {self.counted.removesuffix('s')}"

    @property
    def meaning(self) -> str:
        """What the cost of chance is."""
        return f"{math.log2(self.symbols):.3g} is chance, 0 is certainty"

    @classmethod
    def load(
        cls, settings: TaskSettings, files: tuple[Path, ...], known: Task | None = None
    ) -> tuple[Self, Corpus]:
        """Read texts; without files, the standard library's source.

        Raises:
            InputError: a file is missing or empty, or is no text of characters.
        """
        asked = cast(TextSettings, settings)
        characters = asked.symbols == "characters"
        corpus = load_corpus(files, asked.held_out, asked.held_out_share, characters=characters)
        if not characters:
            return cls(settings, {}), corpus
        alphabet = cast(TextTask, known).alphabet if known else Alphabet.of(corpus)
        assert alphabet is not None
        return cls(settings, alphabet.as_data()), alphabet.encoded(corpus)

    def make_model(self, layers: MakeLayer, dropout: float) -> LanguageModel:
        """Make a language model with random weights.

        Raises:
            InputError: its layers read backward too, and so would see what they are to predict.
        """
        model = LanguageModel(self.alphabet, self.settings.embedding_size, layers, dropout)
        check_forward(model.layer, "on a text", "backward ones have seen what comes next")
        return model

    def batches(
        self, source: Source, *, batch_size: int, window: int, seed: int, part: Part = ALL
    ) -> Streams:
        """Return windows of carried streams; no seed changes their order."""
        text = cast(Corpus, source).train
        return Streams(text, batch_size, window, part, self.counted)

    def loss(self, predictions: Tensor, batch: Batch) -> Loss:
        """Return the cross entropy of the next symbols, in nats."""
        targets = batch.targets.flatten()
        total = cross_entropy(predictions.flatten(0, 1), targets, reduction="sum")
        return Loss(total, targets.numel())

    def cost(self, mean: float) -> float:
        """Return nats as bits."""
        return mean / math.log(2)

    def evaluate(self, model: Any, source: Source, *, quick: bool = False) -> Evaluation:
        """Measure what a held-out symbol costs."""
        text = cast(Corpus, source).valid
        bits = bits_per_symbol(model, text, CURVE if quick else FINAL)
        if not math.isfinite(bits):
            return Evaluation(bits)
        return Evaluation(bits, self._figures(bits), self._figures(entropy(text[:COUNTED])))

    def _figures(self, bits: float) -> dict[str, float]:
        singular = self.counted.removesuffix("s")
        nats = bits * math.log(2)
        return {self.unit: bits, f"nats per {singular}": nats, "perplexity": math.exp(nats)}

    def show(self, model: SequenceModel, source: Source) -> Shown:
        """Let a model go on with a line of held-out text."""
        writer = cast(LanguageModel, model)
        prompts = openings(self.beginning(source), 2) or [b""]
        written = generate(writer, prompts[0], SAMPLE)
        more = ("--prompt", as_text(prompts[-1])) if prompts[-1] else ()
        return Shown(
            "What it writes", WRITES, as_text(prompts[0] + written), more=("sample", *more)
        )

    def beginning(self, source: Source, count: int = LOOKED_AT) -> bytes:
        """Return the first held-out symbols as bytes."""
        symbols = cast(Corpus, source).valid[:count].tolist()
        if self.alphabet is None:
            return bytes(symbols)
        return self.alphabet.text(symbols).encode("utf-8", "surrogateescape")

    def held_out(self, source: Source) -> HeldOutText:
        """Return the held-out text, symbol by symbol."""
        return HeldOutText(cast(Corpus, source), self.alphabet)

    def evaluated(self, source: Source, *, quick: bool = False) -> int:
        """Return how many held-out symbols are read."""
        return min(source.sizes[1] - 1, CURVE if quick else FINAL)


def entropy(text: Tensor) -> float:
    """Return what a symbol costs in bits by its frequency alone.

    Example:
        >>> import torch
        >>> entropy(torch.tensor([0, 1, 0, 1]))
        1.0
    """
    counts = torch.bincount(text.long())
    shares = counts[counts > 0].double() / len(text)
    return -float((shares * shares.log2()).sum())


TASKS = {"text": TextTask}
