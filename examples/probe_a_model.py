"""Somebody else's torch model: what its units know, which it needs, how long it keeps anything.

For those who want to find out what a trained network does. The model is torch.nn alone. It has
learned which words of a text stand inside brackets. `gw.accelerate` makes its LSTM a layer of
Gatework, in place, and `gw.lens` measures. What a unit knows is one thing, whether the model counts
on it another: the first is a correlation, the second an experiment.

    $ python examples/probe_a_model.py
    1 recurrent module(s) on Gatework, 0 left as before
      changed rnn: LSTM(8, 12, accelerated)
    rnn.l0.h[...] follows the brackets best: r = ...0.9..., held out
    the loss is 0.0...; with a unit at 0:
        rnn.l0[...], ...
        rnn.l0[...], ..., the most of all
    with a gate at 0 or 1 in all units:
        rnn.l0.f = 0, 1...
        rnn.l0.o = 1, 0.0...
    brackets stay open for 17 words; what a memory cell stores falls to a third in ... words at most
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

import gatework as gw

OPEN, CLOSE, WORDS, TURNS = 0, 1, 12, 0.06


class Marker(nn.Module):
    """For each word, whether it stands inside brackets."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 8)
        self.rnn = nn.LSTM(8, 12)
        self.out = nn.Linear(12, 1)

    def forward(self, words: Tensor) -> Tensor:
        """The logits [T, B] of words [T, B]."""
        return self.out(self.rnn(self.embed(words))[0]).squeeze(-1)


def texts(count: int = 32, steps: int = 80) -> tuple[Tensor, Tensor]:
    """Words [T, count] among which brackets open and close; 1 where they are inside."""
    brackets = torch.rand(steps, count) < TURNS
    inside = brackets.cumsum(0) % 2 == 1
    words = torch.randint(2, WORDS, (steps, count))
    return torch.where(brackets, torch.where(inside, OPEN, CLOSE), words), inside.float()


def somebodys_model() -> Marker:
    """Trained elsewhere, with torch alone."""
    model = Marker()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        words, inside = texts()
        loss = cross_entropy(model(words), inside)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def main() -> None:
    """Measure what it knows, what it needs and what it keeps."""
    torch.set_num_threads(1)  # there is too little work to share
    torch.manual_seed(0)
    model = gw.accelerate(somebodys_model())
    print(gw.acceleration(model))

    words, inside = texts(200)

    @torch.no_grad()
    def loss(model: nn.Module) -> float:
        return cross_entropy(model(words), inside).item()

    labelled = [(w, {"inside": i.numpy()}) for w, i in (texts() for _ in range(10))]
    (best,) = gw.lens.find_units(model, labelled, values=("h",)).best("inside", count=1)
    silenced = gw.lens.ablate(model, loss, gw.lens.silenced_units(model))
    without = dict(zip(silenced.changes, silenced.metric, strict=True))
    [(needed, _)] = silenced.largest(1)
    print(f"{best.value}[{best.unit}] follows the brackets best: r = {best.held_out:.2f}, held out")
    print(f"the loss is {silenced.baseline:.4f}; with a unit at 0:")
    print(f"    rnn.l0[{best.unit}], {without[f'rnn.l0[{best.unit}]']:.4f}")
    print(f"    {needed}, {without[needed]:.4f}, the most of all")
    held = gw.lens.ablate(model, loss)  # each gate, open and closed
    with_held = dict(zip(held.changes, held.metric, strict=True))
    print("with a gate at 0 or 1 in all units:")
    print(f"    rnn.l0.f = 0, {with_held['rnn.l0.f = 0']:.4f}")
    print(f"    rnn.l0.o = 1, {with_held['rnn.l0.o = 1']:.4f}")
    kept = gw.lens.retention(model, [w for w, _ in labelled]).time_constant("rnn.l0.c")
    print(
        f"brackets stay open for {1 / TURNS:.0f} words; what a memory cell stores falls to a third "
        f"in {kept.max():.0f} words at most"
    )


if __name__ == "__main__":
    main()
