"""What came of a training, wherever it was computed: arrays and numbers, no torch."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from darkroom.model.tensors import Tensors
from darkroom.training.history import Row


@dataclass
class Learnt:
    """The best epoch's weights, and how they were found.

    `head`, `body`: tensors by name; a `body` of None is as it was. `learning`: the number of parameters that learnt.
    `logits`: of the validation samples at `best_epoch` (from 0), float32 (n, K). `ran`: for metrics/run.json.
    `checkpoint`: the key of the checkpoint that is to be discarded when all is saved; "" when there is none.
    """

    head: Tensors
    body: Tensors | None
    learning: int
    logits: np.ndarray
    best_epoch: int
    history: list[Row]
    ran: dict[str, Any] = field(default_factory=dict)
    checkpoint: str = ""
