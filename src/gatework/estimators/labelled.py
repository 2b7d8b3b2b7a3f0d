"""A label or a number for each sequence: `RecurrentClassifier` and `RecurrentRegressor`.

Legend: n sequences, T steps, F features.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
)
from torch import Tensor, nn

from gatework.data.scaling import fit
from gatework.errors import InputError
from gatework.estimators.sequences import LAYOUTS, InputScale, Sequences, padded, sequences_of
from gatework.estimators.settings import check_choice, check_settings, make_layer, seeded
from gatework.estimators.training import by_length, on_device, train
from gatework.lang import Cell
from gatework.tasks.bucketed import Bucketed
from gatework.tasks.labelling.model import POOLS, Labeller
from gatework.tasks.task import ALL, Batch


class _Labelled(BaseEstimator):  # type: ignore[misc]
    """What both have in common: how they read X, train and run."""

    def __init__(
        self,
        cell: str | Cell = "gru",
        *,
        hidden_size: int = 64,
        num_layers: int = 1,
        bidirectional: bool = False,
        pooling: Literal["last", "mean", "max"] = "last",
        dropout: float = 0.0,
        max_epochs: int = 100,
        batch_size: int = 16,
        learning_rate: float = 0.005,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        layout: Literal["ntf", "nft"] = "ntf",
        random_state: Any = None,
        device: str = "cpu",
    ) -> None:
        self.cell = cell
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.pooling = pooling
        self.dropout = dropout
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.layout = layout
        self.random_state = random_state
        self.device = device

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.three_d_array = True
        tags.non_deterministic = False
        return tags

    def _read(self, X: Any, y: Any) -> Sequences:
        """The sequences to fit to, after the settings have been looked through."""
        check_settings(self)
        check_choice(self, "layout", LAYOUTS)
        check_choice(self, "pooling", tuple(POOLS))
        if y is None:
            raise ValueError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        sequences = sequences_of(self, X, reset=True)
        check_consistent_length(sequences, y)
        return sequences

    def _train(
        self, sequences: Sequences, targets: Tensor, outputs: int, loss: Any, stratify: Any
    ) -> None:
        """Make the model and train it on targets [n, …]."""
        with seeded(self) as seed:
            kept, held = self._parts(len(sequences), stratify, seed)
            self._scale = InputScale.of([sequences[k] for k in kept])
            rows = self._scale.apply(sequences)
            lengths = np.array([len(x) for x in rows])
            layers, size = partial(make_layer, self), rows[0].shape[1]
            model = Labeller(size, 0, outputs, self.pooling, 0.0, layers, self.dropout)
            self.model_ = model.to(self.device)

            def batch_of(numbers: NDArray[Any]) -> Batch:
                inputs, own = padded([rows[k] for k in numbers])
                return Batch(inputs, targets[numbers], own)

            def batch_loss(batch: Batch) -> Tensor:
                value: Tensor = loss(self._scores(batch), batch.targets.to(self.device))
                return value

            size = self.batch_size
            data = Bucketed(lengths[kept], size, seed, ALL, lambda of: batch_of(kept[of]))
            held_out = [batch_of(held[of]) for of in by_length(lengths[held], size)]
            train(self, model, data.next, -(-len(kept) // size), batch_loss, held_out)
            model.cpu()

    def _scores(self, batch: Batch) -> Tensor:
        """What the model gives for each sequence of a batch, [B, outputs]."""
        inputs, lengths = batch.inputs.to(self.device), batch.lengths
        scores: Tensor = self.model_(inputs, lengths=lengths)[0]
        return scores

    def _parts(self, n: int, stratify: Any, seed: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """The numbers of the sequences to learn from, and of those that are held out."""
        everything = np.arange(n)
        if not self.early_stopping:
            return everything, everything[:0]
        held = max(1, round(self.validation_fraction * n))
        if n - held < 1:
            raise InputError(
                f"early_stopping with {n} sequence(s)",
                "at least one to hold out, and one to learn from",
                "give more, or early_stopping=False",
            )
        if stratify is not None and (np.bincount(stratify).min() < 2 or held <= stratify.max()):
            stratify = None  # too few of a class to have it on both sides
        kept, out = train_test_split(
            everything, test_size=held, random_state=seed, stratify=stratify
        )
        return np.sort(kept), np.sort(out)

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        """What the model gives for each sequence of X, [n, outputs]."""
        check_is_fitted(self)
        rows = self._scale.apply(sequences_of(self, X, reset=False))
        orders = by_length([len(x) for x in rows], self.batch_size)
        with torch.no_grad(), on_device(self.model_, self.device):
            parts = [
                self._scores(Batch(inputs, inputs, lengths))
                for inputs, lengths in (padded([rows[k] for k in order]) for order in orders)
            ]
        found = np.empty((len(rows), parts[0].shape[1]))
        found[np.concatenate(orders)] = torch.cat(parts).double().cpu().numpy()
        return found


class RecurrentClassifier(ClassifierMixin, _Labelled):  # type: ignore[misc]
    """A class for each sequence, learned by recurrent layers of any cell.

    X is a list of sequences `[T_i, F]` of any lengths, as arrays, tensors or DataFrames; or an
    array `[n, T, F]`, see `layout`; or `[n, T]`, series of one feature. A missing value (NaN) is
    read as such: where there are any in training, the layers also read which were there.
    Features are scaled by the training sequences.

    Args:
        cell: The name of a cell of the catalogue, or a cell of your own.
        hidden_size: Units of each layer and direction.
        num_layers: Layers.
        bidirectional: Whether each sequence is also read from its end.
        pooling: What is kept of the outputs at all steps: the "last" one of each direction, their
            "mean", or of each unit its "max".
        dropout: The share of values left out in training, between layers and before the result.
        max_epochs: How often the training data are gone through.
        batch_size: Sequences in a step of training.
        learning_rate: The highest of the run; it rises, then falls as a cosine.
        early_stopping: Whether to hold out sequences, keep the weights that are best on them, and
            stop when they are not bettered.
        validation_fraction: Which share is held out then.
        n_iter_no_change: After how many epochs without a better one it stops.
        layout: The axes of arrays: "ntf" is [sequences, steps, features], as torch and Keras have
            it; "nft" is [sequences, features, steps], as aeon and sktime have it.
        random_state: Seeds weights, dropout, batches and what is held out: with an int the same
            data give the same weights, to the bit.
        device: Where it is trained and used, "cpu" or "cuda".

    Attributes:
        classes_: The classes, sorted.
        n_features_in_: F; of an `[n, T]` array T, as scikit-learn counts.
        model_: The trained torch module; it reads scaled features.
        n_iter_: The epochs that it was trained.
        loss_curve_: The mean cross-entropy of each epoch; `validation_curve_` of what was held out.

    Example:
        >>> import numpy as np, gatework as gw
        >>> random = np.random.default_rng(0)
        >>> X = [random.normal(size=(length, 2)).cumsum(0) for length in random.integers(5, 20, 60)]
        >>> y = ["up" if x[-1, 0] > 0 else "down" for x in X]
        >>> model = gw.RecurrentClassifier("lstm", hidden_size=16, max_epochs=40, random_state=0)
        >>> model.fit(X, y).score(X, y) > 0.9
        True
        >>> model.predict(X[:2]).shape, model.predict_proba(X[:2]).shape
        ((2,), (2, 2))
    """

    classes_: NDArray[Any]

    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Train on sequences with a class each.

        Args:
            X: The sequences.
            y: Their classes [n], numbers or texts.

        Raises:
            InputError: If sequences have unequal features, no steps, or a setting is out of range.
        """
        sequences = self._read(X, y)
        y = column_or_1d(y, warn=True)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        loss, targets = nn.CrossEntropyLoss(), torch.from_numpy(numbers)
        self._train(sequences, targets, len(self.classes_), loss, numbers)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """The probability of each class, [n, classes], in the order of `classes_`."""
        return torch.from_numpy(self._outputs(X)).softmax(-1).numpy()

    def predict(self, X: Any) -> NDArray[Any]:
        """The most probable class of each sequence, [n]."""
        best = self._outputs(X).argmax(-1)
        chosen: NDArray[Any] = self.classes_[best]
        return chosen


