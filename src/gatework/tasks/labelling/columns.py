"""A model of labels that reads what stands in the columns of a table, for where no Gatework is.

T  time steps      B  sequences      C  columns      F  features
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatework.tasks.features import Features
from gatework.tasks.labelling.model import Labeller
from gatework.tasks.labelling.targets import Numbers
from gatework.tasks.task import Batch

__all__ = ["ColumnFeatures", "ColumnLabeller"]


class ColumnFeatures(nn.Module):
    """`Features.of` and `Features.there`, in torch.

    Args:
        features: of the columns.
    """

    means: Tensor
    scales: Tensor
    codes: Tensor
    of_code: Tensor
    order: Tensor
    known: Tensor

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.size = len(features.columns)
        """C."""
        numbers = len(features.columns)
        codes: list[tuple[int, int]] = []  # a category, and the column that has it
        order: list[int] = []  # of each feature the place among numbers, flags and categories
        known: list[int] = []  # and the column that has to be there; the one after all always is
        for k, column in enumerate(features.columns):
            for code in range(len(features.categories.get(column, ()))):
                order.append(2 * numbers + len(codes))
                known.append(k)
                codes.append((code, k))
            if column not in features.categories:
                order += [k, numbers + k] if features.masked[k] else [k]
                known += [k, numbers] if features.masked[k] else [k]
        table = torch.tensor(codes, dtype=torch.long).reshape(-1, 2)
        self.register_buffer("codes", table[:, 0])
        self.register_buffer("of_code", table[:, 1])
        self.register_buffer("order", torch.tensor(order))
        self.register_buffer("known", torch.tensor(known))
        self.register_buffer("means", torch.from_numpy(features.scaling.means).float())
        self.register_buffer("scales", torch.from_numpy(features.scaling.scales).float())
        self.gaps = features.gaps

    def forward(self, values: Tensor, gap: Tensor | None = None) -> Tensor:
        """Return features [..., F].

        Args:
            values: [..., C]; NaN where one is missing, a text as the number of its category.
            gap: [..., 1] time since the row before, where it is a feature.
        """
        there = ~values.isnan()
        scaled = torch.where(there, (values - self.means) / self.scales, 0.0)
        is_code = values[..., self.of_code] == self.codes
        found = torch.cat([scaled, there.to(scaled), is_code.to(scaled)], dim=-1)[..., self.order]
        if self.gaps is None:
            return found
        assert gap is not None
        mean, scale = float(self.gaps.means[0]), float(self.gaps.scales[0])
        return torch.cat([found, (log_gap(gap) - mean) / scale], dim=-1)

    def there(self, values: Tensor) -> Tensor:
        """Return which features [..., F] are known: 1; those that say so always are."""
        there = (~values.isnan()).to(values)
        one = torch.ones_like(values[..., :1])
        found = torch.cat([there, one], dim=-1)[..., self.known]
        return found if self.gaps is None else torch.cat([found, one], dim=-1)


def log_gap(gap: Tensor) -> Tensor:
    """Return what layers read of the time since the row before."""
    return gap.clamp(min=0).log1p()


class ColumnLabeller(nn.Module):
    """A model of labels that scales what it reads, and gives numbers in their own unit.

    Args:
        model: reads features.
        features: of the columns.
        numbers: what is predicted, where it is numbers.
    """

    def __init__(self, model: Labeller, features: Features, numbers: Numbers | None) -> None:
        super().__init__()
        self.model, self.layer, self.streams = model, model.layer, model.streams
        self.features, self.numbers = ColumnFeatures(features), numbers
        self.static = None if features.static is None else ColumnFeatures(features.static)

    def example(self, steps: int, sequences: int) -> Batch:
        """Return columns [T, B, C] with lengths, and what stands beside them.

        `gap` [T, B, 1] is the time since the row before and `time` that since the first, where the
        model reads them; `static` what holds for whole sequences [B, C].
        """
        batch = self.model.example(steps, sequences)
        more = dict(batch.more)
        more.pop("mask", None)  # follows from what is missing
        if self.features.gaps is not None:
            more["gap"] = torch.zeros(steps, sequences, 1)
        if self.static is not None:
            more["static"] = torch.zeros(sequences, self.static.size)
        inputs = torch.zeros(steps, sequences, self.features.size)
        return batch._replace(inputs=inputs, more=more)

    def forward(
        self,
        inputs: Tensor,
        state: Tensor | tuple[Tensor, ...] | None = None,
        *,
        lengths: Tensor | None = None,
        **more: Tensor,
    ) -> tuple[Tensor, Tensor | tuple[Tensor, ...]]:
        """Return scores or numbers, and the state, as `Labeller`.

        Args:
            inputs: [T, B, C].
            state: that the model is left in by what came before.
            lengths: int64 [B].
            more: as in `example`.
        """
        gap = more.pop("gap", None)
        wanted = {row.name for row in self.layer.cell.further}
        if gap is not None and "gap" in wanted:
            more["gap"] = log_gap(gap)
        if "mask" in wanted:
            more["mask"] = self.features.there(inputs)
        if self.static is not None:
            more["static"] = self.static(more["static"])
        found, left = self.model(self.features(inputs, gap), state, lengths=lengths, **more)
        if self.numbers is not None:
            scaling = self.numbers.scaling
            found = found * float(scaling.scales[0]) + float(scaling.means[0])
        return found, left
