"""The passages on which units are most active, against a search through the whole trace."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import gatework as gw
from gatework.lens import carry_state, find_peaks, label_text

TEXT = bytes(range(32, 127)) * 3


class Reader(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(256, 3)
        self.layer = gw.nn.LSTM(3, 5, num_layers=2, bidirectional=False)

    def forward(self, symbols, state=None):
        return self.layer(self.embedding(symbols), state)


def test_peaks_are_the_largest_of_each_sequence_of_each_batch():
    model, windows = Reader(), [inputs for inputs, _ in label_text(TEXT, streams=4, window=20)]
    units = [("layer.l1.c", 3), ("layer.l0.h", 0)]
    found = find_peaks(model, windows, units, count=5, before=4, after=2, run=carry_state())
    trace = model.layer.trace(model.embedding(torch.cat(windows)))
    for u, rows in enumerate([trace["c"][..., 3], trace.layer(0)["h"][..., 0]]):
        rows = rows.detach().double()
        best = sorted(
            ((part[:, b].abs().max().item(), k, b)
             for k, part in enumerate(rows.split(20)) for b in range(4)),
            reverse=True,
        )[:5]  # fmt: skip
        np.testing.assert_allclose(
            np.abs(found.activation[u]), [size for size, *_ in best], rtol=1e-5
        )
        for rank, (_, k, b) in enumerate(best):
            t = int(rows.split(20)[k][:, b].abs().argmax())
            assert (found.batch[u, rank], found.sequence[u, rank], found.step[u, rank]) == (k, b, t)
            for place in range(7):
                step = t - 4 + place
                inside = 0 <= step < 20
                symbol = found.symbols[u, rank, place]
                assert symbol == (windows[k][step, b] if inside else -1)
                around = found.around[u, rank, place]
                if inside:
                    assert around == pytest.approx(rows.split(20)[k][step, b].item(), abs=1e-6)
                else:
                    assert np.isnan(around)
            shown = [s for s in found.symbols[u, rank] if s >= 0]
            assert found.text(u, rank) == bytes(shown).decode()


def test_padding_is_no_peak_and_missing_places_are_marked():
    layer = gw.nn.GRU(3, 5)
    x = torch.randn(6, 3, 3)
    lengths = [6, 0, 2]
    found = find_peaks(
        layer, [x], [("l0.h", 1)], count=4, run=lambda model, x: model(x, lengths=lengths)
    )
    assert sorted(found.sequence[0].tolist()) == [-1, -1, 0, 2]
    assert np.isnan(found.activation[0, 2:]).all()
    assert found.step[0][found.sequence[0] == 2] < 2
    assert (found.symbols == -1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": []}, "at least one unit"),
        ({"units": [("l0.h", 5)]}, "l0.h has 5 units, numbered from 0; got 5"),
        ({"units": [("l0.hh", 1)]}, "no value named 'l0.hh'; did you mean 'l0.h'"),
        ({"units": [("l0.h", 1)], "count": 0}, "at least one unit and one passage"),
        ({"units": [("l0.h", 1)], "before": -1}, "no negative number"),
    ],
)
def test_a_wrong_question_is_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        find_peaks(gw.nn.GRU(3, 5), [torch.randn(6, 3, 3)], **arguments)
