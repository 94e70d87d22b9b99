"""Record the training curve: one row an epoch, where it is written and sent, and which epoch is kept."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from darkroom.core import exactmath, files
from darkroom.core.errors import DarkroomError
from darkroom.core.progress import say
from darkroom.core.runtime import Runtime
from darkroom.core.text import counted

Row = dict[str, float | None]
COLUMNS = ("epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy", "lr")
WRITE_EVERY = 0.5  # seconds: an epoch of a head takes milliseconds, a write with its sync may take longer
AfterEpoch = Callable[[list[Row]], None]  # called with all rows so far
Watcher = Callable[[Row, float], None]  # called with an epoch's row and its seconds
MONITORS = ("val_loss", "val_accuracy")
LARGEST = 1e6  # a loss that is no number counts as this
NOISE = 2.0  # standard errors of a paired difference: within them, an epoch is no worse than another


class HistoryFile:
    """Write the rows to `path` while training runs. Seconds are not a column: two runs must write the same bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last = 0.0
        self._rows: list[Row] = []

    def write(self, rows: list[Row]) -> None:
        """Write all rows, unless they were written less than WRITE_EVERY seconds ago; `close` writes the rest."""
        self._rows = rows
        if time.monotonic() - self._last >= WRITE_EVERY:
            self.close()

    def close(self) -> None:
        """Write all rows."""
        shown = ([_text(row[name]) for name in COLUMNS] for row in self._rows)
        files.write_csv(self.path, COLUMNS, shown)
        self._last = time.monotonic()


@dataclass
class Monitor:
    """Choose the best epoch by `name`: the highest score or, where training `settles`, the last level with it.

    Where the rate falls to zero later epochs are more settled: another seed changes fewer of their answers. A few
    validation samples often score highest in an early epoch by chance, and a model that is only too sure of itself is
    mended by its temperature afterwards (benchmarks/README.md, "Heads on cached features"). Level: the paired
    difference is at most NOISE standard errors. Without validation samples the last epoch is the best. Part of a
    checkpoint.
    """

    name: str
    settles: bool
    best_epoch: int = -1
    highest_epoch: int = -1
    waited: int = 0
    highest: np.ndarray = field(default_factory=lambda: np.empty(0))  # scores of highest_epoch

    def epoch_ended(self, epoch: int, losses: np.ndarray, right: np.ndarray) -> bool:
        """Count an epoch (from 0) by the losses (n,) and right answers (n,) of its validation samples.

        Returns whether it is the best so far.
        """
        sensible = np.nan_to_num(losses, nan=LARGEST, posinf=LARGEST)
        scores = np.asarray(right if self.name == "val_accuracy" else -sensible, np.float64)
        gains = scores - self.highest if self.highest_epoch >= 0 else np.ones_like(scores)
        gain, error = mean_and_error(gains)
        if gain > 0 or not len(gains):
            self.highest, self.highest_epoch = scores, epoch
        if gain + (NOISE * error if self.settles else 0.0) < 0:
            self.waited += 1
            return False
        self.best_epoch, self.waited = epoch, 0
        return True

    def gives_up(self, patience: int, epoch: int) -> bool:
        """Return, and print, whether `epoch` (from 0) is the last: `patience` epochs were worse than the best."""
        if not 0 < patience <= self.waited:
            return False
        say(f"train: {self.name} is worse than in epoch {self.highest_epoch + 1} for {counted(patience, 'epoch')}; "
            f"stops after {epoch + 1}")  # fmt: skip
        return True