class RecurrentRegressor(RegressorMixin, _Labelled):  # type: ignore[misc]
    """A number, or several, for each sequence, learned by recurrent layers of any cell.

    X is as `RecurrentClassifier` takes it. Features and targets are scaled by the training
    sequences. The arguments are those of `RecurrentClassifier`.

    Attributes:
        n_features_in_: F; of an `[n, T]` array T, as scikit-learn counts.
        model_: The trained torch module; it reads scaled features and gives scaled targets.
        n_iter_: The epochs that it was trained.
        loss_curve_: The mean squared error, scaled, of each epoch; `validation_curve_` of what was
            held out.

    Example:
        >>> import numpy as np, gatework as gw
        >>> X = np.random.default_rng(0).normal(size=(80, 6, 1))
        >>> y = X[:, :, 0].mean(1)
        >>> model = gw.RecurrentRegressor(hidden_size=16, max_epochs=40, random_state=0)
        >>> model.fit(X, y).score(X, y) > 0.9
        True
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Train on sequences with a number each, [n], or several, [n, targets].

        Args:
            X: The sequences.
            y: Their targets.

        Raises:
            InputError: If sequences have unequal features, no steps, or a setting is out of range.
        """
        sequences = self._read(X, y)
        wanted = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        self._flat, rows = wanted.ndim == 1, wanted.reshape(len(wanted), -1)
        self._target = fit([rows])
        targets = torch.from_numpy(self._target.apply(rows))
        self._train(sequences, targets, rows.shape[1], nn.MSELoss(), None)
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """The number of each sequence, [n], or numbers, [n, targets], as they were fitted."""
        found = self._outputs(X)
        rows = self._target.undo(found, range(found.shape[1]))
        return rows[:, 0] if self._flat else rows
