"""Train heads on parts of the cached features of train and val, and test them on other folds.

The test set is not used. Folds are those of data/split.csv: duplicates and groups lie in one fold.
"""

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from darkroom.core.errors import DarkroomError
from darkroom.core.exactmath import softmax
from darkroom.core.randomness import generator
from darkroom.images.batches import Table
from darkroom.images.shards import Shards
from darkroom.model import classifier
from darkroom.training import linear
from darkroom.training.calibrate import fit_temperature
from darkroom.training.recipe import Recipe, enough_epochs, rate_factor
from darkroom.training.train import fresh_head

ANSWERED_AT_ONCE = 4096


class Pool:
    """Samples that have features in `parts`, in that order.

    `ids`; `labels` int64 (n,), the index in `classes`; `fold` int64 (n,), -1 for a sample that is in none; `chooses`
    bool (n,): samples of the val split, which choose the epoch and the temperature as in the pipeline, and are not
    learnt from.
    """

    def __init__(
        self, parts: Sequence[Shards], labels: Mapping[str, str], folds: Mapping[str, int], val: frozenset[str]
    ) -> None:
        self.parts = list(parts)
        names = [name for part in parts for name in part.ids()]
        self._at = np.flatnonzero([name in labels for name in names])  # corrections may exclude some
        self.ids = [names[at] for at in self._at]
        self.classes = sorted({labels[name] for name in self.ids})
        position = {name: index for index, name in enumerate(self.classes)}
        self.labels = np.array([position[labels[name]] for name in self.ids], np.int64)
        self.fold = np.array([folds.get(name, -1) for name in self.ids], np.int64)
        self.chooses = np.array([name in val for name in self.ids], bool)
        count = len(set(self.fold.tolist()) - {-1})
        if len(self.classes) < 2 or count < 2:
            raise DarkroomError(
                f"{len(self.ids):,} images of {len(self.classes)} classes in {count} folds cannot be cross-validated;"
                " expected two classes and two folds (`folds` in params.yaml)"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def table(self, rows: np.ndarray) -> Table:
        """Return the samples at `rows`, bool (n,), as a table."""
        chosen, start = [], 0
        at = self._at[rows]
        for part in self.parts:
            chosen.append(at[(at >= start) & (at < start + len(part))] - start)
            start += len(part)
        table = Table(self.parts, chosen)
        table.labels, table.classes = self.labels[rows], self.classes
        return table

    def subset(self, share: float, seed: int, rows: np.ndarray | None = None) -> np.ndarray:
        """Choose a `share` of each class, bool (n,); a smaller share is a part of a larger one.

        `rows`, bool (n,): the samples to choose from; None: all.
        """
        there = np.ones(len(self), bool) if rows is None else rows
        found = np.zeros(len(self), bool)
        names = [self.classes[label] for label in self.labels[there]]
        found[there] = ranks(names, self.chooses[there], seed) < share
        return found

    def learnable(self) -> np.ndarray:
        """Return which samples have a class that a training sample of another fold has, bool (n,)."""
        found = np.zeros(len(self), bool)
        for number in sorted(set(self.fold.tolist()) - {-1}):
            held = self.fold == number
            found[held] = np.isin(self.labels[held], self.labels[~held & ~self.chooses])
        return found

    def out_of_fold(
        self, recipe: Recipe, learn: np.ndarray | None = None, answer: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the probabilities (n, K) of every sample by a head that has not seen its fold; NaN without a fold.

        `learn`, bool (n,): the samples that heads may learn from; `answer`: those that are answered. None: all.
        """
        every = np.ones(len(self), bool)
        learn, answer = every if learn is None else learn, every if answer is None else answer
        found = np.full((len(self), len(self.classes)), np.nan)
        for number in sorted(set(self.fold.tolist()) - {-1}):
            held = self.fold == number
            if (held & answer).any():
                with contextlib.redirect_stderr(io.StringIO()):  # each of many heads would report its epochs
                    found[held & answer] = self.answers(recipe, learn & ~held, held & answer)
        return found

    def answers(self, recipe: Recipe, learn: np.ndarray, held: np.ndarray) -> np.ndarray:
        """Return the probabilities (m, K) of the `held` samples by a head that learns from `learn`, as `train` does."""
        train, val, answered = self.table(learn & ~self.chooses), self.table(learn & self.chooses), self.table(held)
        head, rate = fresh_head(recipe, train.row_shape[-1], len(self.classes)), rate_factor(train, recipe.optimizer)
        recipe = enough_epochs(recipe, len(train))
        trained = linear.train_head(train, val, head, recipe, rate)
        temperature = fit_temperature(trained.logits.astype(np.float64), val.labels) if len(val) else 1.0
        logits = [classifier.logits(part, trained.head) for part in _plain_views(answered)]
        return softmax(np.concatenate(logits), temperature)


def ranks(labels: Sequence[str], chooses: np.ndarray, seed: int) -> np.ndarray:
    """Return the rank of each sample within its class and split, drawn from the seed: float64 (n,), 0 <= rank < 1.

    Samples with a rank below a share are that share of each class. One of each class that is learnt from has rank 0.
    """
    names, found = np.array(labels), np.empty(len(labels), np.float64)
    for name in sorted(set(labels)):
        for validates in (False, True):
            mine = np.flatnonzero((names == name) & (chooses == validates))
            order = generator(seed, "subset", name, int(validates)).permutation(len(mine))
            found[mine] = (order + 0.5 * validates) / max(1, len(mine))
    return found


def _plain_views(table: Table) -> Iterator[np.ndarray]:
    """Yield the features (b, D) of each sample as it is, not augmented."""
    for start in range(0, len(table), ANSWERED_AT_ONCE):
        samples = np.arange(start, min(start + ANSWERED_AT_ONCE, len(table)))
        yield table.features(samples, np.zeros(len(samples), np.int64))
