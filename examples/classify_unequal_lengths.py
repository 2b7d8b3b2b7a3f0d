"""Sequences of unequal lengths, classified in a plain torch loop.

For those who have labelled sequences. A pen draws circles, one way round or the other, or figures
of eight, in 12 to 60 moves. A batch is padded to its longest; `lengths=` says where each sequence
ends, and the state that comes back is the one after its own last step. There is no sorting and no
packing, and what stands in the padding does not matter.

    $ python examples/classify_unequal_lengths.py
    epoch  1: loss 1...
    ...
    epoch  6: loss 0.0...
    right in ... of 100 drawings that it has not seen
    with 1e9 in place of 0 in the padding, ...% of the batch: the same scores, True
    each drawing by itself, not padded: the same scores, True
    all of them as a list of tensors: the same scores, True
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

import gatework as gw

CIRCLE, OTHER_WAY_ROUND, EIGHT = range(3)


class Classifier(nn.Module):
    """A GRU and, from its state after each sequence's last step, the scores of the shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = gw.nn.GRU(2, 24)
        self.out = nn.Linear(24, 3)

    def forward(self, moves: Tensor | list[Tensor], lengths: Tensor | None = None) -> Tensor:
        """The scores [B, 3] of moves [T, B, 2]."""
        _, h = self.layer(moves, lengths=lengths)
        return self.out(h[-1])


def drawing(shape: int) -> Tensor:
    """The moves [T, 2] of a pen that draws a shape, from anywhere on it, with a shaking hand."""
    steps = int(torch.randint(12, 61, ()))
    angle = torch.linspace(0, 2 * math.pi, steps + 1) + 2 * math.pi * torch.rand(())
    x = angle.sin()
    y = {CIRCLE: angle.cos(), OTHER_WAY_ROUND: -angle.cos(), EIGHT: (2 * angle).sin()}[shape]
    return (5 * torch.stack([x, y], 1) + 0.1 * torch.randn(steps + 1, 2)).diff(dim=0)


def drawings(count: int) -> list[tuple[Tensor, int]]:
    """So many drawings, each with its shape."""
    return [(drawing(shape), shape) for shape in torch.randint(3, (count,)).tolist()]


def collate(batch: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Moves [T, B, 2], padded with 0; their lengths and shapes, [B]."""
    moves, shapes = zip(*batch, strict=True)
    return pad_sequence(moves), torch.tensor([len(m) for m in moves]), torch.tensor(shapes)


def train(model: Classifier, epochs: int = 6) -> None:
    """Learn from 600 drawings."""
    batches = DataLoader(drawings(600), batch_size=32, shuffle=True, collate_fn=collate)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for epoch in range(1, epochs + 1):
        total = 0.0
        for moves, lengths, shapes in batches:
            loss = nn.functional.cross_entropy(model(moves, lengths), shapes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch:2}: loss {total / len(batches):.3f}")


def main() -> None:
    """Train, test, and give the padding other numbers."""
    torch.set_num_threads(1)  # there is too little work to share
    torch.manual_seed(0)
    model = Classifier()
    train(model)
    unseen = drawings(100)
    moves, lengths, shapes = collate(unseen)
    padding = torch.arange(len(moves))[:, None] >= lengths  # [T, B]
    with torch.no_grad():
        scores = model(moves, lengths)
        spoilt = model(moves.masked_fill(padding[..., None], 1e9), lengths)
        alone = torch.cat([model(m[:, None]) for m, _ in unseen])
        listed = model([m for m, _ in unseen])
    right = (scores.argmax(1) == shapes).sum()
    print(f"right in {right} of 100 drawings that it has not seen")
    print(
        f"with 1e9 in place of 0 in the padding, {padding.float().mean():.0%} of the batch: "
        f"the same scores, {torch.equal(spoilt, scores)}"
    )
    alike = torch.allclose(alone, scores, atol=1e-4), torch.allclose(listed, scores, atol=1e-4)
    print(f"each drawing by itself, not padded: the same scores, {alike[0]}")
    print(f"all of them as a list of tensors: the same scores, {alike[1]}")


if __name__ == "__main__":
    main()
