"""A cell from a paper: its equations, its training beside an LSTM, its gates.

For those who design cells, or want to try one that they have read about. Gu et al. 2020, "Improving
the gating mechanism of recurrent neural networks", give the LSTM a gate that refines its forget
gate. The task is to add two marked numbers out of a hundred (Hochreiter & Schmidhuber 1997). What
is the new gate worth? Held at 1/2, it leaves an LSTM that keeps f and writes 1 - f.

    $ python examples/own_cell.py
    f = sigmoid(W_ih[f]·x + bias_ih.f + W_hh[f]·h + bias_hh.f)
    ...
    g = r * (1 - (1 - f)^2) + (1 - r) * f^2
    c' = g * c + (1 - g) * u
    h' = o * tanh(c')
    squared error after 100, 200 and 300 updates; always to say 1 costs 0.167
    refined             0.1... 0.00... 0.00...
    refined[r=0.5]      0.1... 0... 0.0...
    lstm                0.1... 0.1... 0.1...
    the refined cell rewrites ...% of its memory at a marked number, ...% at any other
"""

import torch
from torch import Tensor, nn

import gatework as gw
from gatework import cell, linear, observe, sigmoid, tanh

STEPS, UNITS = 100, 32


@cell
def refined(x, h, c):
    """LSTM with a refine gate (Gu et al. 2020)."""
    f = sigmoid(linear("f", x, h))  # forget gate
    r = sigmoid(linear("r", x, h))  # refine gate: moves it up or down
    u = tanh(linear("u", x, h))  # candidate
    o = sigmoid(linear("o", x, h))  # output gate
    g = observe("g", r * (1 - (1 - f) ** 2) + (1 - r) * f**2)  # what is kept
    c = g * c + (1 - g) * u
    return o * tanh(c), c


class Adder(nn.Module):
    """Reads numbers and marks, says one number at the end."""

    def __init__(self, cell: gw.Cell) -> None:
        super().__init__()
        self.layer = gw.nn.Recurrent(cell, 2, UNITS)
        self.out = nn.Linear(UNITS, 1)

    def forward(self, x: Tensor) -> Tensor:
        """One number for each sequence of x [T, B, 2]."""
        y, _ = self.layer(x)
        return self.out(y[-1]).squeeze(-1)


def adding(count: int) -> tuple[Tensor, Tensor]:
    """Sequences [T, count, 2] of a number and a mark; the sums of the two marked numbers."""
    numbers, marks = torch.rand(STEPS, count), torch.zeros(STEPS, count)
    marked = torch.randint(STEPS // 2, (2, count)) + torch.tensor([[0], [STEPS // 2]])
    marks.scatter_(0, marked, 1.0)
    return torch.stack([numbers, marks], -1), (numbers * marks).sum(0)


def train(model: Adder, updates: int = 100) -> float:
    """Train a model further; its error on sequences that it has not seen."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(updates):
        x, wanted = adding(32)
        loss = (model(x) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    x, wanted = adding(1000)
    with torch.no_grad():
        return (model(x) - wanted).square().mean().item()


def main() -> None:
    """Train three cells, then look at a gate of the first."""
    torch.set_num_threads(1)  # there is too little work to share
    print(*gw.explain(refined).equations, sep="\n")
    print("squared error after 100, 200 and 300 updates; always to say 1 costs 0.167")
    models = []
    for tried in (refined, refined.pin(r=0.5), gw.cells.lstm):
        torch.manual_seed(0)
        models.append(Adder(tried))
        print(f"{tried.name:18} ", *(f"{train(models[-1]):.4f}" for _ in range(3)))
    x, _ = adding(1000)
    rewritten = 1 - models[0].layer.trace(x)["g"].mean(-1)  # [T, B], mean over the units
    marked = x[..., 1] == 1
    at_marks, elsewhere = rewritten[marked].mean(), rewritten[~marked].mean()
    print(
        f"the refined cell rewrites {at_marks:.0%} of its memory at a marked number, "
        f"{elsewhere:.0%} at any other"
    )


if __name__ == "__main__":
    main()
