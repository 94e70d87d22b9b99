"""The curve of a training: one row an epoch, in a CSV that is whole at every moment, and to those who watch."""

import time
from collections.abc import Callable
from pathlib import Path

from darkroom.core import files
from darkroom.core.errors import DarkroomError
from darkroom.core.progress import say

Row = dict[str, float | None]
COLUMNS = ("epoch", "train_loss", "val_loss", "train_accuracy", "val_accuracy", "lr")
WRITE_EVERY = 0.5  # seconds: an epoch of a head takes milliseconds, a write with its sync may take longer
Watcher = Callable[[Row, float], None]


class HistoryFile:
    """Writes the rows to `path` while training runs. Seconds are no column: two runs are to write the same bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last = 0.0
        self._rows: list[Row] = []

    def write(self, rows: list[Row]) -> None:
        """Write all rows, unless that was done a moment ago; `close` makes up for it."""
        self._rows = rows
        if time.monotonic() - self._last >= WRITE_EVERY:
            self.close()

    def close(self) -> None:
        """Write all rows."""
        shown = ([_text(row[name]) for name in COLUMNS] for row in self._rows)
        files.write_csv(self.path, COLUMNS, shown)
        self._last = time.monotonic()


def tell(row: Row, epochs: int, seconds: float) -> None:
    """Say an epoch's row, if it took long enough for a person to wait for it."""
    if seconds > 1:
        seen = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "epoch" and value is not None)
        say(f"epoch {int(row['epoch'] or 0)} of {epochs}: {seen} ({seconds:.1f} s)")


def tensorboard(folder: Path) -> Watcher:
    """Sends each epoch to TensorBoard's event files in `folder`. Raises DarkroomError where it is not installed."""
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
    """Sends each epoch to DVCLive in `folder`. Raises DarkroomError where it is not installed."""
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
