"""A language model.

T  time steps      B  sequences      E  embedding size      H  hidden size      S  symbols
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatework.data.alphabet import Alphabet
from gatework.tasks.task import Batch, MakeLayer, SequenceModel

__all__ = ["BYTES", "LanguageModel"]

BYTES = 256
"""Symbols of a text of bytes: every value of one."""


class LanguageModel(SequenceModel):
    """Predicts each next symbol from all before it.

        e_t = embedding[symbol_t]           [E]
        h_t = layers(e_1 … e_t)             [H]
        p(symbol_{t+1}) = softmax(W h_t + b)

    Args:
        alphabet: The characters that are its symbols; None for bytes.
        embedding_size: E.
        layers: Makes the recurrent layers for an input of size E.
        dropout: Share of the layers' outputs that is dropped in training.
    """

    def __init__(
        self, alphabet: Alphabet | None, embedding_size: int, layers: MakeLayer, dropout: float
    ) -> None:
        super().__init__()
        self.alphabet = alphabet
        symbols = BYTES if alphabet is None else len(alphabet)
        self.embedding = nn.Embedding(symbols, embedding_size)
        self.layer = layers(embedding_size)
        self.dropout = nn.Dropout(dropout)
        self.decoder = nn.Linear(self.layer.output_size, symbols)

    def symbols_of(self, text: bytes) -> list[int]:
        """Return the numbers of a text's symbols."""
        if self.alphabet is None:
            return list(text)
        return [int(n) for n in self.alphabet.numbers(text.decode("utf-8", "surrogateescape"))]

    def spelled(self, symbol: int) -> bytes:
        """Return the bytes of a symbol."""
        if self.alphabet is None:
            return bytes([symbol])
        return self.alphabet.text([symbol]).encode()

    def encode(self, inputs: Tensor) -> Tensor:
        """Return the embeddings [T, B, E] of symbols int64 [T, B]."""
        embedded: Tensor = self.embedding(inputs)
        return embedded

    def example(self, steps: int, sequences: int) -> Batch:
        """Return symbols [T, B]."""
        symbols = torch.zeros(steps, sequences, dtype=torch.long)
        return Batch(symbols, symbols)

    @property
    def streams(self) -> bool:
        """Whether its layers read forward, as those of every task of texts do."""
        return self.layer.num_directions == 1

    def predict(self, outputs: Tensor, *, lengths: Tensor | None = None, **more: Tensor) -> Tensor:
        """Return the scores [T, B, S] of the next symbol after each step.

        They are logarithms of probabilities up to a constant.
        """
        scores: Tensor = self.decoder(self.dropout(outputs))
        return scores
