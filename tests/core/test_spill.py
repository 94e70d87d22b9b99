"""Tables of answers that are larger than memory should hold: the same numbers, and no memory of the process."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from darkroom.core import files
from darkroom.metrics.label_errors import label_errors
from darkroom.metrics.predictions import Predictions, read_predictions, write_predictions
from darkroom.metrics.summary import summarise


def anonymous() -> int:
    """Return the bytes of this process's memory that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def answers(n: int = 500, classes: int = 12) -> Predictions:
    """Answers of which some are missing."""
    random = np.random.default_rng(0)
    labels = random.integers(0, classes, n)
    probabilities = random.random((n, classes)) + 2 * np.eye(classes)[labels] * random.random((n, 1))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    probabilities[::97, 3] = np.nan
    return Predictions.of(
        [f"{i:064x}" for i in range(n)], [f"class {i}" for i in range(classes)], labels, probabilities
    )


def everything(predictions: Predictions, folder: Path) -> tuple[object, ...]:
    """Return what is made of answers: the file, what is read back, the scores and the likely label errors."""
    write_predictions(folder / "p.csv", predictions)
    text = (folder / "p.csv").read_text()
    read = read_predictions(io.StringIO(text), "p.csv")
    suspects = label_errors(predictions.labels, predictions.probabilities)
    return (text, read.ids, read.predicted.tolist(), read.probabilities.tobytes(), suspects.tolist(),
            predictions.predicted.tolist(), summarise(predictions, 0, count=10))  # fmt: skip


def test_a_table_in_a_file_gives_the_same_numbers(tmp_path, monkeypatch):
    in_memory = everything(answers(), tmp_path)
    monkeypatch.setattr(files, "SMALL", 4 * 8 * 12 * 7)  # blocks of seven rows
    assert len(list(files.blocks((500, 12)))) == 72
    assert isinstance(answers().probabilities.base, np.memmap)
    assert everything(answers(), tmp_path) == in_memory


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_large_table_takes_no_memory_of_the_process():
    before = anonymous()
    table = files.table((200_000, 100))
    for part in files.blocks(table.shape):
        table[part] = 1.5
    assert table.sum() == 1.5 * 200_000 * 100
    assert anonymous() - before < 40_000_000 < table.nbytes


def test_blocks_are_all_rows_once():
    for shape in ((0, 5), (1, 1), (10, 10_000_000), (3_000_000, 10)):
        parts = list(files.blocks(shape))
        assert [part.start for part in parts] == [0, *(part.stop for part in parts)][: len(parts)]
        assert (parts[-1].stop if parts else 0) == shape[0]