def scores(losses: np.ndarray, right: np.ndarray) -> Row:
    """Return val_loss and val_accuracy of validation samples' losses (n,) and right answers (n,); None without any."""
    if not len(losses):
        return {"val_loss": None, "val_accuracy": None}
    loss = float(exactmath.total(losses)) / len(losses)
    if not math.isfinite(loss):
        loss = float(np.finfo(np.float32).max)  # a step of the next epoch reports it, with its number
    return {"val_loss": loss, "val_accuracy": float(right.sum() / len(right))}


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Return the mean of `values` (n,) and its standard error, infinite for one; the same bits on every processor."""
    count = len(values)
    if not count:
        return 0.0, 0.0
    mean = float(exactmath.total(values)) / count
    squares = float(exactmath.total((values - mean) ** 2))
    return mean, math.sqrt(squares / (count - 1) / count) if count > 1 else math.inf


def continued(earlier: list[Row], rows: list[Row]) -> list[Row]:
    """Return `rows` after those of an earlier part of the training, their epochs counted on from it."""
    return [*earlier, *(row | {"epoch": (row["epoch"] or 0) + len(earlier)} for row in rows)] if earlier else rows


class Reporter:
    """Report epochs: all rows to `after_epoch`, the last row to `watchers`, and one that took long to the terminal.

    `earlier`: the rows of an earlier part of the same training.
    """

    def __init__(
        self,
        after_epoch: AfterEpoch = lambda _rows: None,
        watchers: Sequence[Watcher] = (),
        earlier: Sequence[Row] = (),
    ) -> None:
        self.after_epoch, self.watchers, self.earlier = after_epoch, watchers, list(earlier)

    def epoch_ended(self, rows: list[Row], epochs: int, seconds: float) -> None:
        """Report the last of `rows`, one of `epochs`, which took `seconds`."""
        row, so_far = rows[-1], continued(self.earlier, rows)
        self.after_epoch(so_far)
        for watch in self.watchers:
            watch(so_far[-1], seconds)
        if seconds > 1:
            seen = ", ".join(
                f"{name} {value:.4g}" for name, value in row.items() if name != "epoch" and value is not None
            )
            say(f"epoch {int(row['epoch'] or 0)} of {epochs}: {seen} ({seconds:.1f} s)")


def watchers(runtime: Runtime) -> list[Watcher]:
    """Return a watcher for each folder that `runtime` names. Raises DarkroomError where its library is missing."""
    chosen = ((tensorboard, runtime.tensorboard), (dvclive, runtime.dvclive))
    return [make(folder) for make, folder in chosen if folder]


def tensorboard(folder: Path) -> Watcher:
    """Return a watcher that writes TensorBoard files into `folder`. Raises DarkroomError where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise DarkroomError("DARKROOM_TENSORBOARD is set, and TensorBoard is not installed; "
                            "run `.venv/bin/pip install -e '.[tensorboard]'`, or unset it") from error  # fmt: skip
    writer = SummaryWriter(str(folder))

    def watch(row: Row, seconds: float) -> None:
        epoch = int(row["epoch"] or 0)
        for name, value in (row | {"seconds": seconds}).items():
            if name != "epoch" and value is not None:
                writer.add_scalar(name, value, epoch)
        writer.flush()

    return watch


def dvclive(folder: Path) -> Watcher:
    """Return a watcher that sends epochs to DVCLive in `folder`. Raises DarkroomError where it is not installed."""
    try:
        from dvclive import Live
    except ImportError as error:
        raise DarkroomError("DARKROOM_DVCLIVE is set, and DVCLive is not installed; "
                            "run `.venv/bin/pip install -e '.[dvclive]'`, or unset it") from error  # fmt: skip
    # By default it would write the root dvc.yaml in mid-pipeline, and make an experiment of its own.
    live = Live(str(folder), dvcyaml=False, save_dvc_exp=False, report=None, monitor_system=False)

    def watch(row: Row, seconds: float) -> None:
        live.step = int(row["epoch"] or 0)
        for name, value in (row | {"seconds": seconds}).items():
            if name != "epoch" and value is not None:
                live.log_metric(name, value)
        live.make_summary()

    return watch


def _text(value: float | None) -> str:
    if value is None:
        return ""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e9 else f"{value:.6g}"
