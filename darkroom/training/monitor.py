"""Which epoch is the best so far, and when to stop waiting for a better one."""

from collections.abc import Mapping
from dataclasses import dataclass

from darkroom.core.progress import say

# name: +1 where more is better, -1 where less is
MONITORS = {"val_loss": -1, "val_accuracy": 1}


@dataclass
class Monitor:
    """The best epoch by `name`; without validation samples, the last. Part of a checkpoint.

    Equal accuracies are told apart by the loss: on a small validation set many epochs are equal in accuracy.
    """

    name: str
    best_epoch: int = -1
    best: tuple[float, float] = (float("-inf"), float("-inf"))
    waited: int = 0

    def epoch_ended(self, epoch: int, row: Mapping[str, float | None]) -> bool:
        """Count an epoch (from 0) with its row of the history; returns whether it is the best so far."""
        value, loss = row[self.name], row["val_loss"]
        if value is None or loss is None:
            self.best_epoch = epoch
            return True
        score = (MONITORS[self.name] * value, -loss)
        if score > self.best:
            self.best, self.best_epoch, self.waited = score, epoch, 0
            return True
        self.waited += 1
        return False

    def gives_up(self, patience: int, epoch: int) -> bool:
        """Whether `epoch` (from 0) is the last: `patience` epochs without a better one; 0 never gives up. Says so."""
        if not 0 < patience <= self.waited:
            return False
        say(f"train: no better {self.name} for {patience} epochs; stops after {epoch + 1}")
        return True
